"""Vectors of the derivation."""

import json
import uuid

from cases_common import HEALTH, PLAIN, RABAT, STUDY, fixed, sector
from derivation import derive


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
        ("a value with punctuation that no separator removed", {"scheme": "dossier", "value": "2026/11-B.7(A)"}),
        ("a value of a scheme that keeps case", {"scheme": "dossier", "value": "aB1234"}),
        ("the same in upper case, another person", {"scheme": "dossier", "value": "AB1234"}),
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
                ("value", "a space, so not canonical", "AB 123456"),
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
