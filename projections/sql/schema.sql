-- The views, as they are after every migration. Unqualified: the search path names the schema (`live`, or a rebuild).
--
-- Every row is a function of what the log holds up to a position, never of how it was read: two builds of the same
-- prefix are equal row by row. Positions are ("partition", "offset"); times are UTC; `body` is a record's bytes.

-- name: tables

-- Every record that counts (no repeats), as it stands in the log.
CREATE TABLE timeline (
    "offset"    bigint      NOT NULL,
    key_hash    bigint      NOT NULL,  -- projections.keys.key_hash of (source, id): the cheap way to "have I seen this?"
    occurred    timestamptz NOT NULL,
    recorded    timestamptz,
    "partition" integer     NOT NULL,
    fact        boolean     NOT NULL,  -- a fact about a resident that verdicts rest on
    subject     text COLLATE "C",      -- null: a reference fact
    source      text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    purposes    text[],
    recipient   text COLLATE "C",
    demand_id   text COLLATE "C",
    body        text COLLATE "C" NOT NULL
);

-- Records that repeat an earlier (source, id, subject); `conflict`: with other content. They count for nothing.
CREATE TABLE repeats (
    "partition"    integer NOT NULL,
    "offset"       bigint  NOT NULL,
    first_offset   bigint  NOT NULL,
    conflict       boolean NOT NULL,
    body           text COLLATE "C" NOT NULL,
    PRIMARY KEY ("partition", "offset")
);

-- One verdict for the positions known_from <= K < known_until; null: still the answer.
CREATE TABLE verdicts (
    "offset"       bigint      NOT NULL,
    known_from     bigint      NOT NULL,
    known_until    bigint,
    occurred       timestamptz NOT NULL,
    "partition"    integer     NOT NULL,
    subject        text COLLATE "C" NOT NULL,
    source         text COLLATE "C" NOT NULL,
    id             text COLLATE "C" NOT NULL,
    kind           text COLLATE "C" NOT NULL,
    purposes       text[]      NOT NULL,
    recipient      text COLLATE "C",
    demand_id      text COLLATE "C",
    outcome        text COLLATE "C" NOT NULL,
    first_outcome  text COLLATE "C" NOT NULL,
    policy_id      text COLLATE "C",
    policy_version text COLLATE "C",
    basis          text[]      NOT NULL,
    findings       text COLLATE "C" NOT NULL  -- JSON, as every door sends it
);

-- A consent as the latest (time, position) among its events left it; `given` is the latest giving.
CREATE TABLE consents (
    subject      text COLLATE "C" NOT NULL,
    consent_id   text COLLATE "C" NOT NULL,
    "partition"  integer     NOT NULL,
    state        text        NOT NULL,
    since        timestamptz NOT NULL,
    since_offset bigint      NOT NULL,
    given        timestamptz,
    given_offset bigint,
    source       text COLLATE "C",
    purposes     text[],
    categories   text[],
    operations   text[],
    recipients   text[],
    method       text,
    notice_id    text,
    expires_at   timestamptz,
    PRIMARY KEY (subject, consent_id)
);

CREATE TABLE preferences (
    subject      text COLLATE "C" NOT NULL,
    channel      text COLLATE "C" NOT NULL,
    "partition"  integer     NOT NULL,
    allowed      boolean     NOT NULL,
    since        timestamptz NOT NULL,
    since_offset bigint      NOT NULL,
    PRIMARY KEY (subject, channel)
);

CREATE TABLE anonymity (
    subject      text COLLATE "C" PRIMARY KEY,
    "partition"  integer     NOT NULL,
    anonymous    boolean     NOT NULL,
    since        timestamptz NOT NULL,
    since_offset bigint      NOT NULL
);

-- What is held: a row for each category of each collection. `told`: the declared purposes that the resident had been
-- told by then, under the policy in force then. `erased`: the first erasure, by time, that took it.
CREATE TABLE holdings (
    "offset"      bigint      NOT NULL,
    occurred      timestamptz NOT NULL,
    "partition"   integer     NOT NULL,
    subject       text COLLATE "C" NOT NULL,
    category      text COLLATE "C" NOT NULL,
    source        text COLLATE "C" NOT NULL,
    purposes      text[]      NOT NULL,
    told          text[]      NOT NULL,
    origin        text        NOT NULL,
    notice_id     text,
    erased        timestamptz,
    erased_offset bigint,
    PRIMARY KEY ("partition", "offset", category)
);

