"""Vectors of the text forms."""

import text_forms
from cases_common import fixed
from derivation import with_uuid_bits


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
    for other in [other for other in good if other != form]:
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
