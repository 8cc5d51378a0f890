"""Opens a backup in a sealed repository, as docs/spec.md states it, into a folder: the store that it holds.

    open_backup.py REPOSITORY BACKUP IDENTITY FOLDER

Nothing of cloison is used: age files (C2SP age.md, recipient stanzas X25519) are opened here. Signatures are not checked.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from text_forms import BECH32, CHARSET, expand_tag, polymod

CHUNK = 64 * 1024


def identity(text):
    """The private key in a line `AGE-SECRET-KEY-1…` (BIP 173)."""
    tag, data = text.lower().rsplit("1", 1)
    values = [CHARSET.index(c) for c in data]
    assert tag == "age-secret-key-" and polymod(expand_tag(tag) + values) == BECH32
    bits = 0
    for value in values[:-6]:
        bits = bits << 5 | value
    return X25519PrivateKey.from_private_bytes((bits >> (len(values) - 6) * 5 - 256).to_bytes(32, "big"))


def derive(ikm, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(ikm)


def decode(text):
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


def file_key(stanzas, keys):
    """Unwraps the key of a file from the first stanza that one of the private keys opens."""
    for arguments, body in stanzas:
        if arguments[0] != b"X25519":
            continue
        share = decode(arguments[1])
        for key in keys:
            public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            secret = key.exchange(X25519PublicKey.from_public_bytes(share))
            wrapping = derive(secret, share + public, b"age-encryption.org/v1/X25519")
            try:
                return ChaCha20Poly1305(wrapping).decrypt(bytes(12), body, None)
            except Exception:
                continue
    raise SystemExit("no identity opens it")


def open_age(sealed, keys):
    """The bytes that an age file holds."""
    end = sealed.index(b"\n---") + 4
    after = sealed.index(b"\n", end) + 1
    first, *lines = sealed[: end - 4].split(b"\n")
    assert first == b"age-encryption.org/v1"
    stanzas = []
    for line in lines:
        if line.startswith(b"-> "):
            stanzas.append([line[3:].split(b" "), b""])
        else:
            stanzas[-1][1] += line
    stanzas = [(arguments, decode(body)) for arguments, body in stanzas]
    key = file_key(stanzas, keys)
    mac = hmac.new(derive(key, b"", b"header"), sealed[:end], hashlib.sha256).digest()
    assert decode(sealed[end + 1 : after - 1]) == mac, "the header was changed"
    nonce, payload = sealed[after : after + 16], sealed[after + 16 :]
    cipher, plain = ChaCha20Poly1305(derive(key, nonce, b"payload")), []
    pieces = [payload[at : at + CHUNK + 16] for at in range(0, len(payload), CHUNK + 16)]
    for number, piece in enumerate(pieces):
        is_last = number == len(pieces) - 1
        plain.append(cipher.decrypt(number.to_bytes(11, "big") + bytes([is_last]), piece, None))
    return b"".join(plain)


def payload(text):
    encoded = json.loads(text)["payload"]
    return json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))


def main(repository, backup, identities, folder):
    repository, folder = pathlib.Path(repository), pathlib.Path(folder)
    lines = pathlib.Path(identities).read_text().split("\n")
    keys = [identity(line) for line in lines if line.startswith("AGE-SECRET-KEY-1")]

    def stored(part):
        sealed = (repository / "files" / (part["sha256"] + ".age")).read_bytes()
        assert len(sealed) == part["length"] and hashlib.sha256(sealed).hexdigest() == part["sha256"]
        return open_age(sealed, keys)

    clear = payload((repository / "manifests" / (backup + ".jws")).read_text())
    manifest = payload(stored(clear["manifest"]))
    assert manifest["backup"] == backup and len(manifest["files"]) == len(clear["files"])
    folder.mkdir()
    for file, part in zip(manifest["files"], clear["files"]):
        plain = stored(part)
        assert len(plain) == file["length"] and hashlib.sha256(plain).hexdigest() == file["sha256"]
        (folder / file["name"]).write_bytes(plain)
    print(len(clear["files"]))


main(*sys.argv[1:])