-- What was opened and waits, or waited, for an answer: contest, complaint, access, incident, demand, erasure.
-- The first opening by (time, position) counts, and the first answer; of a demand's decisions the latest.
CREATE TABLE cases (
    "partition"     integer NOT NULL,
    kind            text COLLATE "C" NOT NULL,
    case_id         text COLLATE "C" NOT NULL,
    subject         text COLLATE "C",
    opened          timestamptz,
    opened_offset   bigint,
    source          text COLLATE "C",
    what            text,
    about_source    text,
    about_id        text,
    categories      text[],
    resolved        timestamptz,
    resolved_offset bigint,
    outcome         text,
    UNIQUE NULLS NOT DISTINCT ("partition", kind, case_id, subject)
);

-- The rules as they stand: every policy and agreement, the latest word on each service and demand, the first ending.
CREATE TABLE reference_facts (
    "partition" integer     NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    "offset"    bigint      NOT NULL,
    occurred    timestamptz NOT NULL,
    body        text COLLATE "C" NOT NULL,
    PRIMARY KEY ("partition", kind, key)
);

-- Entries that a law forbids to show to their resident before `until`.
CREATE TABLE withheld (
    "partition"  integer     NOT NULL,
    "offset"     bigint      NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    about_source text COLLATE "C" NOT NULL,
    about_id     text COLLATE "C" NOT NULL,
    citation     text        NOT NULL,
    until        timestamptz NOT NULL,
    PRIMARY KEY ("partition", "offset")
);

-- The tree of each partition (RFC 6962, docs/spec/tree.md): how many leaves it has, its frontier (ledger.tree.merkle), and
-- the first offset behind its last leaf. Every record is a leaf, repeats too. Moves with the partition's position.
CREATE TABLE trees (
    "partition"  integer PRIMARY KEY,
    size         bigint  NOT NULL,
    frontier     bytea   NOT NULL,
    next_offset  bigint  NOT NULL
);

-- Which leaf a record is: one row for each run of offsets without a gap, so that
-- leaf index = first_index + ("offset" - first_offset) of the last run that begins at or before the offset.
CREATE TABLE leaf_runs (
    "partition"  integer NOT NULL,
    first_offset bigint  NOT NULL,
    first_index  bigint  NOT NULL,
    PRIMARY KEY ("partition", first_offset)
);

-- Hash tiles (docs/spec/tiles.md): up to 256 hashes of 32 bytes, joined; a partial tile grows where it is.
CREATE TABLE tiles (
    "partition" integer  NOT NULL,
    level       smallint NOT NULL,
    index       bigint   NOT NULL,
    hashes      bytea    NOT NULL,
    PRIMARY KEY ("partition", level, index)
);
ALTER TABLE tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Not a view: partitions that stand still because of a record that cannot be read, or records that are gone.
CREATE TABLE halted (
    "partition" integer PRIMARY KEY,
    "offset"    bigint      NOT NULL,
    code        text        NOT NULL,
    since       timestamptz NOT NULL DEFAULT now()
);

-- Not a view: which worker may write each partition now (projections.assignments). `released`: it has let go by itself.
CREATE TABLE assignments (
    "partition" integer PRIMARY KEY,
    epoch       bigint      NOT NULL,
    worker      text        NOT NULL,
    released    boolean     NOT NULL DEFAULT false,
    since       timestamptz NOT NULL DEFAULT now()
);

-- name: indexes for building
-- There from the beginning: rows arrive in the order of the first two, and few are in the third.
CREATE UNIQUE INDEX timeline_position ON timeline ("partition", "offset");
CREATE UNIQUE INDEX verdicts_position ON verdicts ("partition", "offset", known_from);
CREATE INDEX timeline_reference ON timeline ("partition", "offset") WHERE subject IS NULL;

-- name: indexes for looking up
-- What a live worker asks; a rebuild makes them last, unless its memory does not hold where everything stands.
CREATE INDEX IF NOT EXISTS timeline_key_hash ON timeline (key_hash);
CREATE INDEX IF NOT EXISTS verdicts_open ON verdicts (subject, occurred) WHERE known_until IS NULL;
CREATE INDEX IF NOT EXISTS timeline_facts ON timeline (subject, "offset") WHERE fact;
CREATE INDEX IF NOT EXISTS verdicts_recipient ON verdicts (recipient, occurred)
    WHERE known_until IS NULL AND recipient IS NOT NULL;
