"""The canonical form of an identifier, as docs/spec.md states it."""

import re
import unicodedata


class Refused(Exception):
    """Carries the stable code."""

    @property
    def code(self):
        return self.args[0]


# What is removed anywhere: the tab, and Unicode's spaces (general category Zs).
SPACES = "\t \u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"


def plain(c):
    """The ASCII character that `c` stands for, "" for a space, None where it stands for nothing."""
    if c in SPACES:
        return ""
    if "\uff01" <= c <= "\uff5e":
        return chr(ord(c) - 0xFEE0)
    return c if c.isascii() else None


def canonical(scheme, raw):
    """The canonical value of `raw` under the rules {"pattern", "separators", "check", "case"}; case is "fold" if absent."""
    if len(raw.encode()) > 128:
        raise Refused("identifier-too-long")
    if any(unicodedata.category(c) == "Cc" and c != "\t" for c in raw):
        raise Refused("identifier-control-character")
    characters = [plain(c) for c in raw]
    if None in characters:
        raise Refused("identifier-character")
    value = "".join(c for c in characters if c and c not in scheme["separators"])
    if scheme.get("case", "fold") == "fold":
        value = value.upper()
    if not value:
        raise Refused("identifier-empty")
    if len(value) > 64:
        raise Refused("identifier-too-long")
    if not re.fullmatch(scheme["pattern"], value, re.ASCII):
        raise Refused("identifier-pattern")
    if scheme["check"] != "none" and not (value.isdigit() and len(value) > 1 and CHECKS[scheme["check"]](value)):
        raise Refused("identifier-check-digit")
    return value


def every_code_point(scheme):
    """What becomes of each code point between "A" and "1": one line each, its number in hexadecimal and the value or code."""
    for number in (n for n in range(0x110000) if not 0xD800 <= n <= 0xDFFF):
        try:
            outcome = canonical(scheme, f"A{chr(number)}1")
        except Refused as refused:
            outcome = f"!{refused.code}"
        yield f"{number:04X} {outcome}\n"


def luhn(value):
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(reversed(value))]
    return sum(n // 10 + n % 10 for n in doubled) % 10 == 0


def dihedral(a, b):
    """Multiplication in D5, the symmetries of a pentagon: 0 to 4 are rotations, 5 to 9 reflections."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5


def verhoeff(value):
    permutation = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    product = 0
    for place, d in enumerate(reversed(value)):
        digit = int(d)
        for _ in range(place % 8):
            digit = permutation[digit]
        product = dihedral(product, digit)
    return product == 0


DAMM = """
    0317598642 7092154863 4206871359 1750983426 6123045978
    3674209581 5869720134 8945362017 9438617205 2581436790
""".split()


def damm(value):
    interim = 0
    for d in value:
        interim = int(DAMM[interim][int(d)])
    return interim == 0


def iso7064_11_10(value):
    product = 10
    for d in value[:-1]:
        total = (product + int(d)) % 10 or 10
        product = 2 * total % 11
    return (product + int(value[-1])) % 10 == 1


CHECKS = {"luhn": luhn, "verhoeff": verhoeff, "damm": damm, "iso7064-11-10": iso7064_11_10}
