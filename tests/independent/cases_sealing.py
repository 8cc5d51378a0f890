"""Vectors of segments, mappings, chunks and audit tags."""

import uuid

import sealing
from cases_common import PLAIN, fixed, sector
from derivation import audit_tag, lp, prf, with_uuid_bits

OPENED_AT = 1795334400  # 2026-11-22T08:00:00Z
FIRST_SEEN = 20779  # 2026-11-22
SIGNER = fixed("segment signing key")
STRANGER = fixed("a stranger's signing key")


def public_signing(seed):
    return sealing.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def authority(name, key_id, suite=1):
    secret = fixed("authority " + name)
    private, public = sealing.authority_key(secret, key_id, suite)
    return {
        "authority_secret": secret.hex(),
        "key_id": key_id,
        "suite": suite,
        "private": private.hex(),
        "public": public.hex(),
    }


AUTHORITIES = {
    "court": authority("court", "court-2026"),
    "court, another key id": authority("court", "court-2027"),
    "ministry": authority("ministry", "m"),
    "the longest id": authority("ministry", "k" * 64),
    "court, X-Wing": authority("court", "court-2028", 2),
    "court, X-Wing, the same key id": authority("court", "court-2026", 2),
}


def segment(name, sector_name, to):
    """A segment record and what is in it."""
    segment_id, dek = fixed("segment id " + name, 16), fixed("dek " + name)
    recipients = [
        (
            AUTHORITIES[a]["suite"],
            AUTHORITIES[a]["key_id"],
            bytes.fromhex(AUTHORITIES[a]["public"]),
            fixed(f"ephemeral {name} {a}", 32 * AUTHORITIES[a]["suite"]),
        )
        for a in to
    ]
    record = sealing.seal_segment(segment_id, sector(sector_name), OPENED_AT, dek, recipients, SIGNER)
    return {
        "name": name,
        "sealed_to": to,
        "id": segment_id.hex(),
        "sector": str(sector(sector_name)),
        "opened_at": OPENED_AT,
        "dek": dek.hex(),
        "commitment": sealing.segment_commitment(dek).hex(),
        "ephemeral": [ephemeral.hex() for *_, ephemeral in recipients],
        "record": record.hex(),
    }


def mapping(seg, counter, form="bech32m", **change):
    """One mapping: the whole way from the identifier to the record."""
    inputs = PLAIN | {"path": [seg["sector"]]} | change
    output = prf(inputs)
    pseudonym = with_uuid_bits(output[:16]) if form == "uuid" else output[:16]
    nonce = output[16:24] + counter.to_bytes(4, "big")
    scope = {k: inputs[k] for k in ("controller", "purpose", "period")}
    place = sealing.location(uuid.UUID(seg["sector"]), inputs["epoch"], *scope.values(), pseudonym)
    record = sealing.seal_mapping(
        bytes.fromhex(seg["dek"]), place, pseudonym, nonce, inputs["scheme"], inputs["value"], FIRST_SEEN
    )
    return {
        "segment": seg["name"],
        "input": inputs,
        "text_form": form,
        "prf": output.hex(),
        "counter": counter,
        "first_seen": FIRST_SEEN,
        "pseudonym": pseudonym.hex(),
        "location": place.hex(),
        "record": record.hex(),
    }


def sealing_vectors():
    segments = [
        segment("one authority", "health", ["court"]),
        segment("two authorities", "health", ["court", "ministry"]),
        segment("three authorities", "tax", ["ministry", "court, another key id", "the longest id"]),
        segment("X-Wing", "health", ["court, X-Wing"]),
        segment("both suites", "tax", ["court", "court, X-Wing", "ministry"]),
        segment("one key id in both suites", "health", ["court, X-Wing, the same key id", "court"]),
    ]
    one, two, three, *_ = segments
    mappings = [
        mapping(one, 0),
        mapping(one, 1, value="BE0009876"),
        mapping(one, 2, scheme="idcs", value="0123456789"),
        mapping(one, 2**32 - 1, value="Z1"),
        mapping(two, 7, controller="cnss", purpose="billing", period="2026-11", epoch=33),
        mapping(two, 8, controller="cnss", purpose="billing", period="2026-11", epoch=33, value="K7"),
        mapping(three, 0, form="uuid", scheme="s" * 64, value="9" * 64),
        mapping(three, 1, form="uuid"),
    ]
    store_keys = {1: fixed("store 1"), 2: fixed("store 2"), 2**32 - 1: fixed("store last")}
    chunks = [
        chunk(one, mappings[:1], 1, 1, 1, store_keys),
        chunk(one, mappings[:4], 1, 2, 2**32 - 1, store_keys),
        chunk(two, mappings[4:6], 2, 3, 2, store_keys),
        chunk(three, mappings[6:], 2**32 - 1, 4, 2, store_keys),
    ]
    tags = []
    for m in mappings:
        k_audit, tag = audit_tag(fixed("audit"), uuid.UUID(m["input"]["path"][-1]), bytes.fromhex(m["pseudonym"]))
        tags.append({"sector": m["input"]["path"][-1], "pseudonym": m["pseudonym"], "tag": tag.hex()})
    return {
        "about": "Segments, mappings and chunks with fixed randomness; what must not open says which check refuses it.",
        "authorities": AUTHORITIES,
        "segment_signing_key": SIGNER.hex(),
        "pinned": public_signing(SIGNER).hex(),
        "segments": segments,
        "mappings": mappings,
        "store_secrets": [
            {"version": v, "store_secret": s.hex(), "k_store": sealing.store_key(s).hex()} for v, s in store_keys.items()
        ],
        "chunks": chunks,
        "audit": {"audit_secret": fixed("audit").hex(), "k_audit": k_audit.hex(), "tags": tags},
        "must_fail": {
            "segments": segments_that_fail(one),
            "mappings": mappings_that_fail(mappings),
            "chunks": chunks_that_fail(chunks, store_keys),
        },
    }


