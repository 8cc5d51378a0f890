"""Opens what another implementation sealed: reads one JSON object, prints the mappings that it holds.

It goes the whole way: unwraps the rows with the store secret, opens the segments with the authority secret, opens the
mappings, and derives every pseudonym and nonce again from the identifier that it found.
"""

import json
import sys
import uuid

import sealing
from derivation import prf, with_uuid_bits

unhex = bytes.fromhex


def main():
    given = json.load(sys.stdin)
    key_id = given["key_id"]
    suite = given["suite"]
    private, _ = sealing.authority_key(unhex(given["authority_secret"]), key_id, suite)
    store = {int(version): sealing.store_key(unhex(secret)) for version, secret in given["store_secrets"].items()}
    pinned = [unhex(public) for public in given["pinned"]]
    deks = {}
    for record in given["segments"]:
        segment_id, sector, dek = sealing.open_segment(unhex(record), key_id, private, pinned, suite)
        deks[segment_id] = sector, dek

    mappings, nonces = [], set()
    for row in given["rows"]:
        key = unhex(row["row_key"])
        epoch = int.from_bytes(key[4:8], "big")
        segment_id, scope, records = sealing.unwrap_chunk(store, key, unhex(row["row"]))
        assert records == sorted(records), "records are sorted by pseudonym"
        sector, dek = deks[segment_id]
        for record in records:
            scheme, value, day = sealing.open_mapping(record, dek, uuid.UUID(bytes=sector), epoch, *scope)
            inputs = {k: given[k] for k in ("identity_secret", "sector_secret", "path")}
            inputs |= dict(zip(("controller", "purpose", "period"), scope))
            output = prf(inputs | {"epoch": epoch, "scheme": scheme, "value": value})
            pseudonym = with_uuid_bits(output[:16]) if given["text_form"] == "uuid" else output[:16]
            assert record[:16] == pseudonym, "the pseudonym is the identifier's"
            assert record[16:24] == output[16:24], "the nonce begins with the person's part"
            assert (segment_id, record[16:28]) not in nonces, "no nonce twice under one DEK"
            nonces.add((segment_id, record[16:28]))
            mappings.append({"pseudonym": pseudonym.hex(), "scheme": scheme, "value": value, "first_seen": day})
    print(json.dumps(mappings))


if __name__ == "__main__":
    main()
