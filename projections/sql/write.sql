-- What the worker writes in one transaction with its position.

-- name: lock position
-- Position and epoch in one round trip. Both stay as they are until the transaction ends: a claim waits for it.
SELECT t.notification_id, a.epoch
FROM tracking t CROSS JOIN assignments a
WHERE t.application_name = %(name)s AND a."partition" = %(partition)s
FOR UPDATE OF t FOR SHARE OF a

-- name: copy timeline
COPY timeline ("offset", key_hash, occurred, recorded, "partition", fact, subject, source, id, kind, purposes,
               recipient, demand_id, body) FROM STDIN

-- name: copy repeats
COPY repeats ("partition", "offset", first_offset, conflict, body) FROM STDIN

-- name: copy verdicts
COPY verdicts ("offset", known_from, known_until, occurred, "partition", subject, source, id, kind, purposes,
               recipient, demand_id, outcome, first_outcome, policy_id, policy_version, basis, findings) FROM STDIN

-- name: copy holdings
COPY holdings ("offset", occurred, "partition", subject, category, source, purposes, told, origin, notice_id, erased,
               erased_offset) FROM STDIN

-- name: copy withheld
COPY withheld ("partition", "offset", subject, about_source, about_id, citation, until) FROM STDIN

-- name: advance tree
-- All of a batch's tree in one statement. It counts what it did: less than what was given means that the tree, its runs
-- or its tiles were not as the worker knew them, and the transaction is given up.
WITH tree AS (
    INSERT INTO trees AS held ("partition", size, frontier, next_offset)
    SELECT %(partition)s::integer, %(size)s::bigint, %(frontier)b::bytea, %(next_offset)s::bigint
    WHERE %(old_size)s::bigint = 0 OR EXISTS (SELECT FROM trees WHERE "partition" = %(partition)s::integer)
    ON CONFLICT ("partition") DO UPDATE
    SET size = excluded.size, frontier = excluded.frontier, next_offset = excluded.next_offset
    WHERE held.size = %(old_size)s::bigint AND held.frontier = %(old_frontier)b::bytea
      AND held.next_offset = %(old_next_offset)s::bigint
    RETURNING 1
), runs AS (
    INSERT INTO leaf_runs ("partition", first_offset, first_index)
    SELECT %(partition)s::integer, first_offset, first_index
    FROM unnest(%(run_offsets)s::bigint[], %(run_indexes)s::bigint[]) AS run (first_offset, first_index)
    ON CONFLICT DO NOTHING
    RETURNING 1
), given AS MATERIALIZED (
    SELECT level, index, start, hashes
    FROM unnest(%(levels)s::smallint[], %(indexes)s::bigint[], %(starts)s::integer[], %(hashes)b::bytea[])
         AS given (level, index, start, hashes)
), added AS (
    INSERT INTO tiles ("partition", level, index, hashes)
    SELECT %(partition)s::integer, level, index, hashes FROM given WHERE start = 0
    ON CONFLICT DO NOTHING
    RETURNING 1
), grown AS (
    UPDATE tiles AS held
    SET hashes = held.hashes || given.hashes
    FROM given
    WHERE given.start > 0 AND held."partition" = %(partition)s::integer AND held.level = given.level
      AND held.index = given.index AND octet_length(held.hashes) = given.start
    RETURNING 1
)
SELECT (SELECT count(*) FROM tree), (SELECT count(*) FROM runs),
       (SELECT count(*) FROM added) + (SELECT count(*) FROM grown)

-- name: close verdicts
UPDATE verdicts AS held
SET known_until = closed.known_until
FROM unnest(%(offsets)s::bigint[], %(froms)s::bigint[], %(untils)s::bigint[]) AS closed ("offset", known_from, known_until)
WHERE held."partition" = %(partition)s AND held."offset" = closed."offset" AND held.known_from = closed.known_from

-- name: update holdings
UPDATE holdings AS held
SET told = new.told, erased = new.erased, erased_offset = new.erased_offset
FROM json_populate_recordset(NULL::holdings, %(rows)s::json) AS new
WHERE held."partition" = new."partition" AND held."offset" = new."offset" AND held.category = new.category

-- name: merge consent states
INSERT INTO consents AS held (subject, consent_id, "partition", state, since, since_offset)
SELECT subject, consent_id, "partition", state, since, since_offset
FROM json_populate_recordset(NULL::consents, %(rows)s::json)
ON CONFLICT (subject, consent_id) DO UPDATE
SET state = excluded.state, since = excluded.since, since_offset = excluded.since_offset
WHERE (excluded.since, excluded.since_offset) > (held.since, held.since_offset)

