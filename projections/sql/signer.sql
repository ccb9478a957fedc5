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
