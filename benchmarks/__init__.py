"""How fast the ledger is, as ratios to the raw limit and to its peers on the same machine in the same run.

    ./dev bench --quick
    ./dev bench judging projecting --json figures.json

`run` runs the chapters (`judging`, `evidence`, `emitting`, `inserting`, `projecting`, `rebuilding`, `asking`,
`gdpr`) on a `stage` of a `plan`'s sizes; `report` and `plot` show what they found. The peers:
`peer_eventsourcing` (a), `audit_table` (b), `gdprbench` (c). docs/benchmarks.md says what each line means,
docs/decisions/0019 how it is kept fair.
"""
