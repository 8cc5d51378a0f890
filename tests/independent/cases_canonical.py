"""Vectors of the canonical form of identifiers."""

import hashlib

import canonical

SCHEMES = {
    "cnie": {"pattern": "[A-Z]{1,2}[0-9]{1,7}", "separators": " -.", "check": "none"},
    "idcs": {"pattern": "[0-9]{10}", "separators": " ", "check": "none"},
    "passport": {"pattern": "[A-Z]{3}[A-Z0-9]{5,12}", "separators": " -", "check": "none"},
    "either": {"pattern": "A|AB|ABC", "separators": "", "check": "none"},
    "long": {"pattern": "[A-Z0-9]+", "separators": "-", "check": "none"},
    "record": {"pattern": "[A-Za-z]{2}[0-9]{4,6}", "separators": "-/", "check": "none", "case": "keep"},
    "folded": {"pattern": "[A-Z]{2}[0-9]{4,6}", "separators": "-/", "check": "none", "case": "fold"},
    "kept-upper": {"pattern": "[A-Z]{2}[0-9]{4,6}", "separators": "", "check": "none", "case": "keep"},
    "kept-luhn": {"pattern": "[0-9]{2,20}", "separators": "-", "check": "luhn", "case": "keep"},
    "any": {"pattern": "[!-~]+", "separators": "-", "check": "none"},
    "any-kept": {"pattern": "[!-~]+", "separators": "-", "check": "none", "case": "keep"},
    "luhn": {"pattern": "[0-9]{2,20}", "separators": "-", "check": "luhn"},
    "verhoeff": {"pattern": "[0-9]{2,20}", "separators": "-", "check": "verhoeff"},
    "damm": {"pattern": "[0-9]{2,20}", "separators": "-", "check": "damm"},
    "iso7064": {"pattern": "[0-9]{2,20}", "separators": "-", "check": "iso7064-11-10"},
}


def table_digest(scheme):
    """SHA-256 of what becomes of every code point, as `canonical.every_code_point` lists it."""
    digest = hashlib.sha256()
    for line in canonical.every_code_point(scheme):
        digest.update(line.encode())
    return digest.hexdigest()


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
        ("AB\u00a0123456", "a no-break space"),
        ("\u3000AB\u202f123\u2009456\t", "spaces of Unicode, and a tab"),
        ("AB－123．456", "full-width separators"),
        ("AB12345²", "a superscript two is not a two"),
        ("AB①23456", "a circled digit is not a digit"),
        ("AB12345Ⅷ", "a Roman numeral is not four letters"),
        ("\u212a7", "the Kelvin sign is not a K"),
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
        ("AB１２٣", "full-width digits and an Arabic-Indic one"),
        ("AB١٢٣٤٥٦", "Arabic-Indic digits"),
        ("AB12\u200f3456", "a direction mark"),
        ("AB12\u200b3456", "a zero-width space"),
        ("ß123456", "a sharp s: only ASCII letters change their case"),
        ("ı123456", "a dotless i"),
        ("ſ123456", "a long s is not an s"),
        ("AB123456\n", "a line feed"),
        ("AB123\t456", "a tab"),
        ("AB123456\r", "a carriage return"),
        ("AB12\u20283456", "a line separator is the end of a line, not a space"),
        ("\ufeffAB123456", "a byte order mark"),
        ("\u115fAB123456", "a filler that shows nothing"),
        ("²\u0085", "a control character is named before another one that is refused"),
        ("²", "refused before it is empty"),
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
        ("long", "Ａ" * 42, "126 bytes, 42 characters"),
        ("long", "Ａ" * 43, "129 bytes, 43 characters"),
        ("long", "ﬁ" * 16, "a ligature is not two letters"),
        ("record", "aB-1234", "case kept"),
        ("record", "AB/1234", "another person's, where case is kept"),
        ("record", "ａＢ 1234", "full-width, case kept"),
        ("folded", "aB-1234", "case folded, where the scheme says so"),
        ("kept-upper", "AB1234", "upper case, kept"),
        ("kept-upper", "ab1234", "lower case is kept, and so is not of the pattern"),
        ("kept-luhn", "7992-739-8713", "right"),
        ("kept-luhn", "79927398710", "wrong"),
        ("idcs", "0123 456\u00a0789", "ten digits, a no-break space"),
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
        "spaces": [ord(c) for c in canonical.SPACES],
        "every_code_point": {name: table_digest(SCHEMES[name]) for name in ("any", "any-kept")},
        "vectors": vectors,
        "must_fail": must_fail,
    }