def chunk(seg, mappings, version, number, sequence, store_keys):
    inputs = mappings[0]["input"]
    scope = [inputs[k] for k in ("controller", "purpose", "period")]
    records = sorted(bytes.fromhex(m["record"]) for m in mappings)
    plaintext = sealing.chunk_plaintext(bytes.fromhex(seg["id"]), *scope, records)
    key = sealing.row_key(number, inputs["epoch"], sequence)
    nonce = fixed(f"chunk nonce {number}", 24)
    row = sealing.wrap_chunk(sealing.store_key(store_keys[version]), version, nonce, key, plaintext)
    return {
        "segment": seg["name"],
        "sector_number": number,
        "epoch": inputs["epoch"],
        "sequence": sequence,
        "row_key": key.hex(),
        "version": version,
        "nonce": nonce.hex(),
        "plaintext": plaintext.hex(),
        "records": [record.hex() for record in records],
        "row": row.hex(),
    }


def flipped(data, at):
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def must_raise(error, function, *args):
    try:
        function(*args)
    except sealing.SealError as refused:
        assert refused.kind == error, (refused.kind, error)
    else:
        raise AssertionError(f"not refused: {error}")


def segments_that_fail(seg):
    """With the court's key and the pinned signer."""
    record, dek, segment_id = (bytes.fromhex(seg[k]) for k in ("record", "dek", "id"))
    court = AUTHORITIES["court"]
    public, ephemeral = bytes.fromhex(court["public"]), bytes.fromhex(seg["ephemeral"][0])
    health, commitment = sector("health"), sealing.segment_commitment(dek)
    aad = segment_id + OPENED_AT.to_bytes(8, "big")
    enc, ct = sealing.hpke_seal(public, sealing.segment_info(health, court["key_id"]), aad, dek, ephemeral)
    good = (1, court["key_id"], enc, ct)

    def made(recipients, signer=SIGNER, where=health, sid=segment_id, at=OPENED_AT, what=commitment, fmt=1):
        return sealing.make_segment(sid, where, at, what, recipients, signer, fmt)

    def resealed(info, extra, plaintext=dek):
        return [(1, court["key_id"], *sealing.hpke_seal(public, info, extra, plaintext, ephemeral))]

    info = sealing.segment_info(health, court["key_id"])
    assert made([good]) == record
    cases = [
        ("nothing", "format", b""),
        ("cut short", "format", record[:-1]),
        ("a byte too many", "format", record + b"\0"),
        ("only its head", "format", record[:73]),
        ("another format", "format", made([good], fmt=2)),
        ("format zero", "format", made([good], fmt=0)),
        ("a recipient more than there is", "format", flipped(record, 73 - 0)[:73] + b"\x02" + record[74:]),
        ("a key id that is not UTF-8", "format", record.replace(b"court-2026", b"\xffourt-2026")),
        ("signed by a stranger", "signature", made([good], signer=STRANGER)),
        ("a signature of zeros", "signature", record[:-64] + bytes(64)),
        ("a changed id", "signature", flipped(record, 1)),
        ("a changed sector", "signature", flipped(record, 17)),
        ("a changed time", "signature", flipped(record, 40)),
        ("a changed commitment", "signature", flipped(record, 41)),
        ("a changed enc", "signature", flipped(record, 74 + 1 + 12 + 2)),
        ("a changed ciphertext", "signature", flipped(record, len(record) - 65)),
        (
            "a signature without its label",
            "signature",
            record[:-64] + sealing.Ed25519PrivateKey.from_private_bytes(SIGNER).sign(record[:-64]),
        ),
        ("nobody to open it", "not-for-this-key", made([])),
        ("another key id", "not-for-this-key", made([(1, "court-2027", enc, ct)])),
        ("another suite", "not-for-this-key", made([(2, court["key_id"], enc, ct)])),
        ("an unknown suite", "not-for-this-key", made([(3, court["key_id"], enc, ct)])),
        ("an id that only begins like ours", "not-for-this-key", made([(1, "court-20261", enc, ct)])),
        ("sealed for another sector", "open", made([good], where=sector("tax"))),
        ("sealed under another id", "open", made([good], sid=fixed("other", 16))),
        ("sealed at another time", "open", made([good], at=OPENED_AT + 1)),
        ("sealed under another key's id", "open", made(resealed(sealing.segment_info(health, "court-2027"), aad))),
        ("sealed without associated data", "open", made(resealed(info, b""))),
        ("an enc of zeros, a point of low order", "open", made([(1, court["key_id"], bytes(32), ct)])),
        ("a short enc", "format", made([(1, court["key_id"], enc[:31], ct)])),
        ("a ciphertext cut short", "open", made([(1, court["key_id"], enc, ct[:-1])])),
        ("another DEK than was committed to", "commitment", made(resealed(info, aad, fixed("another dek")))),
        ("a commitment of zeros", "commitment", made([good], what=bytes(32))),
        ("the DEK itself as its commitment", "commitment", made([good], what=dek)),
    ]
    cases = [("court", *case) for case in cases] + x_wing_segments_that_fail(dek, segment_id, health, good)
    for key, _, error, data in cases:
        own = AUTHORITIES[key]
        private, pinned = bytes.fromhex(own["private"]), [public_signing(SIGNER)]
        must_raise(error, sealing.open_segment, data, own["key_id"], private, pinned, own["suite"])
    return [
        {"name": name, "opened_with": key, "error": error, "record": data.hex()} for key, name, error, data in cases
    ]


