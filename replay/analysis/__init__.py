"""What the log alone says, partition by partition: counts for an audit, and verdicts under another policy.

Pure folds (`judging`, `audit`, `what_if`), what reads the log for them (`reading`), and what spreads the partitions
over processes (`partitions`) or a Ray cluster (`on_ray`). No database takes part in any of it.
"""
