-- The signer's own state: no view, never rebuilt. One row a partition: the greatest checkpoint that was signed.
-- (The `signer` schema, found by the search path; made beside the views', granted to the signer alone for writing.)

-- name: tables
CREATE TABLE IF NOT EXISTS checkpoints (
    "partition" integer     PRIMARY KEY,
    size        bigint      NOT NULL,
    root        bytea       NOT NULL,
    note        bytea       NOT NULL,
    signed      timestamptz NOT NULL DEFAULT now()
);

-- name: grants
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO ledger_projector, ledger_reader, ledger_auditor;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO ledger_signer;

-- name: session
-- A signer that stands still with a row locked, frozen or cut off, is rolled back, so that another goes on.
SELECT set_config('lock_timeout', %(lock)s, false),
       set_config('statement_timeout', %(limit)s, false),
       set_config('idle_in_transaction_session_timeout', %(limit)s, false)

-- name: partitions
SELECT "partition" FROM trees UNION SELECT "partition" FROM checkpoints ORDER BY 1

-- name: first
INSERT INTO checkpoints ("partition", size, root, note)
VALUES (%(partition)s, %(size)s, %(root)s, %(note)s)
ON CONFLICT DO NOTHING

-- name: move
UPDATE checkpoints
SET size = %(size)s, root = %(root)s, note = %(note)s, signed = now()
WHERE "partition" = %(partition)s AND size = %(old_size)s AND root = %(old_root)s AND size < %(size)s

-- name: coverage
SELECT "partition", coalesce(t.size, 0), coalesce(c.size, 0), c.signed
FROM trees t FULL JOIN checkpoints c USING ("partition")
ORDER BY "partition"
