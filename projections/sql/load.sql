-- What the worker asks before it judges a batch.

-- name: position
SELECT notification_id FROM tracking WHERE application_name = %(name)s

-- name: seed position
INSERT INTO tracking (application_name, notification_id) VALUES (%(name)s, 0) ON CONFLICT DO NOTHING

-- name: tree
SELECT t.size, t.frontier, t.next_offset, r.first_offset, r.first_index
FROM (VALUES (%(partition)s::integer)) AS wanted ("partition")
LEFT JOIN trees t USING ("partition")
LEFT JOIN LATERAL (
    SELECT first_offset, first_index
    FROM leaf_runs
    WHERE leaf_runs."partition" = wanted."partition"
    ORDER BY first_offset DESC
    LIMIT 1
) AS r ON true

-- name: tree edge
SELECT t.level, t.index, t.hashes
FROM unnest(%(starts)s::bigint[]) WITH ORDINALITY AS edge (start, number)
CROSS JOIN LATERAL (
    SELECT level, index, hashes
    FROM tiles
    WHERE "partition" = %(partition)s AND level = edge.number - 1 AND index >= edge.start
    ORDER BY index
    LIMIT 2
) AS t

-- name: first records
SELECT "offset", source, id, subject, body
FROM timeline
WHERE key_hash = ANY(%(hashes)s::bigint[]) AND "partition" = %(partition)s

-- name: reference facts
SELECT "offset", body FROM timeline WHERE "partition" = %(partition)s AND subject IS NULL ORDER BY "offset"

-- name: facts
SELECT "offset", body
FROM timeline
WHERE fact AND subject = ANY(%(subjects)s::text[]) AND "partition" = %(partition)s
ORDER BY subject, "offset"

-- name: latest judged
SELECT wanted.subject, (extract(epoch FROM latest.occurred) * 1000000)::bigint
FROM unnest(%(subjects)s::text[]) AS wanted (subject)
CROSS JOIN LATERAL (
    SELECT v.occurred
    FROM verdicts v
    WHERE v.subject = wanted.subject AND v.known_until IS NULL
    ORDER BY v.occurred DESC
    LIMIT 1
) AS latest

-- name: open rows of residents
SELECT v."offset", v.known_from, v.subject, v.outcome, v.first_outcome, v.policy_id, v.policy_version, v.basis,
       v.findings, t.body
FROM unnest(%(subjects)s::text[], %(sinces)s::timestamptz[]) AS late (subject, since)
JOIN verdicts v ON v.subject = late.subject AND v.occurred >= late.since AND v.known_until IS NULL
JOIN timeline t ON t."partition" = v."partition" AND t."offset" = v."offset"
WHERE v."partition" = %(partition)s

-- name: open rows by recipient
SELECT v."offset", v.known_from, v.subject, v.outcome, v.first_outcome, v.policy_id, v.policy_version, v.basis,
       v.findings, t.body
FROM verdicts v
JOIN timeline t ON t."partition" = v."partition" AND t."offset" = v."offset"
WHERE v.recipient = ANY(%(ids)s::text[]) AND v.occurred >= %(since)s AND v.known_until IS NULL
  AND v."partition" = %(partition)s

-- name: open rows by demand
SELECT v."offset", v.known_from, v.subject, v.outcome, v.first_outcome, v.policy_id, v.policy_version, v.basis,
       v.findings, t.body
FROM verdicts v
JOIN timeline t ON t."partition" = v."partition" AND t."offset" = v."offset"
WHERE v.demand_id = ANY(%(ids)s::text[]) AND v.occurred >= %(since)s AND v.known_until IS NULL
  AND v."partition" = %(partition)s

-- name: open rows by all
SELECT v."offset", v.known_from, v.subject, v.outcome, v.first_outcome, v.policy_id, v.policy_version, v.basis,
       v.findings, t.body
FROM verdicts v
JOIN timeline t ON t."partition" = v."partition" AND t."offset" = v."offset"
WHERE v."partition" = %(partition)s AND v.occurred >= %(since)s AND v.known_until IS NULL

-- name: holdings after notices
SELECT h."offset", (extract(epoch FROM h.occurred) * 1000000)::bigint, h.subject, h.category, h.purposes, h.told,
       h.erased_offset
FROM unnest(%(subjects)s::text[], %(sinces)s::timestamptz[]) AS late (subject, since)
JOIN holdings h ON h.subject = late.subject AND h.occurred >= late.since
WHERE h."partition" = %(partition)s

-- name: holdings before erasures
SELECT h."offset", (extract(epoch FROM h.occurred) * 1000000)::bigint, h.subject, h.category, h.purposes, h.told,
       h.erased_offset
FROM unnest(%(subjects)s::text[], %(untils)s::timestamptz[]) AS late (subject, until)
JOIN holdings h ON h.subject = late.subject AND h.occurred <= late.until
WHERE h."partition" = %(partition)s

-- name: holdings under policies
SELECT h."offset", (extract(epoch FROM h.occurred) * 1000000)::bigint, h.subject, h.category, h.purposes, h.told,
       h.erased_offset
FROM holdings h
WHERE h."partition" = %(partition)s AND h.occurred >= %(since)s

-- name: records at
-- By position, as a rebuild asks: it keeps in memory where everything stands (projections.places).
SELECT "offset", source, id, subject, body
FROM timeline
WHERE "partition" = %(partition)s AND "offset" = ANY(%(offsets)s::bigint[])

-- name: bodies at
SELECT "offset", body
FROM timeline
WHERE "partition" = %(partition)s AND "offset" = ANY(%(offsets)s::bigint[])
ORDER BY "offset"

-- name: open rows at
SELECT v."offset", v.known_from, v.subject, v.outcome, v.first_outcome, v.policy_id, v.policy_version, v.basis,
       v.findings, t.body
FROM verdicts v
JOIN timeline t ON t."partition" = v."partition" AND t."offset" = v."offset"
WHERE v."partition" = %(partition)s AND v."offset" = ANY(%(offsets)s::bigint[]) AND v.known_until IS NULL

-- name: holdings at
SELECT h."offset", (extract(epoch FROM h.occurred) * 1000000)::bigint, h.subject, h.category, h.purposes, h.told,
       h.erased_offset
FROM holdings h
WHERE h."partition" = %(partition)s AND h."offset" = ANY(%(offsets)s::bigint[])

-- name: places of records
SELECT "offset", key_hash, fact, subject FROM timeline WHERE "partition" = %(partition)s ORDER BY "offset"

-- name: places of verdicts
SELECT "offset", (extract(epoch FROM occurred) * 1000000)::bigint, subject, recipient, demand_id
FROM verdicts
WHERE "partition" = %(partition)s AND known_from = "offset"
ORDER BY "offset"

-- name: places of holdings
SELECT DISTINCT "offset", (extract(epoch FROM occurred) * 1000000)::bigint, subject
FROM holdings
WHERE "partition" = %(partition)s
ORDER BY "offset"
