"""X-Wing (draft-connolly-cfrg-xwing-kem) over ML-KEM-768 (FIPS 203), both by hand: from the standards' own words, slow, and with
given randomness, so that vectors can be made. Only X25519 is the `cryptography` package's.
"""

from hashlib import sha3_256, sha3_512, shake_128, shake_256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

Q, N, K, ETA, DU, DV = 3329, 256, 3, 2, 10, 4  # ML-KEM-768: eta1 = eta2 = 2
PUBLIC, CIPHERTEXT = 1184 + 32, 1088 + 32


def reversed7(i):
    return int(f"{i:07b}"[::-1], 2)


ZETAS = [pow(17, reversed7(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * reversed7(i) + 1, Q) for i in range(128)]


# --- FIPS 203, section 4.2: bytes and polynomials ---------------------------------------------------------------------


def byte_encode(d, values):
    bits = sum((value % (Q if d == 12 else 1 << d)) << (i * d) for i, value in enumerate(values))
    return bits.to_bytes(32 * d, "little")


def byte_decode(d, data):
    bits = int.from_bytes(data, "little")
    values = [bits >> (i * d) & ((1 << d) - 1) for i in range(N)]
    return [value % Q for value in values] if d == 12 else values


def compress(d, values):
    return [((value << d) + Q // 2) // Q % (1 << d) for value in values]


def decompress(d, values):
    return [(value * Q + (1 << (d - 1))) >> d for value in values]


def sample_ntt(seed):
    data, values, at = shake_128(seed).digest(3 * 1024), [], 0
    while len(values) < N:
        a, b, c = data[at : at + 3]
        at += 3
        values += [v for v in (a + 256 * (b % 16), b // 16 + 16 * c) if v < Q]
    return values[:N]


def sample_cbd(data):
    bits = int.from_bytes(data, "little")

    def one(i):
        four = bits >> (4 * i)
        return ((four & 1) + (four >> 1 & 1) - (four >> 2 & 1) - (four >> 3 & 1)) % Q

    return [one(i) for i in range(N)]


def prf(seed, n):
    return sample_cbd(shake_256(seed + bytes([n])).digest(64 * ETA))


# --- section 4.3: the number-theoretic transform ----------------------------------------------------------------------


def ntt(f):
    f, i, length = list(f), 1, 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i + 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length], f[j] = (f[j] - t) % Q, (f[j] + t) % Q
        length //= 2
    return f


def ntt_inverse(f):
    f, i, length = list(f), 127, 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i - 1
            for j in range(start, start + length):
                t = f[j]
                f[j], f[j + length] = (t + f[j + length]) % Q, zeta * (f[j + length] - t) % Q
        length *= 2
    return [value * 3303 % Q for value in f]


def multiply(f, g):
    h = []
    for i in range(128):
        (a0, a1), (b0, b1) = f[2 * i : 2 * i + 2], g[2 * i : 2 * i + 2]
        h += [(a0 * b0 + a1 * b1 * GAMMAS[i]) % Q, (a0 * b1 + a1 * b0) % Q]
    return h


def add(*polynomials):
    return [sum(values) % Q for values in zip(*polynomials)]


def dot(left, right):
    return add(*(multiply(f, g) for f, g in zip(left, right)))


def matrix(rho):
    return [[sample_ntt(rho + bytes([j, i])) for j in range(K)] for i in range(K)]


# --- sections 5 and 6: K-PKE and ML-KEM -------------------------------------------------------------------------------


def mlkem_keys(d, z):
    """Decapsulation key (as its parts) and encapsulation key, from 64 bytes of seed."""
    seed = sha3_512(d + bytes([K])).digest()
    rho, sigma = seed[:32], seed[32:]
    s = [ntt(prf(sigma, n)) for n in range(K)]
    e = [ntt(prf(sigma, K + n)) for n in range(K)]
    t = [add(dot(row, s), e[i]) for i, row in enumerate(matrix(rho))]
    public = b"".join(byte_encode(12, f) for f in t) + rho
    return (s, public, z), public


def encrypt(public, message, randomness):
    t = [byte_decode(12, public[384 * i : 384 * i + 384]) for i in range(K)]
    a = matrix(public[1152:])
    y = [ntt(prf(randomness, n)) for n in range(K)]
    u = [add(ntt_inverse(dot([a[j][i] for j in range(K)], y)), prf(randomness, K + i)) for i in range(K)]
    mu = decompress(1, byte_decode(1, message))
    v = add(ntt_inverse(dot(t, y)), prf(randomness, 2 * K), mu)
    return b"".join(byte_encode(DU, compress(DU, f)) for f in u) + byte_encode(DV, compress(DV, v))


def decrypt(s, ciphertext):
    u = [decompress(DU, byte_decode(DU, ciphertext[320 * i : 320 * i + 320])) for i in range(K)]
    v = decompress(DV, byte_decode(DV, ciphertext[960:]))
    w = [(a - b) % Q for a, b in zip(v, ntt_inverse(dot(s, [ntt(f) for f in u])))]
    return byte_encode(1, compress(1, w))


def mlkem_encapsulate(public, message):
    shared = sha3_512(message + sha3_256(public).digest()).digest()
    return encrypt(public, message, shared[32:]), shared[:32]


def mlkem_decapsulate(private, ciphertext):
    s, public, z = private
    message = decrypt(s, ciphertext)
    again, shared = mlkem_encapsulate(public, message)
    return shared if again == ciphertext else shake_256(z + ciphertext).digest(32)


# --- X-Wing -----------------------------------------------------------------------------------------------------------


def x25519_public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def x25519(private, public):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def expand(seed):
    """The parts of the private key, and the public key, that 32 bytes of seed make (section 5.2)."""
    expanded = shake_256(seed).digest(96)
    mlkem, public = mlkem_keys(expanded[:32], expanded[32:64])
    return mlkem, expanded[64:], public + x25519_public(expanded[64:])


def combine(ss_m, ss_x, ct_x, pk_x):
    return sha3_256(ss_m + ss_x + ct_x + pk_x + rb"\.//^" + b"\\").digest()


def encapsulate(public, randomness):
    """`enc` and the shared secret; 64 bytes of randomness, random in life and fixed in vectors."""
    ct_m, ss_m = mlkem_encapsulate(public[:1184], randomness[:32])
    ct_x = x25519_public(randomness[32:])
    return ct_m + ct_x, combine(ss_m, x25519(randomness[32:], public[1184:]), ct_x, public[1184:])


def decapsulate(seed, enc):
    mlkem, private_x, public = expand(seed)
    ss_m, ct_x = mlkem_decapsulate(mlkem, enc[:1088]), enc[1088:]
    return combine(ss_m, x25519(private_x, ct_x), ct_x, public[1184:])