def x_wing_segments_that_fail(dek, segment_id, health, x25519):
    """The same, with the court's X-Wing key; `x25519` is a good recipient of the other suite."""
    name = "court, X-Wing"
    key_id, public = AUTHORITIES[name]["key_id"], bytes.fromhex(AUTHORITIES[name]["public"])
    info, aad = sealing.segment_info(health, key_id), segment_id + OPENED_AT.to_bytes(8, "big")
    enc, ct = sealing.hpke_seal(public, info, aad, dek, fixed("ephemeral X-Wing that fails", 64), 2)

    def made(enc, ct=ct, suite=2, dek=dek):
        what = sealing.segment_commitment(dek)
        return sealing.make_segment(segment_id, health, OPENED_AT, what, [x25519, (suite, key_id, enc, ct)], SIGNER)

    return [
        (name, "X-Wing said to be X25519", "not-for-this-key", made(enc, suite=1)),
        (name, "sealed to the other suite's key alone", "not-for-this-key", made(enc, suite=3)),
        (name, "an enc of X25519's length", "format", made(enc[1088:])),
        (name, "an enc without X25519's part", "format", made(enc[:1088])),
        (name, "an enc with a byte too many", "format", made(enc + b"\0")),
        (name, "a changed enc of ML-KEM", "open", made(flipped(enc, 0))),
        (name, "a changed enc of X25519", "open", made(flipped(enc, 1088))),
        (name, "a changed ciphertext of X-Wing", "open", made(enc, flipped(ct, 0))),
        (name, "another DEK than X-Wing's", "commitment", made(enc, dek=fixed("another dek"))),
    ]


