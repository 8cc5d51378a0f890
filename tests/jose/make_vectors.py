"""Writes tests/vectors/order-{must-pass,must-fail}.json, orders that every implementation must take or refuse, and the
register under which it must, order-register.toml.

    python make_vectors.py [--check] FOLDER

Everything is made here from fixed seeds with nothing of cloison's (Ed25519 of `cryptography`, bech32m written out below),
so that the files are a second opinion and not an echo. With --check nothing is written; the exit code says whether the
files are what this script makes.
"""

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

TYP = "cloison-order+json"
NOW = "2026-11-22T12:00:00Z"


# --- keys and the register --------------------------------------------------------------------------------------------


def key(name):
    """The private key of a person; the seed is a digest of the name, so these keys are nobody's."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"cloison order vectors: " + name.encode()).digest())


def public(name):
    return key(name).public_key().public_bytes_raw()


REGISTER = """\
# The register that the orders beside this file are checked against. Made by tests/jose/make_vectors.py; its keys are nobody's.
deployment = "vectors"
version = 1

[[scheme]]
id = "cnie"
pattern = "[A-Z]{1,2}[0-9]{1,7}"
"""

AUTHORITY = """
[[authority]]
id = "{id}"
name = "{id}"
node = "{node}"
quorum = 2
{more}
key = [{{ id = "{id}-2026", suite = 1, public = "{public}" }}]
"""

APPROVER = """
[[authority.approver]]
id = "{id}"
name = "{id}"
body = "{body}"
key = "{key}"
"""

OFFICER = """
[[authority.officer]]
id = "{id}"
name = "{id}"
key = "{key}"
certificate = "{certificate}"
"""

SECTOR = """
[[sector]]
uuid = "{uuid}"
name = "{name}"
tag = "{tag}"
text-form = "{form}"
schemes = ["cnie"]
{more}

