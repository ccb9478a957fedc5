"""How much is measured: the full run, `--quick`, and the tiny sizes that a test runs.

>>> QUICK.growth, FULL.growth[-1]
((2000, 10000, 50000), 1000000)
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The sizes of a run. Events include the workload's policy and agreement; `limit_s` bounds a chapter's rounds."""

    name: str
    rounds: int
    emitted: int  # events a round by each way in
    single_posts: int  # a round, and as many to the no-op endpoint
    judged: int  # events of the judge's workload
    evidence: tuple[int, int]  # a resident's events, and the records of their partition
    projected: int
    rebuilt: int
    growth: tuple[int, ...]
    questions: int  # of a kind, a size and a round
    auditor_reads: int  # a round
    peer_rows: int  # records that peer (a) takes, and INSERTs of peer (b)
    gdpr_records: int
    gdpr_operations: int  # of a role and a round
    long_histories: tuple[int, ...]  # events of one resident
    limit_s: float  # no new round of a loop begins that would end after so long
    hurry_s: float  # when the run has taken so long, each loop takes one round


FULL = Plan(
    name="full",
    rounds=5,
    emitted=100_000,
    single_posts=10_000,
    judged=50_000,
    evidence=(1_000, 100_000),
    projected=200_000,
    rebuilt=200_000,
    growth=(10_000, 50_000, 200_000, 1_000_000),
    questions=2_000,
    auditor_reads=500,
    peer_rows=50_000,
    gdpr_records=50_000,
    gdpr_operations=2_000,
    long_histories=(10, 100, 1_000, 10_000),
    limit_s=300,
    hurry_s=2_400,
)

QUICK = Plan(
    name="quick",
    rounds=3,
    emitted=20_000,
    single_posts=2_000,
    judged=10_000,
    evidence=(1_000, 100_000),
    projected=50_000,
    rebuilt=50_000,
    growth=(2_000, 10_000, 50_000),
    questions=500,
    auditor_reads=100,
    peer_rows=3_000,
    gdpr_records=10_000,
    gdpr_operations=300,
    long_histories=(10, 100, 1_000),
    limit_s=25,
    hurry_s=300,
)

TINY = Plan(
    name="tiny",
    rounds=1,
    emitted=200,
    single_posts=64,
    judged=200,
    evidence=(20, 500),
    projected=300,
    rebuilt=300,
    growth=(100, 300),
    questions=10,
    auditor_reads=3,
    peer_rows=30,
    gdpr_records=300,
    gdpr_operations=12,
    long_histories=(5, 20),
    limit_s=5,
    hurry_s=60,
)
