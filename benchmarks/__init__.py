"""How fast the ledger is, as ratios to the raw limit of the same machine in the same run.

    ./dev bench --quick
    ./dev bench --events 50000 --json figures.json

`workload` makes the events, `servers` starts what is measured on, `emitting`, `projecting`, `judging` and `asking`
measure, `report` prints. Every figure is the median of several rounds, the raw limit's rounds between ours.
"""
