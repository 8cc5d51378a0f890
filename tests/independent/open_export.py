"""Opens mappings in a file that `cloison store export` wrote. Written from docs/export.md and docs/spec.md alone ("§" below).

    open_export.py demo.jsonl --sector UUID --store-secrets secrets/vault/store --authority-secret secrets/node/court-2026.secret \
        --segment-key HEX [--audit-secret secrets/vault/audit.secret] PSEUDONYM…

It needs the package `cryptography`, and xwing.py beside it where an authority's key is X-Wing. It prints a line of JSON for
each pseudonym, once the whole file has passed its check; exit code 3 says that not all of them opened.
"""

import argparse
import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import re
import struct
import sys
import uuid

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


class Broken(Exception):
    """What was read is not what the specification says."""


# --- §1: notation ---------------------------------------------------------------------------------------------------


def lp(field):
    return struct.pack(">H", len(field)) + field


def extract(salt, ikm):
    return hmac.digest(salt, ikm, "sha256")


def expand(prk, info, length=32):
    return HKDFExpand(SHA256(), length, info).derive(prk)


class Reader:
    """Reads fields off the front."""

    def __init__(self, data):
        self.data = data

    def take(self, n):
        if len(self.data) < n:
            raise Broken("a record ends too early")
        head, self.data = self.data[:n], self.data[n:]
        return head

    def number(self, n):
        return int.from_bytes(self.take(n), "big")

    def lp(self):
        return self.take(self.number(2))

    def end(self):
        if self.data:
            raise Broken("a record has too many bytes")


def aead_open(key, nonce, ciphertext, aad, what):
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise Broken(f"{what} does not open: is this its key?") from None


# --- §10: secrets in files ------------------------------------------------------------------------------------------


def read_secret(path, kind):
    line = pathlib.Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").strip().decode()
    match = re.fullmatch(f"cloison-secret-1:{kind}:([0-9a-f]{{64}})", line)
    if not match:
        raise Broken(f"{path} is not a secret of kind {kind} in clear: undo its custody first (docs/export.md)")
    return bytes.fromhex(match[1])


# --- §4: text forms -------------------------------------------------------------------------------------------------

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def parse_pseudonym(text):
    """Text form, epoch modulo 32 (or None) and the 16 bytes."""
    if re.fullmatch("[0-9a-f]{32}", text):
        return "hex", None, bytes.fromhex(text)
    if re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text):
        return "uuid", None, bytes.fromhex(text.replace("-", ""))
    match = re.fullmatch(f"([a-z]{{2,12}})1([{CHARSET}]{{33}})", text)
    if not match:
        raise Broken(f"{text} is no pseudonym")
    data = [CHARSET.index(c) for c in match[2]]
    register = 1  # the checksum of BIP 350
    for value in [ord(c) >> 5 for c in match[1]] + [0] + [ord(c) & 31 for c in match[1]] + data:
        top, register = register >> 25, (register & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            register ^= generator if top >> i & 1 else 0
    bits = int("".join(f"{value:05b}" for value in data[1:27]), 2)
    if register != 0x2BC830A3 or bits & 3:
        raise Broken(f"{text} has a typing error")
    return "bech32m", data[0], (bits >> 2).to_bytes(16, "big")


# --- §7: chunks, the outer envelope ---------------------------------------------------------------------------------


def store_key(secret):
    return expand(extract(b"cloison/v1/extract/store", secret), b"cloison/v1/store")


def hchacha20(key, nonce):
    """draft-irtf-cfrg-xchacha-03 §2.2: the rounds of ChaCha20 (RFC 8439 §2.3) without the final addition."""
    s = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))
    columns = [(i, 4 + i, 8 + i, 12 + i) for i in range(4)]
    diagonals = [(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)]
    for a, b, c, d in (columns + diagonals) * 10:
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = s[x] + s[y] & 0xFFFFFFFF
            mixed = s[z] ^ s[x]
            s[z] = (mixed << turn | mixed >> 32 - turn) & 0xFFFFFFFF
    return struct.pack("<8I", *s[:4], *s[12:])


def unwrap_chunk(store_keys, row_key, row):
    """Segment id, (controller, purpose, period), and nonce and ciphertext of each pseudonym."""
    r = Reader(row)
    form, version, nonce = r.number(1), r.number(4), r.take(24)
    if form != 1 or version not in store_keys:
        raise Broken(f"a chunk is of format {form}, under storage secret {version}")
    cipher_key = hchacha20(store_keys[version], nonce[:16])
    p = Reader(aead_open(cipher_key, bytes(4) + nonce[16:], r.data, row_key, "a chunk"))
    if p.number(1) != 1:
        raise Broken("a chunk's content is of another format")
    segment, scope = p.take(16), tuple(p.lp().decode() for _ in range(3))
    records = {p.take(16): (p.take(12), p.lp()) for _ in range(p.number(4))}
    p.end()
    return segment, scope, records


