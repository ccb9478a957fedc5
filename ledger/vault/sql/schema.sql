-- The vault: residents' keys, wrapped; whose login is whose; erasures. Its own schema and role; nothing here is in the
-- log or in a projection. Run by a role that may create schemas; repeatable.

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

-- A destroyed key stays destroyed, whoever asks for what.
CREATE OR REPLACE FUNCTION vault.stays_destroyed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a destroyed key stays destroyed';
END
$$;
CREATE OR REPLACE TRIGGER stays_destroyed BEFORE UPDATE ON vault.keys
    FOR EACH ROW WHEN (OLD.destroyed_at IS NOT NULL) EXECUTE FUNCTION vault.stays_destroyed();

-- One key, wrapped as residents' keys are, under which the logins below are written. There is never a second row.
CREATE TABLE IF NOT EXISTS vault.map_key (
    one              boolean PRIMARY KEY DEFAULT true CHECK (one),
    key_id           text NOT NULL,
    wrapped          bytea NOT NULL,
    wrapping_key_id  text NOT NULL
);

-- `login`: AES-SIV of the JSON array [issuer, sub] under the map key. Equal logins are equal bytes, and without the
-- map key a guess cannot be tried.
CREATE TABLE IF NOT EXISTS vault.logins (
    login    bytea PRIMARY KEY,
    subject  text NOT NULL,
    created  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS logins_subject ON vault.logins (subject);

-- The durable intention of every erasure, and how far it has come. Times and positions are written as in the log.
CREATE TABLE IF NOT EXISTS vault.erasures (
    erasure_id       text COLLATE "C" PRIMARY KEY,
    subject          text NOT NULL,
    categories       text[],                        -- null: everything, and the key
    state            text NOT NULL CHECK (state IN ('awaiting-approval', 'in-progress', 'done', 'withdrawn')),
    asked_as         text,                          -- whose idempotency key it is
    idempotency_key  text,
    asked_by         text NOT NULL,                 -- client_id
    asked_person     bytea,                         -- the operator's `sub` under the map key: nobody approves their own
    asked_time       text COLLATE "C" NOT NULL,
    approved_by      text,
    requested_time   text,                          -- of erasure.requested; null until it may begin
    requested        text,                          -- its position
    erased_time      text,                          -- of data.erased; null until key and logins are destroyed
    erased           text,                          -- its position
    receipt          text,
    UNIQUE (asked_as, idempotency_key)
);
CREATE INDEX IF NOT EXISTS erasures_unfinished ON vault.erasures (asked_time) WHERE state = 'in-progress';

-- Further idempotency keys: each names an erasure that was in progress when the same was asked for again.
CREATE TABLE IF NOT EXISTS vault.erasure_references (
    asked_as         text,
    idempotency_key  text,
    erasure_id       text COLLATE "C" NOT NULL,
    PRIMARY KEY (asked_as, idempotency_key)
);

-- Who is signed in on the pages; `token` is the SHA-256 of what the browser holds. Nothing here outlives a day.
CREATE TABLE IF NOT EXISTS vault.sessions (
    token        bytea PRIMARY KEY,
    client_id    text NOT NULL,
    subject      text,                              -- the resident; null for staff
    scopes       jsonb NOT NULL,
    language     text NOT NULL,
    development  boolean NOT NULL,
    created      timestamptz NOT NULL DEFAULT now(),
    seen         timestamptz NOT NULL DEFAULT now(),
    expires      timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_subject ON vault.sessions (subject);

-- Who has left for their identity provider and not come back yet; `state` is the SHA-256 of what comes back.
CREATE TABLE IF NOT EXISTS vault.sign_ins (
    state        bytea PRIMARY KEY,
    provider     text NOT NULL,
    nonce        text NOT NULL,
    verifier     text NOT NULL,
    destination  text NOT NULL,
    expires      timestamptz NOT NULL
);
GRANT SELECT, INSERT, DELETE ON vault.sessions, vault.sign_ins TO ledger_vault;
GRANT UPDATE (seen) ON vault.sessions TO ledger_vault;

GRANT SELECT, INSERT ON vault.keys, vault.map_key, vault.logins, vault.erasures, vault.erasure_references
    TO ledger_vault;
-- Rewrapping and destroying. No key's row is ever deleted, and no name in it changed.
GRANT UPDATE (wrapped, wrapping_key_id, destroyed_at) ON vault.keys TO ledger_vault;
GRANT UPDATE (wrapped, wrapping_key_id) ON vault.map_key TO ledger_vault;
GRANT DELETE ON vault.logins TO ledger_vault;
GRANT UPDATE (state, approved_by, requested_time, requested, erased_time, erased, receipt)
    ON vault.erasures TO ledger_vault;
