-- The roles of the views. A superuser runs this once; it may run again.

-- name: create roles
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['ledger_owner', 'ledger_projector', 'ledger_reader', 'ledger_signer'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledger_auditor') THEN
        CREATE ROLE ledger_auditor NOLOGIN;
    END IF;
END $$;
-- The projector writes what the log says, about everybody; COPY knows no row-level security.
ALTER ROLE ledger_projector BYPASSRLS;
-- The reader becomes an auditor only by saying so: SET ROLE ledger_auditor.
GRANT ledger_auditor TO ledger_reader WITH INHERIT FALSE, SET TRUE;

-- name: set password
ALTER ROLE {role} PASSWORD {password};

-- name: may create schemas
GRANT CREATE, CONNECT ON DATABASE {database} TO ledger_owner;
GRANT CONNECT ON DATABASE {database} TO ledger_projector, ledger_reader, ledger_signer;