# --- §5: segments, which the authority opens ------------------------------------------------------------------------

KEMS = {1: 0x0020, 2: 0x647A}
KEY_LABELS = {1: b"cloison/v1/authority-key", 2: b"cloison/v1/authority-key-x-wing"}


def labeled_extract(suite_id, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite_id + label + ikm)


def labeled_expand(suite_id, prk, label, info, length):
    return expand(prk, struct.pack(">H", length) + b"HPKE-v1" + suite_id + label + info, length)


def shared_secret(suite, ikm, enc):
    """DeriveKeyPair, then Decap: RFC 9180 §7.1.3 and §4.1; draft-ietf-hpke-pq-03 §4 for X-Wing."""
    kem = b"KEM" + struct.pack(">H", KEMS[suite])
    if suite == 2:
        import xwing

        label = struct.pack(">H", 13) + b"DeriveKeyPair" + struct.pack(">H", 32)
        return xwing.decapsulate(hashlib.shake_256(ikm + b"HPKE-v1" + kem + label).digest(32), enc)
    private = labeled_expand(kem, labeled_extract(kem, b"", b"dkp_prk", ikm), b"sk", b"", 32)
    private = X25519PrivateKey.from_private_bytes(private)
    point = private.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + private.public_key().public_bytes_raw()
    return labeled_expand(kem, labeled_extract(kem, b"", b"eae_prk", point), b"shared_secret", context, 32)


def hpke_open(suite, ikm, enc, info, aad, ciphertext):
    """RFC 9180 §5.1 and §6.1, mode base."""
    shared = shared_secret(suite, ikm, enc)
    hpke = b"HPKE" + struct.pack(">HHH", KEMS[suite], 0x0001, 0x0003)
    context = b"\x00" + labeled_extract(hpke, b"", b"psk_id_hash", b"") + labeled_extract(hpke, b"", b"info_hash", info)
    secret = labeled_extract(hpke, shared, b"secret", b"")
    key = labeled_expand(hpke, secret, b"key", context, 32)
    return aead_open(key, labeled_expand(hpke, secret, b"base_nonce", context, 12), ciphertext, aad, "a segment")


def is_signed(record, public):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(record[-64:], b"cloison/v1/segment-signature" + record[:-64])
        return True
    except InvalidSignature:
        return False


def open_segment(record, sector, authority_secret, segment_keys):
    """The DEK. A record names the key ids that it is sealed to; this secret is one of theirs."""
    if not any(is_signed(record, public) for public in segment_keys):
        raise Broken("a segment is not signed by a pinned segment key")
    r = Reader(record[:-64])
    form, segment, found, opened_at, commitment = r.number(1), r.take(16), r.take(16), r.take(8), r.take(32)
    recipients = [(r.number(1), r.lp(), r.lp(), r.lp()) for _ in range(r.number(1))]
    r.end()
    if form != 1 or found != sector.bytes:
        raise Broken("a segment is of another format or sector")
    prk = extract(b"cloison/v1/extract/authority", authority_secret)
    for suite, key_id, enc, ciphertext in recipients:
        info = b"cloison/v1/segment" + lp(sector.bytes) + lp(key_id)
        try:
            ikm = expand(prk, KEY_LABELS[suite] + lp(key_id))
            dek = hpke_open(suite, ikm, enc, info, segment + opened_at, ciphertext)
        except Broken:
            continue  # another authority's, or another key of this one
        if expand(dek, b"cloison/v1/segment-commitment") == commitment:
            return dek
    raise Broken("the authority's secret opens no recipient of a segment")


# --- §6: mappings, the inner envelope -------------------------------------------------------------------------------


def open_mapping(dek, sector, epoch, scope, pseudonym, nonce, ciphertext):
    """Scheme, canonical value, and the day when it was first seen."""
    place = b"cloison/v1/mapping" + lp(sector.bytes) + b"".join(lp(value.encode()) for value in scope)
    place += lp(struct.pack(">I", epoch)) + lp(pseudonym)
    p = Reader(aead_open(dek, nonce, ciphertext, place, "a mapping"))
    scheme, value, day = p.lp().decode(), p.lp().decode(), p.number(4)
    p.end()
    return scheme, value, (datetime.date(1970, 1, 1) + datetime.timedelta(day)).isoformat()


# --- docs/export.md: the file ---------------------------------------------------------------------------------------

COUNTED = {kind: kind + "s" for kind in ("sector", "epoch", "tombstone", "segment", "chunk")} | {"retired": "retired"}