CREATE INDEX IF NOT EXISTS verdicts_demand ON verdicts (demand_id, occurred)
    WHERE known_until IS NULL AND demand_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS holdings_subject ON holdings (subject, occurred);

-- name: indexes for reading
-- What only answers need; a rebuild makes them last.
CREATE INDEX IF NOT EXISTS timeline_log ON timeline (subject, occurred, "offset");
CREATE INDEX IF NOT EXISTS cases_subject ON cases (subject);
CREATE INDEX IF NOT EXISTS cases_waiting ON cases (kind, opened, "partition", opened_offset) WHERE resolved IS NULL;
CREATE INDEX IF NOT EXISTS cases_answered ON cases (kind, resolved, "partition", opened_offset)
    WHERE resolved IS NOT NULL;
CREATE INDEX IF NOT EXISTS cases_opened ON cases ("partition", opened_offset);
CREATE INDEX IF NOT EXISTS withheld_about ON withheld (subject, about_source, about_id);
CREATE INDEX IF NOT EXISTS verdicts_not_consistent ON verdicts ("partition", "offset")
    WHERE known_until IS NULL AND outcome <> 'consistent';

-- name: row security
-- Deny by default: a connection that says neither whose data it reads nor that it is an auditor's sees no resident.
ALTER TABLE timeline ENABLE ROW LEVEL SECURITY;
ALTER TABLE repeats ENABLE ROW LEVEL SECURITY;
ALTER TABLE verdicts ENABLE ROW LEVEL SECURITY;
ALTER TABLE consents ENABLE ROW LEVEL SECURITY;
ALTER TABLE preferences ENABLE ROW LEVEL SECURITY;
ALTER TABLE anonymity ENABLE ROW LEVEL SECURITY;
ALTER TABLE holdings ENABLE ROW LEVEL SECURITY;
ALTER TABLE cases ENABLE ROW LEVEL SECURITY;
ALTER TABLE withheld ENABLE ROW LEVEL SECURITY;

CREATE POLICY resident ON timeline FOR SELECT TO ledger_reader USING (subject = current_setting('ledger.subject', true));
CREATE POLICY resident ON verdicts FOR SELECT TO ledger_reader USING (subject = current_setting('ledger.subject', true));
CREATE POLICY resident ON consents FOR SELECT TO ledger_reader USING (subject = current_setting('ledger.subject', true));
CREATE POLICY resident ON preferences FOR SELECT TO ledger_reader USING (subject = current_setting('ledger.subject', true));
CREATE POLICY resident ON anonymity FOR SELECT TO ledger_reader USING (subject = current_setting('ledger.subject', true));
CREATE POLICY resident ON holdings FOR SELECT TO ledger_reader USING (subject = current_setting('ledger.subject', true));
CREATE POLICY resident ON cases FOR SELECT TO ledger_reader USING (subject = current_setting('ledger.subject', true));
CREATE POLICY resident ON withheld FOR SELECT TO ledger_reader USING (subject = current_setting('ledger.subject', true));

CREATE POLICY auditor ON timeline FOR SELECT TO ledger_auditor USING (true);
CREATE POLICY auditor ON repeats FOR SELECT TO ledger_auditor USING (true);
CREATE POLICY auditor ON verdicts FOR SELECT TO ledger_auditor USING (true);
CREATE POLICY auditor ON consents FOR SELECT TO ledger_auditor USING (true);
CREATE POLICY auditor ON preferences FOR SELECT TO ledger_auditor USING (true);
CREATE POLICY auditor ON anonymity FOR SELECT TO ledger_auditor USING (true);
CREATE POLICY auditor ON holdings FOR SELECT TO ledger_auditor USING (true);
CREATE POLICY auditor ON cases FOR SELECT TO ledger_auditor USING (true);
CREATE POLICY auditor ON withheld FOR SELECT TO ledger_auditor USING (true);

-- name: grants
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO ledger_projector;
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO ledger_reader, ledger_auditor;
-- The signer sees hashes, and nothing of anybody.
GRANT SELECT ON {schema}.trees, {schema}.tiles, {schema}.leaf_runs TO ledger_signer;
