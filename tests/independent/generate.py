"""Writes tests/vectors/*.json: known answers and must-fail forms, all from this implementation and none from the Rust.

    python generate.py [FOLDER]

Everything in them is fixed: "random" bytes are SHAKE-256 of a name, so that the same files come out every time.
"""

import hashlib
import json
import pathlib
import sys
import uuid

import canonical
import sealing
import text_forms
from derivation import audit_tag, derive, lp, prf, with_uuid_bits


def fixed(name, length=32):
    return hashlib.shake_256(b"cloison test vectors: " + name.encode()).digest(length)


def sector(name):
    return uuid.UUID(bytes=fixed("sector " + name, 16), version=4)


HEALTH = [str(sector("health"))]
RABAT = HEALTH + [str(sector("health.chu-rabat"))]
STUDY = RABAT + [str(sector("health.chu-rabat.study-42"))]

PLAIN = {
    "identity_secret": fixed("identity").hex(),
    "sector_secret": fixed("sector 1").hex(),
    "path": HEALTH,
    "epoch": 3,
    "controller": "",
    "purpose": "",
    "period": "",
    "scheme": "cnie",
    "value": "AB123456",
    "tag": "sante",
}


# --- derivation -------------------------------------------------------------------------------------------------------


def derivation():
    cases = [
        ("as in the specification", {}),
        # the tree
        ("another sector beside it", {"path": [str(sector("tax"))], "tag": "fisc"}),
        ("a child", {"path": RABAT, "tag": "chur"}),
        ("a grandchild", {"path": STUDY, "tag": "etude"}),
        ("the same sectors in another order", {"path": STUDY[::-1], "tag": "etude"}),
        ("a tree of eight", {"path": [str(sector(f"level {i}")) for i in range(8)], "tag": "profonde"}),
        ("one sector twice on a path", {"path": HEALTH * 2}),
        ("a UUID of zeros", {"path": [str(uuid.UUID(int=0))]}),
        ("a UUID of ones", {"path": [str(uuid.UUID(int=2**128 - 1))]}),
        # epochs
        *((f"epoch {epoch}", {"epoch": epoch}) for epoch in (0, 1, 2, 31, 32, 33, 63, 64, 255, 256, 65536, 2**32 - 1)),
        # granularity
        ("controller", {"controller": "cnss"}),
        ("purpose", {"purpose": "billing"}),
        ("period, a year", {"period": "2026"}),
        ("period, a month", {"period": "2026-11"}),
        ("controller and purpose", {"controller": "cnss", "purpose": "billing"}),
        ("controller and period", {"controller": "cnss", "period": "2026"}),
        ("purpose and period", {"purpose": "billing", "period": "2026-11"}),
        ("controller, purpose and period", {"controller": "cnss", "purpose": "billing", "period": "2026-11"}),
        # what length prefixes are for
        ("ab | c", {"controller": "ab", "purpose": "c"}),
        ("a | bc", {"controller": "a", "purpose": "bc"}),
        ("abc |", {"controller": "abc"}),
        ("| abc", {"purpose": "abc"}),
        ("scheme ab, value C1", {"scheme": "ab", "value": "C1"}),
        ("scheme a, value BC1", {"scheme": "a", "value": "BC1"}),
        ("a controller that looks like a period", {"controller": "2026-11"}),
        ("a purpose that looks like a period", {"purpose": "2026-11"}),
        # lengths
        ("the shortest of everything", {"scheme": "x", "value": "7", "tag": "ab", "controller": "-", "purpose": "0"}),
        (
            "the longest of everything",
            {
                "scheme": "s" * 64,
                "value": "Z" * 64,
                "tag": "abcdefghijkl",
                "controller": "c" * 64,
                "purpose": "p-" * 32,
                "period": "2026-12",
            },
        ),
        *((f"a value of {n} characters", {"value": "1" * n}) for n in (1, 15, 16, 17, 54, 55, 56, 57, 63, 64)),
        # schemes and values
        ("cnie of one letter", {"value": "K7"}),
        ("cnie, digits kept as printed", {"value": "BE0009876"}),
        ("cnie, the same without its zeros", {"value": "BE9876"}),
        ("idcs", {"scheme": "idcs", "value": "0123456789"}),
        ("passport", {"scheme": "passport", "value": "MARAB1234567"}),
        ("the same value under another scheme", {"scheme": "idcs"}),
        ("a value with punctuation that no separator removed", {"scheme": "dossier", "value": "2026/11-B.7 (A)"}),
        # secrets
        ("secrets of zeros", {"identity_secret": "00" * 32, "sector_secret": "00" * 32}),
        ("secrets of ones", {"identity_secret": "ff" * 32, "sector_secret": "ff" * 32}),
        ("both secrets the same", {"sector_secret": PLAIN["identity_secret"]}),
        ("another identity secret", {"identity_secret": fixed("identity 2").hex()}),
        ("another version of the sector secret", {"sector_secret": fixed("sector 2").hex()}),
    ]
    vectors = [{"name": name, "input": PLAIN | change, "output": derive(PLAIN | change)} for name, change in cases]
    # Pseudonyms in which each of the six bits that a UUID fixes is clear, and set, before it is fixed.
    wanted = {(byte, bit, on) for byte, bits in ((6, range(4, 8)), (8, range(6, 8))) for bit in bits for on in (0, 1)}
    for n in range(1000):
        inputs = PLAIN | {"value": f"U{n}"}
        p = bytes.fromhex(derive(inputs)["pseudonym"])
        found = {(byte, bit, on) for byte, bit, on in wanted if p[byte] >> bit & 1 == on}
        if found:
            wanted -= found
            vectors.append({"name": f"UUID bits, {n}", "input": inputs, "output": derive(inputs)})
    assert not wanted

    def without(member):
        return {k: v for k, v in PLAIN.items() if k != member}

    must_fail = [
        *((f"no {member}", json.dumps(without(member))) for member in ("identity_secret", "sector_secret", "path", "epoch")),
        *((f"no {member}", json.dumps(without(member))) for member in ("scheme", "value", "tag")),
        *(
            (f"{member}: {why}", json.dumps(PLAIN | {member: value}))
            for member, why, value in [
                ("identity_secret", "31 bytes", "00" * 31),
                ("identity_secret", "33 bytes", "00" * 33),
                ("identity_secret", "half a byte", "0" * 63),
                ("identity_secret", "upper case", "AB" * 32),
                ("identity_secret", "no hexadecimal digit", "0g" + "00" * 31),
                ("identity_secret", "a space", " 0" + "00" * 31),
                ("identity_secret", "empty", ""),
                ("identity_secret", "a number", 0),
                ("sector_secret", "31 bytes", "00" * 31),
                ("sector_secret", "upper case", "AB" * 32),
                ("sector_secret", "null", None),
                ("path", "empty: a person handle needs a sector", []),
                ("path", "no UUID", ["health"]),
                ("path", "upper case", [HEALTH[0].upper()]),
                ("path", "without hyphens", [HEALTH[0].replace("-", "")]),
                ("path", "in braces", ["{" + HEALTH[0] + "}"]),
                ("path", "a URN", ["urn:uuid:" + HEALTH[0]]),
                ("path", "no array", HEALTH[0]),
                ("epoch", "negative", -1),
                ("epoch", "more than 32 bits", 2**32),
                ("epoch", "a fraction", 3.5),
                ("epoch", "text", "3"),
                ("controller", "upper case", "CNSS"),
                ("controller", "a display name", "Caisse nationale"),
                ("controller", "65 characters", "c" * 65),
                ("controller", "an accent", "santé"),
                ("purpose", "a dot", "a.b"),
                ("purpose", "null", None),
                ("period", "a day", "2026-11-22"),
                ("period", "no such month", "2026-13"),
                ("period", "month zero", "2026-00"),
                ("period", "one digit", "2026-1"),
                ("period", "two-digit year", "26"),
                ("period", "five digits", "20261"),
                ("period", "a word", "november"),
                ("scheme", "empty", ""),
                ("scheme", "upper case", "CNIE"),
                ("scheme", "65 characters", "s" * 65),
                ("value", "empty", ""),
                ("value", "lower case, so not canonical", "ab123456"),
                ("value", "not ASCII, so not canonical", "ＡＢ123456"),
                ("value", "a control character", "AB\n123456"),
                ("value", "65 characters", "1" * 65),
                ("tag", "one letter", "s"),
                ("tag", "13 letters", "s" * 13),
                ("tag", "upper case", "Sante"),
                ("tag", "a digit", "sante1"),
                ("tag", "empty", ""),
            ]
        ),
        ("an unknown member", json.dumps(PLAIN | {"salt": "00"})),
        ("a member twice", json.dumps(PLAIN)[:-1] + ', "epoch": 3}'),
        ("no JSON", "cnie:AB123456"),
        ("cut short", json.dumps(PLAIN)[:-1]),
        ("something after it", json.dumps(PLAIN) + "]"),
        ("an array", json.dumps([PLAIN])),
        ("nothing", ""),
        ("a good one, then a bad one", json.dumps(PLAIN) + "\n" + json.dumps(PLAIN | {"tag": ""})),
    ]
    return {
        "about": "input and output are those of `cloison spec derive`; a text of must_fail, as standard input, is refused.",
        "vectors": vectors,
        "must_fail": [{"name": name, "text": text} for name, text in must_fail],
    }


