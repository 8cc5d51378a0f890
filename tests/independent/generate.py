"""Writes tests/vectors/*.json: known answers and must-fail forms, all from this implementation and none from the Rust.

    python generate.py [FOLDER]

The same files come out every time: what is random in life is fixed here.
"""

import json
import pathlib
import sys

from cases_canonical import canonical_form
from cases_derivation import derivation
from cases_sealing import sealing_vectors
from cases_text import text

FILES = {"derivation": derivation, "text": text, "canonical": canonical_form, "sealing": sealing_vectors}


def main():
    default = pathlib.Path(__file__).parent.parent / "vectors"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    for name, vectors in FILES.items():
        content = json.dumps(vectors(), indent=1, ensure_ascii=True)
        (folder / f"{name}.json").write_text(content + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
