"""A verdict's findings between the judge and the `findings` column.

Written, they are the JSON that every door sends (`ledger.history.findings_bytes`, byte for byte); that spelling is put
together from parts that repeat, since a verdict is written for every judged event. Read back, they are the judge's own
`Verdict` again, so that a late fact can be weighed against it.

>>> finding = Finding("policy-in-force", "unknown", "no-policy-in-force", (), None, (), None)
>>> verdict = Verdict("undetermined", (finding,), (), None)
>>> text = findings_text(verdict, 3)
>>> restored("undetermined", text, (), None) == verdict
True
"""

from functools import lru_cache
from typing import Any

import orjson

from ledger.findings import Finding
from ledger.reasons import reason
from ledger.verdict import Verdict


def findings_text(verdict: Verdict, partition: int) -> str:
    """The findings as JSON, evidence as positions of the partition."""
    parts = []
    for rule, result, code, categories, statement, evidence, total in verdict.findings:
        before, after, alone = _frame(rule, result, code, categories, statement)
        if total is None:
            cited = f'"{partition}-{evidence[0]}"' if len(evidence) == 1 else _cited(evidence, partition)
            parts.append(f"{before}{cited}{alone}")
        else:
            parts.append(f'{before}{_cited(evidence, partition)}{after},"evidence_total":{total}}}')
    return f"[{','.join(parts)}]"


def _cited(evidence: tuple[int, ...], partition: int) -> str:
    return ",".join([f'"{partition}-{offset}"' for offset in evidence])


@lru_cache(maxsize=16_384)
def _frame(
    rule: str, result: str, code: str, categories: tuple[str, ...], statement: str | None
) -> tuple[str, str, str]:
    """What stands before a finding's evidence, and after; and after it where nothing is counted."""
    head = {"rule": rule, "result": result, "code": code, "categories": categories, "statement": statement}
    text = orjson.dumps(reason(rule, result, code).text).decode()
    after = f'],"text":{text}'
    return orjson.dumps(head).decode()[:-1] + ',"evidence":[', after, after + "}"


def restored(outcome: str, findings: str, basis: Any, policy: tuple[str, str] | None) -> Verdict:
    """The verdict that was written."""
    found = tuple(
        Finding(
            f["rule"],
            f["result"],
            f["code"],
            tuple(f["categories"]),
            f["statement"],
            tuple(int(position.partition("-")[2]) for position in f["evidence"]),
            f.get("evidence_total"),
        )
        for f in orjson.loads(findings)
    )
    return Verdict(outcome, found, tuple(basis), policy)
