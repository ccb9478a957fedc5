"""What happened to residents' data, and whether it was allowed: the record, the rules and the proofs.

Everything here but `ledger.kafka` and `ledger.vault.store` is pure: no input or output, no clock; storage comes in as
an argument. `ledger` imports none of `projections`, `replay` and `api`.
"""