-- name: merge consent givings
UPDATE consents AS held
SET given = new.given, given_offset = new.given_offset, source = new.source, purposes = new.purposes,
    categories = new.categories, operations = new.operations, recipients = new.recipients, method = new.method,
    notice_id = new.notice_id, expires_at = new.expires_at
FROM json_populate_recordset(NULL::consents, %(rows)s::json) AS new
WHERE held.subject = new.subject AND held.consent_id = new.consent_id
  AND (held.given IS NULL OR (new.given, new.given_offset) > (held.given, held.given_offset))

-- name: merge preferences
INSERT INTO preferences AS held
SELECT * FROM json_populate_recordset(NULL::preferences, %(rows)s::json)
ON CONFLICT (subject, channel) DO UPDATE
SET allowed = excluded.allowed, since = excluded.since, since_offset = excluded.since_offset
WHERE (excluded.since, excluded.since_offset) > (held.since, held.since_offset)

-- name: merge anonymity
INSERT INTO anonymity AS held
SELECT * FROM json_populate_recordset(NULL::anonymity, %(rows)s::json)
ON CONFLICT (subject) DO UPDATE
SET anonymous = excluded.anonymous, since = excluded.since, since_offset = excluded.since_offset
WHERE (excluded.since, excluded.since_offset) > (held.since, held.since_offset)

-- name: merge cases
INSERT INTO cases ("partition", kind, case_id, subject)
SELECT "partition", kind, case_id, subject FROM json_populate_recordset(NULL::cases, %(rows)s::json)
ON CONFLICT ("partition", kind, case_id, subject) DO NOTHING

-- name: merge openings
UPDATE cases AS held
SET opened = new.opened, opened_offset = new.opened_offset, source = new.source, what = new.what,
    about_source = new.about_source, about_id = new.about_id, categories = new.categories
FROM json_populate_recordset(NULL::cases, %(rows)s::json) AS new
WHERE held."partition" = new."partition" AND held.kind = new.kind AND held.case_id = new.case_id
  AND held.subject IS NOT DISTINCT FROM new.subject
  AND (held.opened IS NULL OR (new.opened, new.opened_offset) < (held.opened, held.opened_offset))

-- name: merge answers
UPDATE cases AS held
SET resolved = new.resolved, resolved_offset = new.resolved_offset, outcome = new.outcome
FROM json_populate_recordset(NULL::cases, %(rows)s::json) AS new
WHERE held."partition" = new."partition" AND held.kind = new.kind AND held.case_id = new.case_id
  AND held.subject IS NOT DISTINCT FROM new.subject
  AND (held.resolved IS NULL
       OR CASE WHEN held.kind = 'demand'
               THEN (new.resolved, new.resolved_offset) > (held.resolved, held.resolved_offset)
               ELSE (new.resolved, new.resolved_offset) < (held.resolved, held.resolved_offset) END)

-- name: merge reference facts
INSERT INTO reference_facts AS held
SELECT * FROM json_populate_recordset(NULL::reference_facts, %(rows)s::json)
ON CONFLICT ("partition", kind, key) DO UPDATE
SET "offset" = excluded."offset", occurred = excluded.occurred, body = excluded.body
WHERE CASE WHEN held.kind = 'agreement.ended'
           THEN (excluded.occurred, excluded."offset") < (held.occurred, held."offset")
           ELSE (excluded.occurred, excluded."offset") > (held.occurred, held."offset") END

-- name: halt
-- Only by whoever may write the partition, as all that is written of it: no row, nothing is said.
INSERT INTO halted ("partition", "offset", code)
SELECT %(partition)s::integer, %(offset)s::bigint, %(code)s::text
WHERE EXISTS (SELECT FROM assignments WHERE "partition" = %(partition)s::integer AND epoch = %(epoch)s::bigint FOR SHARE)
ON CONFLICT ("partition") DO UPDATE SET "offset" = excluded."offset", code = excluded.code, since = now()
RETURNING 1

-- name: unhalt
DELETE FROM halted
WHERE "partition" = %(partition)s
  AND EXISTS (SELECT FROM assignments WHERE "partition" = %(partition)s AND epoch = %(epoch)s FOR SHARE)
