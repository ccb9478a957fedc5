"""Writes line 1 of each history here, the policy, from `ledger/policies/my-san-jose-2018-04-18.json`.

Run it from anywhere after a change of the policy file: `python tests/vectors/statements/refresh.py`.
"""

from pathlib import Path

import orjson

FOLDER = Path(__file__).resolve().parent
POLICY = FOLDER.parents[2] / "ledger" / "policies" / "my-san-jose-2018-04-18.json"


def with_policy(history: bytes, policy: bytes) -> bytes:
    """The history's bytes with `policy` as the `data` of its first line; the other lines as they are."""
    first, rest = history.split(b"\n", 1)
    event = orjson.loads(first)
    event["data"] = orjson.loads(policy)
    return orjson.dumps(event) + b"\n" + rest


def main() -> None:
    """Refreshes every history of this folder."""
    policy = POLICY.read_bytes()
    for path in sorted(FOLDER.glob("*.ndjson")):
        path.write_bytes(with_policy(path.read_bytes(), policy))


if __name__ == "__main__":
    main()
