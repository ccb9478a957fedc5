-- The vault: residents' keys, wrapped. Its own schema and role; nothing here is in the log or in a projection.
-- Run by a role that may create schemas; repeatable.

DO $$
BEGIN
    CREATE ROLE ledger_vault NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

CREATE SCHEMA IF NOT EXISTS vault;
REVOKE ALL ON SCHEMA vault FROM PUBLIC;
GRANT USAGE ON SCHEMA vault TO ledger_vault;

CREATE TABLE IF NOT EXISTS vault.keys (
    subject          text PRIMARY KEY,
    key_id           text NOT NULL UNIQUE,
    wrapped          bytea,
    wrapping_key_id  text NOT NULL,
    created          timestamptz NOT NULL DEFAULT now(),
    destroyed_at     timestamptz,
    -- A destroyed key is gone, not marked: the row stays to say that there was one.
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

-- Who wraps and reads keys. Destroying them comes with erasure, under that role's own grant.
GRANT SELECT, INSERT ON vault.keys TO ledger_vault;
