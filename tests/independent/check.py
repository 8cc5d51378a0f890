"""Recomputes every vector in tests/vectors from its inputs, and first the published ones that this stands on.

    python check.py [FOLDER]

Exits with 1 at the first difference and says which vector it is.
"""

import hashlib
import json
import pathlib
import sys
import unicodedata
import uuid

import canonical
import cases_canonical
import sealing
import text_forms
import xwing
from derivation import audit_tag, derive, prf, with_uuid_bits

unhex = bytes.fromhex
count = 0


def same(what, ours, theirs):
    global count
    count += 1
    if ours != theirs:
        sys.exit(f"{what}: we have {ours!r}, the vector has {theirs!r}")


def refuses(what, expected, function, *args):
    try:
        function(*args)
    except (text_forms.Refused, canonical.Refused) as refused:
        same(what, refused.code, expected)
    except sealing.SealError as refused:
        same(what, refused.kind, expected)
    else:
        sys.exit(f"{what}: not refused")


def published():
    """RFC 9180 A.2.1, the HChaCha20 of draft-irtf-cfrg-xchacha 2.2.1, draft-connolly-cfrg-xwing-kem C, BIP 350."""
    _, public = sealing.derive_key_pair(unhex("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df"))
    same("RFC 9180, pkRm", public.hex(), "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
    private, _ = sealing.derive_key_pair(unhex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b"))
    message = b"Beauty is truth, truth beauty"
    enc, ct = sealing.hpke_seal(public, b"Ode on a Grecian Urn", b"Count-0", message, private)
    same("RFC 9180, enc", enc.hex(), "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
    same(
        "RFC 9180, ct",
        ct.hex(),
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
    )
    subkey = sealing.hchacha20(bytes(range(32)), unhex("000000090000004a0000000031415927"))
    same("HChaCha20", subkey.hex(), "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")
    *_, public = xwing.expand(unhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"))
    digest = "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb"
    same("X-Wing, SHA-256 of pk", hashlib.sha256(public).hexdigest(), digest)
    randomness = "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2"
    randomness += "35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2"
    ct, shared = xwing.encapsulate(public, unhex(randomness))
    digest = "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33"
    same("X-Wing, SHA-256 of ct", hashlib.sha256(ct).hexdigest(), digest)
    same("X-Wing, ss", shared.hex(), "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384")
    values = list(range(31, -1, -1))
    same("BIP 350", text_forms.with_checksum("abcdef", values), "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx")
    same("BIP 173", text_forms.with_checksum("a", [], text_forms.BECH32), "a12uel5l")


def derivation(file):
    for vector in file["vectors"]:
        same(f"derivation: {vector['name']}", derive(vector["input"]), vector["output"])


def text(file):
    for v in file["vectors"]:
        for form, pseudonym in (("bech32m", v["pseudonym"]), ("hex", v["pseudonym"]), ("uuid", v["uuid_pseudonym"])):
            p = unhex(pseudonym)
            same(f"{form} of {pseudonym}", text_forms.write(form, v["tag"], v["epoch"], p), v[form])
            epoch = v["epoch"] % 32 if form == "bech32m" else None
            same(f"{v[form]}, read", text_forms.parse(form, v["tag"], v[form]), (p, epoch))
        same("its UUID bits", with_uuid_bits(unhex(v["pseudonym"])).hex(), v["uuid_pseudonym"])
    for v in file["must_fail"]:
        refuses(f"text: {v['why']}", v["code"], text_forms.parse, v["form"], v["tag"], v["text"])


def canonical_form(file):
    schemes = file["schemes"]
    for v in file["vectors"]:
        same(f"canonical: {v['why']}", canonical.canonical(schemes[v["scheme"]], v["raw"]), v["value"])
    for v in file["must_fail"]:
        refuses(f"canonical: {v['why']}", v["code"], canonical.canonical, schemes[v["scheme"]], v["raw"])
    spaces = [n for n in range(0x110000) if n == 9 or unicodedata.category(chr(n)) == "Zs"]
    same("the spaces of Unicode", spaces, file["spaces"])
    for name, digest in file["every_code_point"].items():
        same(f"every code point under {name}", cases_canonical.table_digest(schemes[name]), digest)


def sealed(file):
    pinned = [unhex(file["pinned"])]
    keys = {name: (a["key_id"], unhex(a["private"])) for name, a in file["authorities"].items()}
    suites = {name: a["suite"] for name, a in file["authorities"].items()}
    for name, a in file["authorities"].items():
        private, public = sealing.authority_key(unhex(a["authority_secret"]), a["key_id"], a["suite"])
        same(f"key of {name}", (private.hex(), public.hex()), (a["private"], a["public"]))
    deks = {}
    for s in file["segments"]:
        deks[s["name"]] = unhex(s["dek"])
        for name in s["sealed_to"]:
            opened = sealing.open_segment(unhex(s["record"]), *keys[name], pinned, suites[name])
            same(f"segment {s['name']}", opened, (unhex(s["id"]), uuid.UUID(s["sector"]).bytes, unhex(s["dek"])))
    for m in file["mappings"]:
        inputs, output = m["input"], prf(m["input"])
        same("PRF", output.hex(), m["prf"])
        record = unhex(m["record"])
        p = with_uuid_bits(output[:16]) if m["text_form"] == "uuid" else output[:16]
        same("pseudonym", (p.hex(), record[:16]), (m["pseudonym"], p))
        same("nonce", record[16:28], output[16:24] + m["counter"].to_bytes(4, "big"))
        where = uuid.UUID(inputs["path"][-1]), inputs["epoch"], *(inputs[k] for k in ("controller", "purpose", "period"))
        same("location", sealing.location(*where, p).hex(), m["location"])
        opened = sealing.open_mapping(record, deks[m["segment"]], *where)
        same("mapping", opened, (inputs["scheme"], inputs["value"], m["first_seen"]))
    store = {s["version"]: sealing.store_key(unhex(s["store_secret"])) for s in file["store_secrets"]}
    same("store keys", [k.hex() for k in store.values()], [s["k_store"] for s in file["store_secrets"]])
    for c in file["chunks"]:
        key = sealing.row_key(c["sector_number"], c["epoch"], c["sequence"])
        same("row key", key.hex(), c["row_key"])
        segment = next(s for s in file["segments"] if s["name"] == c["segment"])
        segment_id, scope, records = sealing.unwrap_chunk(store, key, unhex(c["row"]))
        same("chunk", (segment_id.hex(), [r.hex() for r in records]), (segment["id"], c["records"]))
        same("plaintext", sealing.chunk_plaintext(segment_id, *scope, records).hex(), c["plaintext"])
    for t in file["audit"]["tags"]:
        k_audit, tag = audit_tag(unhex(file["audit"]["audit_secret"]), uuid.UUID(t["sector"]), unhex(t["pseudonym"]))
        same("audit tag", (k_audit.hex(), tag.hex()), (file["audit"]["k_audit"], t["tag"]))

    fail = file["must_fail"]
    for s in fail["segments"]:
        name = s["opened_with"]
        args = unhex(s["record"]), *keys[name], pinned, suites[name]
        refuses(f"segment: {s['name']}", s["error"], sealing.open_segment, *args)
    for m in fail["mappings"]:
        where = uuid.UUID(m["sector"]), *(m[k] for k in ("epoch", "controller", "purpose", "period"))
        refuses(
            f"mapping: {m['name']}", m["error"], sealing.open_mapping, unhex(m["record"]), deks[m["segment"]], *where
        )
    for c in fail["chunks"]:
        refuses(f"chunk: {c['name']}", c["error"], sealing.unwrap_chunk, store, unhex(c["row_key"]), unhex(c["row"]))


def main():
    default = pathlib.Path(__file__).parent.parent / "vectors"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    published()
    for name, check in (("derivation", derivation), ("text", text), ("canonical", canonical_form), ("sealing", sealed)):
        check(json.loads((folder / f"{name}.json").read_text(encoding="ascii")))
    print(f"{count} values agree")


if __name__ == "__main__":
    main()
