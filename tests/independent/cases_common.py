"""What the vectors share: fixed bytes in the place of random ones, sectors, and an input for derivation."""

import hashlib
import uuid


def fixed(name, length=32):
    return hashlib.shake_256(b"cloison test vectors, " + name.encode()).digest(length)


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
