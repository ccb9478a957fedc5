-- Trees, beside the views. Trees begin at the first record, so the views begin again too: nothing but the log is the
-- truth, and the worker reads it again.
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

TRUNCATE timeline, repeats, verdicts, consents, preferences, anonymity, holdings, cases, reference_facts, withheld, halted;
DO $$
BEGIN
    IF to_regclass('tracking') IS NOT NULL THEN
        DELETE FROM tracking;
    END IF;
END $$;