# --- text forms -------------------------------------------------------------------------------------------------------


def text():
    vectors = []
    pseudonyms = [bytes(16), b"\xff" * 16, bytes(range(16)), bytes(range(255, 239, -1)), b"\x55" * 16, b"\xaa" * 16]
    pseudonyms += [(1 << bit).to_bytes(16, "big") for bit in (0, 1, 2, 3, 7, 8, 63, 64, 120, 126, 127)]
    pseudonyms += [fixed(f"pseudonym {i}", 16) for i in range(8)]
    for i, p in enumerate(pseudonyms):
        tag = ["sante", "fisc", "ab", "abcdefghijkl", "zz", "banque"][i % 6]
        epoch = [3, 1, 0, 31, 32, 33, 1000, 2**32 - 1][i % 8]
        vectors.append(known_text(tag, epoch, p))
    vectors += [known_text("sante", epoch, pseudonyms[2]) for epoch in range(34)]

    good = {form: text_forms.write(form, "sante", 3, with_uuid_bits(pseudonyms[2])) for form in ("bech32m", "uuid", "hex")}
    cases = [(form, "sante", text, why) for form in good for why, text in malformed(form, good)]
    cases += [("bech32m", other, good["bech32m"], f"sound, but of {other}") for other in ("fisc", "santes", "sant")]
    # One wrong character in each place: a typing error. In the tag, too.
    bech32m = good["bech32m"]
    for at, c in enumerate(bech32m):
        if c != "1":
            alphabet = "abcdefghijklmnopqrstuvwxyz" if at < 5 else text_forms.CHARSET
            wrong = alphabet[(alphabet.index(c) + 1 + at % 5) % len(alphabet)]
            cases.append(("bech32m", "sante", bech32m[:at] + wrong + bech32m[at + 1 :], f"character {at} is another"))
    for at in (6, 10, 20, 31, 37):
        a, b = bech32m[at : at + 2]
        assert a != b
        cases.append(("bech32m", "sante", bech32m[:at] + b + a + bech32m[at + 2 :], f"characters {at} and {at + 1} swapped"))
    must_fail = []
    for form, tag, text, why in cases:
        try:
            text_forms.parse(form, tag, text)
        except text_forms.Refused as refused:
            must_fail.append({"form": form, "tag": tag, "text": text, "code": refused.code, "why": why})
        else:
            raise AssertionError(f"{form} {text!r} ({why}) is not refused")
    return {
        "about": "Each pseudonym in the three forms (uuid: after its six bits were fixed), and texts that are none.",
        "vectors": vectors,
        "must_fail": must_fail,
    }