[sector.declaration]
controller = "Nobody, Rabat"
purpose = "Vectors"
persons = "Nobody"
data = "None"
received = 2026-01-05
decided = 2026-03-02
decision = "explicit"
"""


def register():
    def digest(label):
        return hashlib.sha256(b"cloison order vectors: certificate of " + label.encode()).hexdigest()

    def authority(id, more, approvers, officers):
        scalar = hashlib.sha256(b"cloison order vectors: scalar of " + id.encode()).digest()
        point = X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw().hex()
        yield AUTHORITY.format(id=id, node=digest(id), more=more, public=point)
        for name, body in approvers:
            yield APPROVER.format(id=name, body=body, key=public(name).hex())
        for name in officers:
            yield OFFICER.format(id=name, key=public(name).hex(), certificate=digest(name))

    def sector(name, tag, form, *authorities, parent=None):
        more = f'reversible = true\nretention-years = 5\nauthorities = {compact(authorities)}'
        if not authorities:
            more = "reversible = false"
        if parent:
            more = f'parent = "{parent}"\n{more}'
        uuid = UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4)
        return SECTOR.format(uuid=uuid, name=name, tag=tag, form=form, more=more)

    court = [("amina", "court-of-appeal"), ("brahim", "court-of-appeal"), ("chadia", "prosecution")]
    treasury = [("fatima", "tax-office"), ("ghali", "treasury")]
    limits = "force-majeure-quorum = 3\ncontinuity-quorum = 3\nstatutory-limit = 100\nmax-hours = 240"
    return "".join((
        REGISTER,
        *authority("court", limits, court, ["driss", "elham"]),
        *authority("tax-inspection", "max-hours = 48", treasury, ["hind"]),
        sector("health", "sante", "bech32m", "court"),
        sector("health.chu", "chu", "hex", "court", parent="health"),
        sector("tax", "impot", "uuid", "court", "tax-inspection"),
        sector("bank", "banque", "bech32m", "tax-inspection"),
        sector("study", "etude", "bech32m"),
    ))


# --- pseudonyms (BIP 350) ---------------------------------------------------------------------------------------------

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def polymod(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> i & 1 else 0
    return check


def bech32m(tag, epoch, pseudonym):
    bits = int.from_bytes(pseudonym, "big") << 2
    data = [epoch % 32] + [bits >> 5 * i & 31 for i in range(25, -1, -1)]
    expanded = [ord(c) >> 5 for c in tag] + [0] + [ord(c) & 31 for c in tag]
    check = polymod(expanded + data + [0] * 6) ^ 0x2BC830A3
    return tag + "1" + "".join(ALPHABET[v] for v in data + [check >> 5 * (5 - i) & 31 for i in range(6)])


def raw(n):
    return hashlib.sha256(b"pseudonym %d" % n).digest()[:16]


HEALTH = [bech32m("sante", 3, raw(n)) for n in (1, 2)]
TAX = ["0f9c2f5e-5d3a-8b21-9c4d-1f2e3d4c5b6a"]


# --- orders -----------------------------------------------------------------------------------------------------------


def payload(drop=(), **changes):
    members = {
        "aud": "vectors",
        "id": "7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d",
        "authority": "court",
        "basis": {"kind": "judicial"},
        "case": "RABAT/2026-17.A",
        "purpose": "investigation",
        "sectors": ["health"],
        "pseudonyms": {"health": HEALTH},
        "not_before": "2026-11-22T09:00:00Z",
        "not_after": "2026-11-25T09:00:00Z",
        "officers": ["driss"],
    }
    members.update(changes)
    return {name: value for name, value in members.items() if name not in drop}


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def b64(data):
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def header(kid, /, **changes):
    members = {"alg": "EdDSA", "kid": kid, "typ": TYP, **changes}
    return compact({name: value for name, value in members.items() if value is not None})


def entry(body, kid, protected=None, signer=None, sign=None):
    """One signature over the payload text `body`, by `signer` in the name of `kid`."""
    protected = b64(header(kid) if protected is None else protected)
    sign = sign or key(signer or kid).sign
    return {"protected": protected, "signature": b64(sign(f"{protected}.{body}".encode()))}


def order(claims=None, signers=("amina", "chadia"), text=None):
    body = b64(compact(payload() if claims is None else claims) if text is None else text)
    return {"payload": body, "signatures": [entry(body, kid) for kid in signers]}


def flip(text, at):
    """Another base64url character in place of one."""
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


FORCE = {"kind": "force-majeure", "security": "internal"}
CONTINUITY = {"kind": "continuity", "from": 1, "to": 2}
LAW = {"kind": "statutory", "article": "Loi n° 43-05, art. 19"}
ALL = ("amina", "brahim", "chadia")


def must_pass():
    yield "two of three, from two bodies", order()
    yield "all three", order(signers=ALL)
    yield "two sectors", order(payload(sectors=["health", "tax"], pseudonyms={"tax": TAX, "health": HEALTH}))
    yield "statutory, with a list", order(payload(basis=LAW))
    yield "statutory, with the highest limit", order(payload(basis=LAW, limit=100, drop=("pseudonyms",)))
    yield "force majeure, three signatures, 72 hours", order(payload(basis=FORCE), signers=ALL)
    yield "continuity, three signatures", order(
        payload(basis=CONTINUITY, limit=2_000_000, drop=("pseudonyms",)), signers=ALL
    )
    yield "the longest validity", order(payload(not_after="2026-12-02T09:00:00Z"))
    yield "from this very second on", order(payload(not_before=NOW))
    inspection = {"authority": "tax-inspection", "officers": ["hind"], "not_after": "2026-11-24T09:00:00Z"}
    yield "another authority", order(
        payload(**inspection, sectors=["tax"], pseudonyms={"tax": TAX}), signers=("ghali", "fatima")
    )
    made = order(signers=())
    made["signatures"] = [entry(made["payload"], kid, header(kid, alg="Ed25519")) for kid in ("amina", "chadia")]
    yield "alg Ed25519 (RFC 9864)", made
    made = order(signers=("amina",))
    made["signatures"].append(entry(made["payload"], "chadia", f'{{ "typ":"{TYP}",\n"kid":"chadia", "alg":"EdDSA" }}'))
    yield "a header in another order and with white space", made
    yield "a payload with white space", order(text=json.dumps(payload(), indent=2))
    yield "the text with white space", json.dumps(order(), indent=4) + "\n"
    yield "members escaped, in another order", compact(order()).replace('"payload"', '"\\u0070ayload"')


def shapes():
    good = order()
    body, (first, second) = good["payload"], good["signatures"]
    yield "empty", ""
    yield "not JSON", "cloison"
    yield "an array", compact([body, [first, second]])
    yield "two texts", compact(good) + compact(good)
    yield "cut short", compact(good)[:-1]
    yield "compact serialisation", f'{first["protected"]}.{body}.{first["signature"]}'
    yield "flattened serialisation", {"payload": body, **first}
    yield "flattened and general", {**good, **first}
    yield "no payload", {"signatures": good["signatures"]}
    yield "no signatures", {"payload": body}
    yield "signatures no array", {"payload": body, "signatures": first}
    yield "a signature that is an array", {"payload": body, "signatures": [list(first.values()), second]}
    yield "signatures null", {"payload": body, "signatures": None}
    yield "an unknown member", {**good, "comment": "urgent"}
    yield "an unknown member in a signature", {"payload": body, "signatures": [{**first, "comment": "urgent"}, second]}
    yield "an unprotected header, empty", {"payload": body, "signatures": [{**first, "header": {}}, second]}
    yield "an unprotected header", {"payload": body, "signatures": [{**first, "header": {"kid": "amina"}}, second]}
    yield "an unprotected header for all", {**good, "header": {"alg": "EdDSA"}}
    yield "the payload twice", compact(good).replace('{"payload"', f'{{"payload":"{b64("{}")}","payload"', 1)
    yield "a signature member twice", compact(good).replace('"signature":', '"signature":"AAAA","signature":', 1)
    yield "a member twice, once escaped", compact(good).replace('{"payload"', '{"\\u0070ayload":"e30","payload"', 1)
    yield "a signer twice", {"payload": body, "signatures": [first, first]}
    yield "a signer twice, and another", {"payload": body, "signatures": [first, second, first]}
    yield "a signer twice, with two headers", {
        "payload": body,
        "signatures": [first, entry(body, "amina", header("amina", alg="Ed25519")), second],
    }
    yield "33 signatures", {"payload": body, "signatures": [entry(body, f"amina-{n}") for n in range(33)]}
    yield "payload padded", {"payload": body + "=" * (-len(body) % 4 or 4), "signatures": good["signatures"]}
    yield "payload in the wrong alphabet", {"payload": body[:8] + "+" + body[9:], "signatures": good["signatures"]}
    yield "payload with a line break", {"payload": body[:8] + "\n" + body[8:], "signatures": good["signatures"]}
    spare = order(text=compact(payload(case="A")) + " " * (2 - len(compact(payload(case="A"))) % 3))
    assert len(spare["payload"]) % 4 == 3
    last = ALPHABET64[ALPHABET64.index(spare["payload"][-1]) | 1]
    yield "payload with spare bits", {"payload": spare["payload"][:-1] + last, "signatures": spare["signatures"]}
    spare = first["signature"]
    spare = spare[:-1] + ALPHABET64[ALPHABET64.index(spare[-1]) | 1]
    yield "a signature with spare bits", {"payload": body, "signatures": [{**first, "signature": spare}, second]}
    for name, cut in (("63 bytes", lambda s: s[:-1]), ("65 bytes", lambda s: s + b"\0"), ("no byte", lambda _: b"")):
        made = entry(body, "amina", sign=lambda data, cut=cut: cut(key("amina").sign(data)))
        yield f"a signature of {name}", {"payload": body, "signatures": [made, second]}


ALPHABET64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def headers():
    good = order()
    body, second = good["payload"], good["signatures"][1]

    def hmac_with_public_key(data):
        return hmac.digest(public("amina"), data, "sha256")

    for name, protected, sign in (
        ("alg none", header("amina", alg="none"), lambda _: b""),
        ("alg none, signed all the same", header("amina", alg="none"), None),
        ("alg HS256 with the public key", header("amina", alg="HS256"), hmac_with_public_key),
        ("alg ES256", header("amina", alg="ES256"), None),
        ("alg Ed448", header("amina", alg="Ed448"), None),
        ("alg in lower case", header("amina", alg="eddsa"), None),
        ("alg an array", header("amina", alg=["EdDSA"]), None),
        ("no alg", header("amina", alg=None), None),
        ("no kid", header("amina", kid=None), None),
        ("kid a number", header("amina", kid=1), None),
        ("kid in upper case", header("amina", kid="Amina"), None),
        ("kid with a space", header("amina", kid="amina "), None),
        ("no typ", header("amina", typ=None), None),
        ("typ JWT", header("amina", typ="JWT"), None),
        ("typ of a request", header("amina", typ="cloison-request+json"), None),
        ("typ with its prefix", header("amina", typ="application/" + TYP), None),
        ("typ in upper case", header("amina", typ=TYP.upper()), None),
        ("crit, empty", header("amina", crit=[]), None),
        ("crit exp", header("amina", crit=["exp"], exp=1), None),
        ("b64 false", header("amina", b64=False, crit=["b64"]), None),
        ("b64 true", header("amina", b64=True), None),
        ("jwk", header("amina", jwk={"kty": "OKP", "crv": "Ed25519", "x": b64(public("amina"))}), None),
        ("jku", header("amina", jku="file:///amina"), None),
        ("x5c", header("amina", x5c=[]), None),
        ("cty", header("amina", cty="json"), None),
        ("alg twice", header("amina").replace('{"alg"', '{"alg":"none","alg"'), None),
        ("kid twice", header("amina").replace('"kid"', '"kid":"brahim","kid"'), None),
        ("an array", compact(["EdDSA", "amina", TYP]), None),
        ("not JSON", "EdDSA", None),
        ("empty", "", None),
        ("too long", header("amina") + " " * 500, None),
    ):
        made = entry(body, "amina", protected, sign=sign)
        yield f"header: {name}", {"payload": body, "signatures": [made, second]}
    made = entry(body, "amina")
    made["protected"] += "=" * (-len(made["protected"]) % 4 or 4)
    yield "header: padded", {"payload": body, "signatures": [made, second]}


def payloads():
    """Payloads that are not well formed, under signatures that verify."""
    good = compact(payload())

    def replaced(what, by):
        assert what in good, what
        return good.replace(what, by, 1)

    for name in payload():
        yield f"no {name}", compact(payload(drop=(name,)))
        yield f"{name} null", compact(payload(**{name: None}))
        yield f"{name} twice", good[:-1] + f',"{name}":{compact(payload()[name])}}}'
    yield "no JSON", "order"
    yield "an array", compact(list(payload().values()))
    yield "a byte order mark", "\ufeff" + good
    yield "not UTF-8", good.encode().replace(b"RABAT", b"RAB\xff")
    yield "two objects", good + good
    yield "too deep", replaced('{"kind":"judicial"}', '{"a":' * 200 + "1" + "}" * 200)
    yield "an unknown member", compact(payload(priority=1))
    yield "a member twice, once escaped", good[:-1] + ',"c\\u0061se":"B"}'
    yield "kind twice", replaced('"kind":"judicial"', '"kind":"statutory","kind":"judicial"')
    yield "a sector's list twice", replaced('"pseudonyms":{', f'"pseudonyms":{{"health":["{HEALTH[0]}"],')
    yield "aud an array", compact(payload(aud=["vectors"]))
    yield "aud in upper case", compact(payload(aud="Vectors"))
    yield "id of version 1", compact(payload(id="7f4df9b1-77f5-1fb6-9a4e-0f2a8a5b6c3d"))
    yield "id in upper case", compact(payload(id="7F4DF9B1-77F5-4FB6-9A4E-0F2A8A5B6C3D"))
    yield "id without hyphens", compact(payload(id="7f4df9b177f54fb69a4e0f2a8a5b6c3d"))
    yield "id in braces", compact(payload(id="{7f4df9b1-77f5-4fb6-9a4e-0f2a8a5b6c3d}"))
    for case in ("", "rabat", "RABAT 1", "A" * 41, "الرباط", "RABAT_1", "RABAT\n"):
        yield f"case: {case!r}", compact(payload(case=case))
    for name, basis in (
        ("unknown", {"kind": "royal"}),
        ("continuity without its epochs", {"kind": "continuity"}),
        ("continuity with a list", {"kind": "continuity", "from": 1, "to": 2}),
        ("a string", "judicial"),
        ("an array", ["judicial"]),
        ("an unknown member", {"kind": "judicial", "urgent": 1}),
        ("judicial with an article", {"kind": "judicial", "article": "19"}),
        ("statutory without its article", {"kind": "statutory"}),
        ("statutory with an empty article", {"kind": "statutory", "article": ""}),
        ("an article with a direction mark", {"kind": "statutory", "article": "art. \u202e19"}),
        ("an article of 121 characters", {"kind": "statutory", "article": "a" * 121}),
        ("force majeure without security", {"kind": "force-majeure"}),
        ("force majeure, security both", {"kind": "force-majeure", "security": "both"}),
    ):
        yield f"basis: {name}", compact(payload(basis=basis))
    yield "no sector", compact(payload(sectors=[], pseudonyms={}))
    yield "a sector twice", compact(payload(sectors=["health", "health"]))
    yield "sectors a string", compact(payload(sectors="health"))
    yield "a sector without its list", compact(payload(sectors=["health", "tax"]))
    yield "a list without its sector", compact(payload(pseudonyms={"health": HEALTH, "tax": TAX}))
    yield "the list of another sector", compact(payload(pseudonyms={"tax": TAX}))
    yield "an empty list", compact(payload(pseudonyms={"health": []}))
    yield "a pseudonym twice", compact(payload(pseudonyms={"health": [HEALTH[0], HEALTH[0]]}))
    yield "pseudonyms an array", compact(payload(pseudonyms=HEALTH))
    yield "a list and a limit", compact(payload(basis=LAW, limit=1))
    for name, epochs in (
        ("from 0", {"from": 0, "to": 1}),
        ("from an epoch to itself", {"from": 2, "to": 2}),
        ("back", {"from": 3, "to": 2}),
        ("to no epoch", {"from": 1, "to": 2**32}),
        ("from a text", {"from": "1", "to": 2}),
        ("an article", {"from": 1, "to": 2, "article": "19"}),
    ):
        yield f"continuity: {name}", compact(payload(basis={"kind": "continuity", **epochs}, limit=1, drop=("pseudonyms",)))
    yield "continuity: two sectors", compact(
        payload(basis=CONTINUITY, sectors=["health", "tax"], limit=1, drop=("pseudonyms",))
    )
    yield "neither list nor limit", compact(payload(basis=LAW, drop=("pseudonyms",)))
    for limit in (0, -1, 1.5, 1.0, "1", True, 2**64, [1]):
        yield f"limit: {limit!r}", compact(payload(basis=LAW, limit=limit, drop=("pseudonyms",)))
    for name, time in (
        ("with an offset", "2026-11-22T10:00:00+01:00"),
        ("+00:00", "2026-11-22T09:00:00+00:00"),
        ("with a fraction", "2026-11-22T09:00:00.5Z"),
        ("with a zero fraction", "2026-11-22T09:00:00.0Z"),
        ("in lower case", "2026-11-22t09:00:00z"),
        ("with a space", "2026-11-22 09:00:00Z"),
        ("a day", "2026-11-22"),
        ("no such day", "2026-11-31T09:00:00Z"),
        ("a leap second", "2016-12-31T23:59:60Z"),
        ("with a zone", "2026-11-22T09:00:00Z[UTC]"),
        ("seconds", 1795338000),
    ):
        yield f"not_before: {name}", compact(payload(not_before=time))
    yield "no time at all", compact(payload(not_after="2026-11-22T09:00:00Z"))
    yield "the end before the beginning", compact(payload(not_after="2026-11-21T09:00:00Z"))
    yield "no officer", compact(payload(officers=[]))
    yield "an officer twice", compact(payload(officers=["driss", "driss"]))
    yield "an officer in upper case", compact(payload(officers=["Driss"]))


def signatures():
    good = order()
    body, (first, second) = good["payload"], good["signatures"]

    def both(one, two=second):
        return {"payload": body, "signatures": [one, two]}

    yield "forged with another key", both(entry(body, "amina", signer="mallory"))
    yield "one approver signs for two", both(entry(body, "brahim", signer="chadia"))
    yield "an unknown signer", both(first, entry(body, "mallory"))
    yield "an officer signs", both(first, entry(body, "driss"))
    yield "another authority's approver", both(first, entry(body, "fatima"))
    yield "a third signature that does not verify", {
        "payload": body,
        "signatures": [first, second, entry(body, "brahim", signer="mallory")],
    }
    yield "the payload swapped", {**order(payload(case="RABAT/2026-18")), "signatures": good["signatures"]}
    yield "an officer added", {**order(payload(officers=["driss", "elham"])), "signatures": good["signatures"]}
    spaced = b64(json.dumps(payload()))
    yield "the payload written with other white space", {"payload": spaced, "signatures": good["signatures"]}
    yield "signatures swapped", both(
        {"protected": first["protected"], "signature": second["signature"]},
        {"protected": second["protected"], "signature": first["signature"]},
    )
    yield "a header exchanged", both({**first, "protected": b64(header("brahim"))})
    yield "a header rewritten", both({**first, "protected": b64(header("amina", alg="Ed25519"))})
    yield "one bit of R", both({**first, "signature": flip(first["signature"], 5)})
    yield "one bit of S", both({**first, "signature": flip(first["signature"], 60)})
    order_of_the_group = 2**252 + 27742317777372353535851937790883648493

    def second_spelling(data):
        made = key("amina").sign(data)
        return made[:32] + (int.from_bytes(made[32:], "little") + order_of_the_group).to_bytes(32, "little")

    yield "S plus the group's order", both(entry(body, "amina", sign=second_spelling))
    yield "all zero", both(entry(body, "amina", sign=lambda _: bytes(64)))
    yield "R the neutral element, S zero", both(entry(body, "amina", sign=lambda _: b"\1" + bytes(63)))
    yield "signed without its header", both(entry(body, "amina", sign=lambda _: key("amina").sign(body.encode())))
    decoded = compact(payload()).encode()
    yield "signed over the decoded payload", both(entry(body, "amina", sign=lambda _: key("amina").sign(decoded)))


def rules():
    """(name, code, order): sound in form and signatures."""
    yield "no signature", "order-quorum", order(signers=())
    yield "one signature of two", "order-quorum", order(signers=("amina",))
    yield "two of one body", "order-quorum", order(signers=("amina", "brahim"))
    yield "force majeure with two of three", "order-quorum", order(payload(basis=FORCE))
    yield "continuity with two of three", "order-quorum", order(
        payload(basis=CONTINUITY, limit=1, drop=("pseudonyms",))
    )
    yield "continuity of an authority that may not", "order-rule", order(
        payload(
            authority="tax-inspection", basis=CONTINUITY, sectors=["tax"], officers=["hind"], limit=1,
            drop=("pseudonyms",), not_after="2026-11-23T09:00:00Z",
        ),
        signers=("fatima", "ghali"),
    )
    yield "another deployment", "order-audience", order(payload(aud="demo"))
    yield "an unknown authority", "order-authority", order(payload(authority="ministry"))
    yield "signed by one authority in another's name", "order-signature", order(payload(authority="tax-inspection"))
    yield "a sector of another authority", "order-authority", order(
        payload(sectors=["bank"], pseudonyms={"bank": [bech32m("banque", 0, raw(1))]})
    )
    yield "one sector of two of another authority", "order-authority", order(
        payload(sectors=["health", "bank"], pseudonyms={"health": HEALTH, "bank": [bech32m("banque", 0, raw(1))]})
    )
    for name in ("hospital", "health.chu.study-42", "Health", "", "health.*"):
        yield f"an unknown sector: {name!r}", "unknown-sector", order(payload(sectors=[name], pseudonyms={name: HEALTH}))
    yield "a sector without mappings", "irreversible", order(
        payload(sectors=["study"], pseudonyms={"study": [bech32m("etude", 0, raw(1))]})
    )
    yield "valid for a second too long", "order-rule", order(payload(not_after="2026-12-02T09:00:01Z"))
    yield "force majeure for a second too long", "order-rule", order(
        payload(basis=FORCE, not_after="2026-11-25T09:00:01Z"), signers=ALL
    )
    yield "judicial with a limit", "order-rule", order(payload(limit=5, drop=("pseudonyms",)))
    yield "force majeure with a limit", "order-rule", order(
        payload(basis=FORCE, limit=5, drop=("pseudonyms",)), signers=ALL
    )
    yield "a limit above the register's", "order-rule", order(payload(basis=LAW, limit=101, drop=("pseudonyms",)))
    yield "a limit where the register has none", "order-rule", order(
        payload(
            authority="tax-inspection", basis=LAW, sectors=["tax"], limit=1, officers=["hind"],
            not_after="2026-11-24T09:00:00Z", drop=("pseudonyms",),
        ),
        signers=("fatima", "ghali"),
    )
    yield "an unknown officer", "order-rule", order(payload(officers=["mallory"]))
    yield "another authority's officer", "order-rule", order(payload(officers=["driss", "hind"]))
    yield "an approver as officer", "order-rule", order(payload(officers=["amina"]))
    yield "not valid yet", "order-not-yet-valid", order(payload(not_before="2026-11-22T12:00:01Z"))
    yield "no longer valid", "order-expired", order(payload(not_after="2026-11-22T11:59:59Z"))
    yield "valid until this very second", "order-expired", order(payload(not_after=NOW))
    wrong = HEALTH[0][:-1] + ("q" if HEALTH[0][-1] != "q" else "p")
    for name, code, text in (
        ("wrong checksum", "pseudonym-checksum", wrong),
        ("another sector's", "pseudonym-other-sector", bech32m("impot", 3, raw(1))),
        ("upper case", "pseudonym-malformed", HEALTH[0].upper()),
        ("with a space", "pseudonym-malformed", HEALTH[0] + " "),
        ("hexadecimal in a bech32m sector", "pseudonym-malformed", raw(1).hex()),
        ("empty", "pseudonym-malformed", ""),
    ):
        yield f"pseudonym: {name}", code, order(payload(pseudonyms={"health": [HEALTH[1], text]}))
    yield "pseudonym: UUID of version 4", "pseudonym-malformed", order(
        payload(sectors=["tax"], pseudonyms={"tax": ["0f9c2f5e-5d3a-4b21-9c4d-1f2e3d4c5b6a"]})
    )


def must_fail():
    for name, made in shapes():
        yield "text: " + name, "order-malformed", made
    for name, made in headers():
        yield name, "order-malformed", made
    for name, text in payloads():
        yield "payload: " + name, "order-malformed", order(text=text)
    for name, made in signatures():
        yield "signature: " + name, "order-signature", made
    yield from rules()


def main():
    check = "--check" in sys.argv[1:]
    folder = Path(sys.argv[-1])

    def text(made):
        return made if isinstance(made, str) else compact(made)

    def file(comment, orders):
        content = {"comment": comment, "now": NOW, "orders": orders}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    passes = [{"name": name, "jws": text(made)} for name, made in must_pass()]
    fails = [{"name": name, "code": code, "jws": text(made)} for name, code, made in must_fail()]
    for case in (passes, fails):
        assert len({entry["name"] for entry in case}) == len(case)
    under = "under order-register.toml at the time `now`"
    files = {
        "order-register.toml": register(),
        "order-must-pass.json": file(f"Orders that must be found valid {under}.", passes),
        "order-must-fail.json": file(f"Orders that must be refused {under}, with this code.", fails),
    }
    differ = False
    for name, made in files.items():
        path = folder / name
        if not check:
            path.write_text(made)
        elif path.read_text() != made:
            differ = True
            print(f"{path} is not what make_vectors.py makes", file=sys.stderr)
    print(f"{len(passes)} orders that must pass, {len(fails)} that must fail")
    sys.exit(differ)


main()
