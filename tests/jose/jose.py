"""A JOSE library that knows nothing of cloison, on orders: reads one JSON command on standard input, answers with one.

    {"do": "sign", "payload": text, "typ": text, "signers": [{"kid", "alg", "seed": hex}]}  →  {"jws": text}
    {"do": "verify", "jws": [text, …], "keys": {kid: public key in hex}}  →  {"verified": [payload text or null, …]}
"""

import base64
import json
import sys
import warnings

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

# Both spellings are meant to be tried, also the older one.
warnings.filterwarnings("ignore", message="EdDSA is deprecated")
REGISTRY = JWSRegistry(algorithms=["EdDSA", "Ed25519"], strict_check_header=True)


def b64(hexadecimal):
    return base64.urlsafe_b64encode(bytes.fromhex(hexadecimal)).rstrip(b"=").decode()


def sign(command):
    members, seeds = [], {}
    for signer in command["signers"]:
        members.append({"protected": {"typ": command["typ"], "kid": signer["kid"], "alg": signer["alg"]}})
        seeds[signer["kid"]] = signer["seed"]

    def private(member):
        seed = seeds[member.headers()["kid"]]
        x = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)).public_key().public_bytes_raw().hex()
        return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": b64(seed), "x": b64(x)})

    value = jws.serialize_json(members, command["payload"].encode(), private, registry=REGISTRY)
    return {"jws": json.dumps(value)}


def verify(command):
    def public(member):
        x = command["keys"][member.headers()["kid"]]
        return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": b64(x)})

    def one(text):
        try:
            return jws.deserialize_json(json.loads(text), public, registry=REGISTRY).payload.decode()
        except (JoseError, KeyError) as error:
            print(f"refused: {error!r}", file=sys.stderr)
            return None

    return {"verified": [one(text) for text in command["jws"]]}


command = json.load(sys.stdin)
json.dump({"sign": sign, "verify": verify}[command["do"]](command), sys.stdout)
