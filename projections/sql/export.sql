-- What an export reads: whole views, a partition at a time in the order of the log, of events at or after since and
-- before until. `whole`: with what leads to a resident without the ledger's help; else that is not even read.

-- name: schema version
SELECT max(version) FROM schema_version

-- name: counts
SELECT 'timeline', "partition", count(*) FROM timeline
WHERE occurred >= %(since)s::timestamptz AND occurred < %(until)s::timestamptz
GROUP BY "partition"
UNION ALL
SELECT 'verdicts', "partition", count(*) FROM verdicts
WHERE occurred >= %(since)s::timestamptz AND occurred < %(until)s::timestamptz
GROUP BY "partition"

-- name: subjects
-- A verdict is about whom its event is about.
SELECT DISTINCT subject FROM timeline
WHERE subject IS NOT NULL AND occurred >= %(since)s::timestamptz AND occurred < %(until)s::timestamptz

-- name: timeline
SELECT "partition", "offset", subject, kind, source, occurred, recorded, purposes, recipient,
       CASE WHEN %(whole)s THEN id END, CASE WHEN %(whole)s THEN demand_id END, CASE WHEN %(whole)s THEN body END
FROM timeline
WHERE "partition" = %(partition)s AND occurred >= %(since)s::timestamptz AND occurred < %(until)s::timestamptz
ORDER BY "offset"

-- name: verdicts
SELECT "partition", "offset", known_from, known_until, subject, kind, source, occurred, purposes, recipient, outcome,
       first_outcome, policy_id, policy_version, basis, findings,
       CASE WHEN %(whole)s THEN id END, CASE WHEN %(whole)s THEN demand_id END
FROM verdicts
WHERE "partition" = %(partition)s AND occurred >= %(since)s::timestamptz AND occurred < %(until)s::timestamptz
ORDER BY "offset", known_from