def mappings_that_fail(mappings):
    """Each is tried at the place that it names, under its segment's DEK."""
    first, scoped = mappings[0], mappings[4]
    record = bytes.fromhex(first["record"])
    dek = fixed("dek one authority")

    def at(m, **change):
        inputs = m["input"] | change
        place = {k: inputs[k] for k in ("epoch", "controller", "purpose", "period")}
        return {"segment": m["segment"], "sector": inputs["path"][-1]} | place | {"record": m["record"]}

    def with_record(data):
        return at(first) | {"record": data.hex()}

    def resealed(plaintext):
        place = bytes.fromhex(first["location"])
        ciphertext = sealing.ChaCha20Poly1305(dek).encrypt(record[16:28], plaintext, place)
        return with_record(record[:28] + lp(ciphertext))

    whole = lp(b"cnie") + lp(b"AB123456") + FIRST_SEEN.to_bytes(4, "big")
    other = bytes.fromhex(mappings[1]["record"])
    cases = [
        ("another sector", "open", at(first, path=[str(sector("tax"))])),
        ("another epoch", "open", at(first, epoch=4)),
        ("an epoch of the same residue", "open", at(first, epoch=35)),
        ("a controller", "open", at(first, controller="cnss")),
        ("another controller", "open", at(scoped, controller="cnops")),
        ("another purpose", "open", at(scoped, purpose="research")),
        ("another period", "open", at(scoped, period="2026-10")),
        ("the boundary moved", "open", at(scoped, controller="cnssb", purpose="illing")),
        ("controller and purpose exchanged", "open", at(scoped, controller="billing", purpose="cnss")),
        ("another segment", "open", at(first) | {"segment": "two authorities"}),
        ("another pseudonym", "open", with_record(other[:16] + record[16:])),
        ("another's ciphertext", "open", with_record(record[:28] + other[28:])),
        ("another's ciphertext and nonce", "open", with_record(record[:16] + other[16:])),
        ("a changed nonce", "open", with_record(flipped(record, 16))),
        ("a changed counter", "open", with_record(flipped(record, 27))),
        ("a changed ciphertext", "open", with_record(flipped(record, 30))),
        ("a changed tag", "open", with_record(flipped(record, len(record) - 1))),
        ("a ciphertext shorter than a tag", "open", with_record(record[:28] + lp(record[30:45]))),
        ("no ciphertext", "open", with_record(record[:28] + lp(b""))),
        ("cut short", "format", with_record(record[:-1])),
        ("a byte too many", "format", with_record(record + b"\0")),
        ("only a pseudonym", "format", with_record(record[:16])),
        ("nothing", "format", with_record(b"")),
        ("sealed, but something after the day", "format", resealed(whole + b"\0")),
        ("sealed, but cut short", "format", resealed(whole[:-1])),
        ("sealed, but a scheme that is not UTF-8", "format", resealed(lp(b"\xff") + whole[6:])),
        ("sealed, but empty", "format", resealed(b"")),
    ]
    for _, error, case in cases:
        must_raise(
            error,
            sealing.open_mapping,
            bytes.fromhex(case["record"]),
            fixed("dek " + case["segment"]),
            uuid.UUID(case["sector"]),
            *(case[k] for k in ("epoch", "controller", "purpose", "period")),
        )
    return [{"name": name, "error": error} | case for name, error, case in cases]


def chunks_that_fail(chunks, store_keys):
    """With all store secrets there are."""
    keys = {version: sealing.store_key(secret) for version, secret in store_keys.items()}
    good = chunks[1]
    key, row, nonce, plaintext = (bytes.fromhex(good[k]) for k in ("row_key", "row", "nonce", "plaintext"))

    def wrapped(plain):
        return sealing.wrap_chunk(keys[1], 1, nonce, key, plain)

    cases = [
        ("another row of the same epoch", "open", sealing.row_key(2, 3, 7), row),
        ("another epoch", "open", sealing.row_key(2, 4, 2**32 - 1), row),
        ("another sector", "open", sealing.row_key(3, 3, 2**32 - 1), row),
        ("no row key", "open", b"", row),
        ("a changed nonce", "open", key, flipped(row, 5)),
        ("a changed end of the nonce", "open", key, flipped(row, 28)),
        ("a changed ciphertext", "open", key, flipped(row, 29)),
        ("a changed tag", "open", key, flipped(row, len(row) - 1)),
        ("cut short", "open", key, row[:-1]),
        ("a byte too many", "open", key, row + b"\0"),
        ("wrapped under another version", "open", key, row[:1] + (2).to_bytes(4, "big") + row[5:]),
        ("a version that is not here", "key-version", key, row[:1] + (3).to_bytes(4, "big") + row[5:]),
        ("another format", "format", key, b"\x02" + row[1:]),
        ("nothing", "format", key, b""),
        ("only its head", "format", key, row[:29]),
        ("shorter than a tag", "format", key, row[:44]),
        ("wrapped, but of another format", "format", key, wrapped(b"\x02" + plaintext[1:])),
        ("wrapped, but a record less than it counts", "format", key, wrapped(plaintext[:-1])),
        ("wrapped, but empty", "format", key, wrapped(b"")),
    ]
    for _, error, where, data in cases:
        must_raise(error, sealing.unwrap_chunk, keys, where, data)
    return [{"name": name, "error": error, "row_key": k.hex(), "row": data.hex()} for name, error, k, data in cases]
