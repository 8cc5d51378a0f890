"""Segments, mappings and chunks, as docs/spec.md states them.

HPKE (RFC 9180, base mode) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) are done by hand over the `cryptography`
package's X25519, HKDF, ChaCha20-Poly1305 and Ed25519; X-Wing in `xwing.py`.
"""

import struct
from hashlib import shake_256

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

import xwing
from derivation import expand, extract, lp


class SealError(Exception):
    """Carries which check failed: format, signature, not-for-this-key, open, commitment or key-version."""

    @property
    def kind(self):
        return self.args[0]


class Reader:
    """Reads fields off the front; every read is checked."""

    def __init__(self, data):
        self.data = data

    def take(self, n):
        if len(self.data) < n:
            raise SealError("format")
        head, self.data = self.data[:n], self.data[n:]
        return head

    def number(self, n):
        return int.from_bytes(self.take(n), "big")

    def lp(self):
        return self.take(self.number(2))

    def text(self):
        try:
            return self.lp().decode()
        except UnicodeDecodeError:
            raise SealError("format") from None

    def end(self):
        if self.data:
            raise SealError("format")


def aead_open(key, nonce, ciphertext, aad):
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise SealError("open") from None


# --- HPKE: DHKEM(X25519, HKDF-SHA256) or X-Wing, HKDF-SHA256, ChaCha20-Poly1305, mode base ----------------------------

KEM_IDS = {1: 0x0020, 2: 0x647A}


def kem(suite):
    return b"KEM" + struct.pack(">H", KEM_IDS[suite])


def labeled_extract(suite_id, salt, label, ikm):
    return extract(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm)


def labeled_expand(suite_id, prk, label, info, length):
    info = struct.pack(">H", length) + b"HPKE-v1" + suite_id + label + info
    return HKDFExpand(SHA256(), length, info).derive(prk)


def derive_key_pair(ikm, suite=1):
    """RFC 9180 section 7.1.3, draft-ietf-hpke-pq section 4; private and public key."""
    if suite == 2:
        label = struct.pack(">H", 13) + b"DeriveKeyPair" + struct.pack(">H", 32)
        private = shake_256(ikm + b"HPKE-v1" + kem(2) + label).digest(32)
        return private, xwing.expand(private)[2]
    private = labeled_expand(kem(1), labeled_extract(kem(1), b"", b"dkp_prk", ikm), b"sk", b"", 32)
    return private, public_of(private)


def public_of(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def exchange(private, public):
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # the all-zero shared point of section 7.1.4
        raise SealError("open") from None


def dh_secret(shared_point, enc, public):
    """ExtractAndExpand of DHKEM (section 4.1)."""
    prk = labeled_extract(kem(1), b"", b"eae_prk", shared_point)
    return labeled_expand(kem(1), prk, b"shared_secret", enc + public, 32)


def hpke_cipher(suite, shared, info):
    """The key and the first nonce (section 5.1)."""
    hpke = b"HPKE" + struct.pack(">HHH", KEM_IDS[suite], 0x0001, 0x0003)
    hashes = labeled_extract(hpke, b"", b"psk_id_hash", b"") + labeled_extract(hpke, b"", b"info_hash", info)
    secret = labeled_extract(hpke, shared, b"secret", b"")
    key = labeled_expand(hpke, secret, b"key", b"\x00" + hashes, 32)
    return key, labeled_expand(hpke, secret, b"base_nonce", b"\x00" + hashes, 12)


def hpke_seal(public, info, aad, plaintext, ephemeral, suite=1):
    """`ephemeral` is the ephemeral private key, or 64 bytes for X-Wing: random in life, fixed in vectors."""
    if suite == 2:
        enc, shared = xwing.encapsulate(public, ephemeral)
    else:
        enc = public_of(ephemeral)
        shared = dh_secret(exchange(ephemeral, public), enc, public)
    key, nonce = hpke_cipher(suite, shared, info)
    return enc, ChaCha20Poly1305(key).encrypt(nonce, plaintext, aad)


def hpke_open(private, enc, info, aad, ciphertext, suite=1):
    if len(enc) != (xwing.CIPHERTEXT if suite == 2 else 32):
        raise SealError("format")
    if suite == 2:
        shared = xwing.decapsulate(private, enc)
    else:
        shared = dh_secret(exchange(private, enc), enc, public_of(private))
    key, nonce = hpke_cipher(suite, shared, info)
    return aead_open(key, nonce, ciphertext, aad)


# --- segments ---------------------------------------------------------------------------------------------------------

SIGNATURE_LABEL = b"cloison/v1/segment-signature"


KEY_LABELS = {1: b"cloison/v1/authority-key", 2: b"cloison/v1/authority-key-x-wing"}


def authority_key(authority_secret, key_id, suite=1):
    """Private and public HPKE key of an authority."""
    prk = extract(b"cloison/v1/extract/authority", authority_secret)
    return derive_key_pair(expand(prk, KEY_LABELS[suite] + lp(key_id.encode())), suite)


def segment_commitment(dek):
    return expand(dek, b"cloison/v1/segment-commitment")


def segment_info(sector, key_id):
    return b"cloison/v1/segment" + lp(sector.bytes) + lp(key_id.encode())


def make_segment(segment_id, sector, opened_at, commitment, recipients, signing_key, fmt=1):
    """`recipients` are (suite, key id, enc, ct)."""
    record = struct.pack(">B16s16sQ32sB", fmt, segment_id, sector.bytes, opened_at, commitment, len(recipients))
    for suite, key_id, enc, ct in recipients:
        record += bytes([suite]) + lp(key_id.encode()) + lp(enc) + lp(ct)
    return record + Ed25519PrivateKey.from_private_bytes(signing_key).sign(SIGNATURE_LABEL + record)


def seal_segment(segment_id, sector, opened_at, dek, recipients, signing_key):
    """`recipients` are (suite, key id, public key, ephemeral private key)."""
    aad = segment_id + struct.pack(">Q", opened_at)
    sealed = [
        (suite, key_id, *hpke_seal(public, segment_info(sector, key_id), aad, dek, ephemeral, suite))
        for suite, key_id, public, ephemeral in recipients
    ]
    return make_segment(segment_id, sector, opened_at, segment_commitment(dek), sealed, signing_key)


def open_segment(record, key_id, private, pinned, own_suite=1):
    """Segment id, sector (16 bytes) and DEK, after every check."""
    r = Reader(record)
    if r.number(1) != 1:
        raise SealError("format")
    segment_id, sector, opened_at, commitment = r.take(16), r.take(16), r.take(8), r.take(32)
    recipients = [(r.number(1), r.text(), r.lp(), r.lp()) for _ in range(r.number(1))]
    signature = r.take(64)
    r.end()

    def signed_by(public):
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, SIGNATURE_LABEL + record[:-64])
            return True
        except InvalidSignature:
            return False

    if not any(map(signed_by, pinned)):
        raise SealError("signature")
    for suite, recipient, enc, ct in recipients:
        if (suite, recipient) == (own_suite, key_id):
            info = b"cloison/v1/segment" + lp(sector) + lp(key_id.encode())
            dek = hpke_open(private, enc, info, segment_id + opened_at, ct, suite)
            if segment_commitment(dek) != commitment:
                raise SealError("commitment")
            return segment_id, sector, dek
    raise SealError("not-for-this-key")


