-- What the door asks the views before it appends (projections.index).

-- name: projected
SELECT application_name, max(notification_id) FROM tracking GROUP BY application_name

-- name: find
SELECT "partition", "offset", source, id, body FROM timeline WHERE key_hash = ANY(%(hashes)s::bigint[])

-- name: consent owners
SELECT c.subject, c.consent_id, c.source
FROM unnest(%(subjects)s::text[], %(consent_ids)s::text[]) AS wanted (subject, consent_id)
JOIN consents AS c USING (subject, consent_id)
WHERE c.given IS NOT NULL AND c.source IS NOT NULL

-- name: reference facts
SELECT "partition", "offset", body FROM timeline WHERE subject IS NULL ORDER BY "partition", "offset"

-- name: erasures
-- How far the views reach, and the erasures in them, in one snapshot: rows of two kinds, told apart by their first column.
SELECT application_name, max(notification_id) AS reached, NULL AS case_id, NULL AS subject, NULL::text[] AS categories,
       NULL::integer AS "partition", NULL::bigint AS opened_offset, NULL::bigint AS resolved_offset
FROM tracking GROUP BY application_name
UNION ALL
SELECT NULL, NULL, case_id, subject, categories, "partition", opened_offset, resolved_offset
FROM cases
WHERE kind = 'erasure' AND subject IS NOT NULL
  AND (%(subjects)s::text[] IS NULL OR subject = ANY(%(subjects)s::text[]))

-- name: sealing key
SELECT substring(body FROM '"sealed":\{"key":"([^"]+)"') FROM timeline
WHERE subject = %(subject)s AND body LIKE %(sealed)s
ORDER BY "offset" DESC LIMIT 1

-- name: lock
SELECT pg_advisory_lock(%(key)s)