def known_text(tag, epoch, p):
    return {
        "tag": tag,
        "epoch": epoch,
        "pseudonym": p.hex(),
        "bech32m": text_forms.write("bech32m", tag, epoch, p),
        "hex": text_forms.write("hex", tag, epoch, p),
        "uuid_pseudonym": with_uuid_bits(p).hex(),
        "uuid": text_forms.write("uuid", tag, epoch, with_uuid_bits(p)),
    }


def malformed(form, good):
    text = good[form]
    yield "empty", ""
    yield "upper case", text.upper()
    yield "mixed case", text[:-1].lower() + text[-1].upper() if text[-1].isalpha() else text.title()
    yield "a space before", " " + text
    yield "a space after", text + " "
    yield "a line feed after", text + "\n"
    yield "a NUL after", text + "\0"
    yield "quoted", f'"{text}"'
    yield "one character less", text[:-1]
    yield "one character more", text + text[-1]
    yield "without its first character", text[1:]
    yield "full-width digits", text.translate({ord(str(d)): 0xFF10 + d for d in range(10)})
    yield "a character that is not ASCII", text[:-1] + "é"
    for other in {"bech32m", "uuid", "hex"} - {form}:
        yield f"the {other} form", good[other]
    if form == "hex":
        yield "0x before", "0x" + text[2:]
        yield "no hexadecimal digit", "g" + text[1:]
        yield "in groups", " ".join(text[i : i + 4] for i in range(0, 32, 4))
    if form == "uuid":
        yield "in braces", "{" + text + "}"
        yield "a URN", "urn:uuid:" + text
        yield "without hyphens", text.replace("-", "")
        yield "hyphens elsewhere", text[:7] + "-" + text[7] + text[9:]
        yield "spaces for hyphens", text.replace("-", " ")
        yield "underscores for hyphens", text.replace("-", "_")
        yield "no hexadecimal digit", "g" + text[1:]
        for version in "012345679abcdef":
            yield f"version {version}", text[:14] + version + text[15:]
        for variant in "01234567cdef":
            yield f"variant digit {variant}", text[:19] + variant + text[20:]
    if form == "bech32m":
        values = text_forms.data_values(3, bytes.fromhex(good["hex"]))
        yield "no separator", text.replace("1", "")
        yield "another separator", text.replace("1", "2")
        yield "no tag", text[5:]
        yield "two separators", text.replace("1", "11")
        yield "a tag with a digit", text_forms.with_checksum("sant3", values)
        yield "a tag with a hyphen", text_forms.with_checksum("san-e", values)
        yield "a tag with a 1", text_forms.with_checksum("san1e", values)
        yield "a tag of one letter", text_forms.with_checksum("s", values)
        yield "a tag of 13 letters", text_forms.with_checksum("abcdefghijklm", values)
        for c in "1bio":
            yield f"the character {c}, which is none of bech32's", text[:20] + c + text[21:]
        for padding in (1, 2, 3):
            yield f"padding {padding:02b} under a sound checksum", text_forms.with_checksum(
                "sante", values[:-1] + [values[-1] | padding]
            )
        yield "15 bytes under a sound checksum", text_forms.with_checksum("sante", values[:25])
        yield "one value less under a sound checksum", text_forms.with_checksum("sante", values[:26])
        yield "one value more under a sound checksum", text_forms.with_checksum("sante", values + [0])
        yield "no epoch, under a sound checksum", text_forms.with_checksum("sante", values[1:])
        yield "no data under a sound checksum", text_forms.with_checksum("sante", [])
        yield "the checksum of bech32 (BIP 173)", text_forms.with_checksum("sante", values, text_forms.BECH32)
        yield "the remainder itself as checksum", text_forms.with_checksum("sante", values, 0)
        yield "the checksum of another tag", text_forms.with_checksum("fisc", values).replace("fisc", "sante")