# --- mappings ---------------------------------------------------------------------------------------------------------


def location(sector, epoch, controller, purpose, period, pseudonym):
    scope = b"".join(lp(value.encode()) for value in (controller, purpose, period))
    return b"cloison/v1/mapping" + lp(sector.bytes) + scope + lp(struct.pack(">I", epoch)) + lp(pseudonym)


def seal_mapping(dek, place, pseudonym, nonce, scheme, value, first_seen):
    plaintext = lp(scheme.encode()) + lp(value.encode()) + struct.pack(">I", first_seen)
    return pseudonym + nonce + lp(ChaCha20Poly1305(dek).encrypt(nonce, plaintext, place))


def read_record(r):
    """Pseudonym, nonce and ciphertext."""
    return r.take(16), r.take(12), r.lp()


def open_mapping(record, dek, sector, epoch, controller, purpose, period):
    """Scheme, value and first-seen day."""
    r = Reader(record)
    pseudonym, nonce, ciphertext = read_record(r)
    r.end()
    place = location(sector, epoch, controller, purpose, period, pseudonym)
    p = Reader(aead_open(dek, nonce, ciphertext, place))
    mapping = p.text(), p.text(), p.number(4)
    p.end()
    return mapping


# --- chunks -----------------------------------------------------------------------------------------------------------


def hchacha20(key, nonce):
    """draft-irtf-cfrg-xchacha section 2.2: the ChaCha20 rounds (RFC 8439 section 2.3) without the final addition."""
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))

    def quarter(a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFFFFFF
            mixed = state[z] ^ state[x]
            state[z] = (mixed << turn | mixed >> (32 - turn)) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])


def store_key(store_secret):
    return expand(extract(b"cloison/v1/extract/store", store_secret), b"cloison/v1/store")


def row_key(sector_number, epoch, sequence):
    return struct.pack(">IIQ", sector_number, epoch, sequence)


def chunk_plaintext(segment_id, controller, purpose, period, records, fmt=1, count=None):
    scope = b"".join(lp(value.encode()) for value in (controller, purpose, period))
    count = len(records) if count is None else count
    return bytes([fmt]) + segment_id + scope + struct.pack(">I", count) + b"".join(records)


def wrap_chunk(k_store, version, nonce, key, plaintext, fmt=1):
    cipher = ChaCha20Poly1305(hchacha20(k_store, nonce[:16]))
    return bytes([fmt]) + struct.pack(">I", version) + nonce + cipher.encrypt(bytes(4) + nonce[16:], plaintext, key)


def unwrap_chunk(store_keys, key, row):
    """`store_keys` maps versions to K_store. Segment id, (controller, purpose, period) and the records."""
    r = Reader(row)
    if r.number(1) != 1:
        raise SealError("format")
    version, nonce = r.number(4), r.take(24)
    if version not in store_keys:
        raise SealError("key-version")
    if len(r.data) < 16:
        raise SealError("format")
    plaintext = aead_open(hchacha20(store_keys[version], nonce[:16]), bytes(4) + nonce[16:], r.data, key)
    p = Reader(plaintext)
    if p.number(1) != 1:
        raise SealError("format")
    segment_id, scope = p.take(16), (p.text(), p.text(), p.text())
    records = []
    for _ in range(p.number(4)):
        pseudonym, nonce, ciphertext = read_record(p)
        records.append(pseudonym + nonce + lp(ciphertext))
    return segment_id, scope, records
