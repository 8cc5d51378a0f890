"""The canonical form of an identifier, as docs/spec.md states it."""

import re
import unicodedata


class Refused(Exception):
    """Carries the stable code."""

    @property
    def code(self):
        return self.args[0]


def canonical(scheme, raw):
    """The canonical value of `raw` under the rules {"pattern", "separators", "check"}."""
    if len(raw.encode()) > 128:
        raise Refused("identifier-too-long")
    if any(unicodedata.category(c) == "Cc" for c in raw):
        raise Refused("identifier-control-character")
    left = [c for c in unicodedata.normalize("NFKC", raw) if c not in scheme["separators"]]
    if not left:
        raise Refused("identifier-empty")
    ascii_only = [c.upper() for c in left if c.isascii()]
    if len(ascii_only) > 64:
        raise Refused("identifier-too-long")
    value = "".join(ascii_only)
    if len(ascii_only) < len(left) or not re.fullmatch(scheme["pattern"], value, re.ASCII):
        raise Refused("identifier-pattern")
    if scheme["check"] != "none" and not (value.isdigit() and len(value) > 1 and CHECKS[scheme["check"]](value)):
        raise Refused("identifier-check-digit")
    return value


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
