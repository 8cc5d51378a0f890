"""Derivation, version 1, as docs/spec.md states it. Written from the specification, not from the Rust code."""

import hmac
import struct
import uuid

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


def mac(key, message):
    return hmac.digest(key, message, "sha256")


def lp(field):
    """LP: the two-byte big-endian length, then the field."""
    return struct.pack(">H", len(field)) + field


def extract(salt, ikm):
    """HKDF-Extract, RFC 5869 section 2.2."""
    return mac(salt, ikm)


def expand(prk, info):
    """HKDF-Expand to 32 bytes, RFC 5869 section 2.3."""
    return HKDFExpand(SHA256(), 32, info).derive(prk)


def identity(identity_secret):
    """PRK_id and K_uti."""
    prk = extract(b"cloison/v1/extract/identity", identity_secret)
    return prk, expand(prk, b"cloison/v1/uti")


def technical_identifier(k_uti, scheme, value):
    """The UTI of an identifier."""
    return mac(k_uti, lp(scheme.encode()) + lp(value.encode()))


def path_keys(sector_secret, path):
    """PRK_sec, and the keys of the root and of each sector on the path."""
    prk = extract(b"cloison/v1/extract/sector", sector_secret)
    keys = [expand(prk, b"cloison/v1/sector-root")]
    for sector in path:
        keys.append(expand(keys[-1], b"cloison/v1/sector-child" + lp(sector.bytes)))
    return prk, keys


def domain_key(k_path, epoch, controller, purpose, period):
    scope = b"".join(lp(value.encode()) for value in (controller, purpose, period))
    return expand(k_path, b"cloison/v1/domain" + struct.pack(">I", epoch) + scope)


def person_handle(prk_id, sector, uti):
    return mac(expand(prk_id, b"cloison/v1/person" + lp(sector.bytes)), uti)[:16]


def with_uuid_bits(pseudonym):
    """RFC 9562 section 5.8: version 8, variant binary 10."""
    fixed = bytearray(pseudonym)
    fixed[6] = 0x80 | fixed[6] & 0x0F
    fixed[8] = 0x80 | fixed[8] & 0x3F
    return bytes(fixed)


def prf(inputs):
    """The 32 bytes of the PRF for the input object of `cloison spec derive`."""
    _, k_uti = identity(bytes.fromhex(inputs["identity_secret"]))
    uti = technical_identifier(k_uti, inputs["scheme"], inputs["value"])
    path = [uuid.UUID(sector) for sector in inputs["path"]]
    _, keys = path_keys(bytes.fromhex(inputs["sector_secret"]), path)
    scope = (inputs["controller"], inputs["purpose"], inputs["period"])
    return mac(domain_key(keys[-1], inputs["epoch"], *scope), uti)


def derive(inputs):
    """What `cloison spec derive` prints for the object that it reads."""
    import text_forms

    prk_id, k_uti = identity(bytes.fromhex(inputs["identity_secret"]))
    uti = technical_identifier(k_uti, inputs["scheme"], inputs["value"])
    path = [uuid.UUID(sector) for sector in inputs["path"]]
    prk_sec, keys = path_keys(bytes.fromhex(inputs["sector_secret"]), path)
    k_domain = domain_key(keys[-1], inputs["epoch"], inputs["controller"], inputs["purpose"], inputs["period"])
    pseudonym = mac(k_domain, uti)[:16]
    return {
        "prk_id": prk_id.hex(),
        "k_uti": k_uti.hex(),
        "uti": uti.hex(),
        "prk_sec": prk_sec.hex(),
        "k_path": [key.hex() for key in keys],
        "k_domain": k_domain.hex(),
        "pseudonym": pseudonym.hex(),
        "person_handle": person_handle(prk_id, path[-1], uti).hex(),
        "text": {
            "bech32m": text_forms.write("bech32m", inputs["tag"], inputs["epoch"], pseudonym),
            "uuid": text_forms.write("uuid", inputs["tag"], inputs["epoch"], with_uuid_bits(pseudonym)),
            "hex": text_forms.write("hex", inputs["tag"], inputs["epoch"], pseudonym),
        },
    }


def audit_tag(audit_secret, sector, pseudonym):
    """K_audit and the tag by which an audit entry can be searched for a pseudonym."""
    k_audit = expand(extract(b"cloison/v1/extract/audit", audit_secret), b"cloison/v1/audit-tag")
    return k_audit, mac(k_audit, lp(sector.bytes) + lp(pseudonym))[:16]
