"""The three text forms of a pseudonym, as docs/spec.md states them; the checksum after BIP 173 and BIP 350."""

import re
import uuid

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENERATOR = [0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]
BECH32M = 0x2BC830A3
BECH32 = 1

MALFORMED = "pseudonym-malformed"
CHECKSUM = "pseudonym-checksum"
OTHER_SECTOR = "pseudonym-other-sector"


class Refused(Exception):
    """Carries the stable code."""

    @property
    def code(self):
        return self.args[0]


def polymod(values):
    register = 1
    for value in values:
        top = register >> 25
        register = (register & 0x1FFFFFF) << 5 ^ value
        for i in range(5):
            if top >> i & 1:
                register ^= GENERATOR[i]
    return register


def expand_tag(tag):
    return [ord(c) >> 5 for c in tag] + [0] + [ord(c) & 31 for c in tag]


def with_checksum(tag, values, constant=BECH32M):
    """The text of any data values: also such as no pseudonym has, for must-fail forms."""
    remainder = polymod(expand_tag(tag) + values + [0] * 6) ^ constant
    checksum = [remainder >> 5 * (5 - i) & 31 for i in range(6)]
    return tag + "1" + "".join(CHARSET[value] for value in values + checksum)


def data_values(epoch, pseudonym):
    """The epoch modulo 32, then the 128 bits and two zero bits in groups of five."""
    bits = int.from_bytes(pseudonym, "big") << 2
    return [epoch % 32] + [bits >> 5 * (25 - i) & 31 for i in range(26)]


def write(form, tag, epoch, pseudonym):
    if form == "bech32m":
        return with_checksum(tag, data_values(epoch, pseudonym))
    if form == "uuid":
        return str(uuid.UUID(bytes=pseudonym))
    return pseudonym.hex()


def parse(form, tag, text):
    """The pseudonym, and the epoch modulo 32 or None; or Refused."""
    if form == "hex":
        if not re.fullmatch("[0-9a-f]{32}", text):
            raise Refused(MALFORMED)
        return bytes.fromhex(text), None
    if form == "uuid":
        if not re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text):
            raise Refused(MALFORMED)
        return bytes.fromhex(text.replace("-", "")), None
    match = re.fullmatch(f"([a-z]{{2,12}})1([{CHARSET}]{{33}})", text)
    if not match:
        raise Refused(MALFORMED)
    own, data = match[1], [CHARSET.index(c) for c in match[2]]
    if polymod(expand_tag(own) + data) != BECH32M:
        raise Refused(CHECKSUM)
    if own != tag:
        raise Refused(OTHER_SECTOR)
    bits = 0
    for value in data[1:27]:
        bits = bits << 5 | value
    if bits & 3:
        raise Refused(MALFORMED)
    return (bits >> 2).to_bytes(16, "big"), data[0]