# --- canonical form ---------------------------------------------------------------------------------------------------

SCHEMES = {
    "cnie": {"pattern": "[A-Z]{1,2}[0-9]{1,7}", "separators": " -.", "check": "none"},
    "idcs": {"pattern": "[0-9]{10}", "separators": " ", "check": "none"},
    "passport": {"pattern": "[A-Z]{3}[A-Z0-9]{5,12}", "separators": " -", "check": "none"},
    "either": {"pattern": "A|AB|ABC", "separators": "", "check": "none"},
    "long": {"pattern": "[A-Z0-9]+", "separators": "-", "check": "none"},
    "luhn": {"pattern": "[0-9]{2,20}", "separators": "-", "check": "luhn"},
    "verhoeff": {"pattern": "[0-9]{2,20}", "separators": "-", "check": "verhoeff"},
    "damm": {"pattern": "[0-9]{2,20}", "separators": "-", "check": "damm"},
    "iso7064": {"pattern": "[0-9]{2,20}", "separators": "-", "check": "iso7064-11-10"},
}


def canonical_form():
    vectors, must_fail = [], []

    def case(scheme, raw, why):
        entry = {"scheme": scheme, "raw": raw, "why": why}
        try:
            vectors.append(entry | {"value": canonical.canonical(SCHEMES[scheme], raw)})
        except canonical.Refused as refused:
            must_fail.append(entry | {"code": refused.code})

    for raw, why in [
        ("AB123456", "as it is"),
        ("ab123456", "lower case"),
        (" ab-12.34 56 ", "separators"),
        ("ＡＢ１２３４５６", "full-width forms"),
        ("ａｂ１２３４５６", "full-width, lower case"),
        ("AB\u00a0123456", "a no-break space is a space under NFKC"),
        ("AB①23456", "a circled digit is a digit under NFKC"),
        ("\u212a7", "the Kelvin sign is a K under NFKC"),
        ("be0009876", "digits kept as printed"),
        ("", "empty"),
        (" - . ", "nothing but separators"),
        ("AB", "no digit"),
        ("123456", "no letter"),
        ("ABC123456", "a letter too many"),
        ("AB12345678", "a digit too many"),
        ("AB_123456", "punctuation that is no separator"),
        ("ÀB123456", "an accent"),
        ("A\u0300B123456", "the same accent, decomposed"),
        ("АВ123456", "Cyrillic letters"),
        ("AB١٢٣٤٥٦", "Arabic-Indic digits have no compatibility mapping"),
        ("AB12\u200f3456", "a direction mark"),
        ("AB12\u200b3456", "a zero-width space"),
        ("ß123456", "a sharp s: only ASCII letters change their case"),
        ("ı123456", "a dotless i"),
        ("ſ123456", "a long s is an s under NFKC"),
        ("AB123456\n", "a line feed"),
        ("AB123\t456", "a tab"),
        ("\0", "a NUL, before all else"),
        ("é\u007f", "DEL"),
        ("AB12\u00853456", "a C1 control character"),
        ("\u009b", "another"),
        ("A" * 128 + "1", "129 bytes"),
        ("é" * 65, "130 bytes in 65 characters"),
        ("\0" * 129, "too long before anything else"),
    ]:
        case("cnie", raw, why)
    for scheme, raw, why in [
        ("idcs", "0123 456 789", "ten digits"),
        ("idcs", "012345678", "nine digits"),
        ("idcs", "01234567890", "eleven digits"),
        ("idcs", "0123-456-789", "a separator that is not declared"),
        ("passport", "mar ab1234567", "State, then number"),
        ("passport", "MA1234567", "alpha-2"),
        ("either", "abc", "the whole value must match, whatever the order of alternatives"),
        ("either", "ab", "the second alternative"),
        ("either", "abcd", "more than any alternative"),
        ("long", "a" * 64, "64 characters"),
        ("long", "a" * 65, "65 characters"),
        ("long", "a-" * 64, "128 bytes, 64 of them separators"),
        ("long", "\u3392" * 32, "one character becomes three"),
        ("long", "Ⅷ" * 16, "one character becomes four: 64"),
        ("long", "Ⅷ" * 17, "one character becomes four: 68"),
        ("luhn", "7992-739-8713", "right"),
        ("luhn", "79927398710", "wrong"),
        ("luhn", "5", "pattern before check digit"),
        ("verhoeff", "2363", "right"),
        ("verhoeff", "2361", "wrong"),
        ("verhoeff", "142857000000001", "fifteen digits"),
        ("damm", "5724", "right"),
        ("damm", "5727", "wrong"),
        ("iso7064", "07945", "right"),
        ("iso7064", "07940", "wrong"),
        ("iso7064", "00200667308", "eleven digits"),
    ]:
        case(scheme, raw, why)
    # Exactly one last digit is right.
    for scheme in ("luhn", "verhoeff", "damm", "iso7064"):
        for stem in ("0", "9", "1234567890", "9876543210123456789"):
            for digit in "0123456789":
                case(scheme, stem + digit, f"{stem} and a check digit")
    return {
        "about": "What is presented, and its canonical value or the code with which it is refused.",
        "schemes": SCHEMES,
        "vectors": vectors,
        "must_fail": must_fail,
    }