def lines_of(path):
    """The lines of an export, of which the last one proves that the others are whole."""
    digest, counts, last = hashlib.sha256(), dict.fromkeys(COUNTED.values(), 0), None
    with open(path, "rb") as file:
        for number, text in enumerate(file):
            if last:
                raise Broken("lines follow the last one")
            line = json.loads(text)
            if (number == 0) != (line["type"] == "export") or number == 0 and line["format"] != "cloison-export-1":
                raise Broken("this is no export of format cloison-export-1")
            if line["type"] == "end":
                last = line
                continue
            digest.update(text)
            if line["type"] in COUNTED:
                counts[COUNTED[line["type"]]] += 1
            yield line
    if not last or last["sha256"] != digest.hexdigest() or any(last[kind] != n for kind, n in counts.items()):
        raise Broken("the export was cut short or changed")


def tombstone(audit_secret, sector, pseudonym):
    """§8"""
    key = expand(extract(b"cloison/v1/extract/audit", audit_secret), b"cloison/v1/tombstone")
    return hmac.digest(key, lp(sector.bytes) + lp(pseudonym), "sha256")[:16].hex()


def open_all(arguments):
    sector, own = arguments.sector, str(arguments.sector)
    versions = {int(file.stem): file for file in pathlib.Path(arguments.store_secrets).glob("*.secret")}
    store_keys = {version: store_key(read_secret(file, "store")) for version, file in versions.items()}
    authority = read_secret(arguments.authority_secret, "authority")
    audit = arguments.audit_secret and read_secret(arguments.audit_secret, "audit")
    wanted = {text: parse_pseudonym(text) for text in arguments.pseudonyms}
    found, number, forms, retired, stones, segments, deks = {}, None, {}, [], set(), {}, {}
    for line in lines_of(arguments.export):
        match line:
            case {"type": "sector", "sector": uuid_text} if uuid_text == own:
                number = line["number"]
            case {"type": "epoch", "sector": uuid_text} if uuid_text == own:
                forms[line["epoch"]] = line["text-form"]
            case {"type": "retired", "sector": uuid_text} if uuid_text == own:
                retired.append(line["epoch"])
            case {"type": "tombstone", "sector": uuid_text} if uuid_text == own:
                stones.add(line["tombstone"])
            case {"type": "segment"}:
                segments[bytes.fromhex(line["id"])] = line["record"]
            case {"type": "chunk"} if line["number"] == number:
                epoch = line["epoch"]
                row_key = struct.pack(">IIQ", number, epoch, line["sequence"])
                segment, scope, records = unwrap_chunk(store_keys, row_key, base64.b64decode(line["row"]))
                for text, (form, modulo, pseudonym) in wanted.items():
                    if form != forms[epoch] or modulo not in (None, epoch % 32) or pseudonym not in records:
                        continue
                    if segment not in deks:
                        record = base64.b64decode(segments[segment])
                        deks[segment] = open_segment(record, sector, authority, arguments.segment_key)
                    opened = open_mapping(deks[segment], sector, epoch, scope, pseudonym, *records[pseudonym])
                    names = ("scheme", "value", "first-seen", "epoch", "controller", "purpose", "period")
                    found[text] = dict(zip(names, (*opened, epoch, *scope)))
    for text, (form, modulo, pseudonym) in wanted.items():
        if audit and tombstone(audit, sector, pseudonym) in stones:
            found[text] = {"error": "erased"}
        elif text not in found:
            gone = any(form == forms.get(epoch) and modulo in (None, epoch % 32) for epoch in retired)
            found[text] = {"error": "retired" if gone and modulo is not None else "no-mapping"}
        yield {"pseudonym": text} | found[text]


def main():
    parser = argparse.ArgumentParser(description="Opens mappings in an export of cloison.")
    parser.add_argument("export")
    parser.add_argument("pseudonyms", nargs="+")
    parser.add_argument("--sector", type=uuid.UUID, required=True, help="the sector's UUID, from the register")
    parser.add_argument("--store-secrets", required=True, help="a folder of VERSION.secret")
    parser.add_argument("--authority-secret", required=True)
    parser.add_argument("--segment-key", type=bytes.fromhex, required=True, action="append", help="public; repeatable")
    parser.add_argument("--audit-secret", help="tells pseudonyms that were erased from those that were never stored")
    try:
        results = list(open_all(parser.parse_args()))
    except (Broken, OSError, KeyError, ValueError) as error:
        sys.exit(f"open_export.py: {error}")
    for result in results:
        print(json.dumps(result))
    sys.exit(3 if any("error" in result for result in results) else 0)


if __name__ == "__main__":
    main()
