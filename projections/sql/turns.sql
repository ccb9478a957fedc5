-- One writer at a time about one resident (projections.turns). The locks are the transaction's.

-- name: wait at most
SELECT set_config('lock_timeout', %(ms)s, true)

-- name: turn
SELECT pg_advisory_xact_lock(%(key)s)