# --- sealing ----------------------------------------------------------------------------------------------------------

OPENED_AT = 1795334400  # 2026-11-22T08:00:00Z
FIRST_SEEN = 20779  # 2026-11-22
SIGNER = fixed("segment signing key")
STRANGER = fixed("a stranger's signing key")


def public_signing(seed):
    return sealing.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def authority(name, key_id):
    secret = fixed("authority " + name)
    private, public = sealing.authority_key(secret, key_id)
    return {"authority_secret": secret.hex(), "key_id": key_id, "private": private.hex(), "public": public.hex()}


AUTHORITIES = {
    "court": authority("court", "court-2026"),
    "court, another key id": authority("court", "court-2027"),
    "ministry": authority("ministry", "m"),
    "the longest id": authority("ministry", "k" * 64),
}


def segment(name, sector_name, to):
    """A segment record and what is in it."""
    segment_id, dek = fixed("segment id " + name, 16), fixed("dek " + name)
    recipients = [
        (AUTHORITIES[a]["key_id"], bytes.fromhex(AUTHORITIES[a]["public"]), fixed(f"ephemeral {name} {a}")) for a in to
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
        "ephemeral": [ephemeral.hex() for _, _, ephemeral in recipients],
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
    ]
    one, two, three = segments
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
        ("an unknown suite", "not-for-this-key", made([(2, court["key_id"], enc, ct)])),
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
    for _, error, data in cases:
        must_raise(
            error, sealing.open_segment, data, court["key_id"], bytes.fromhex(court["private"]), [public_signing(SIGNER)]
        )
    return [{"name": name, "error": error, "record": data.hex()} for name, error, data in cases]


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


# --- files ------------------------------------------------------------------------------------------------------------


def files():
    return {
        "derivation.json": derivation(),
        "text.json": text(),
        "canonical.json": canonical_form(),
        "sealing.json": sealing_vectors(),
    }


def main():
    default = pathlib.Path(__file__).parent.parent / "vectors"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    for name, content in files().items():
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
