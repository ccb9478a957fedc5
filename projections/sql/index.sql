-- What the door asks the views before it appends (projections.index).

-- name: projected
SELECT application_name, max(notification_id) FROM tracking GROUP BY application_name

-- name: find
SELECT "partition", "offset", source, id, body FROM timeline WHERE key_hash = ANY(%(hashes)s)

-- name: consent owners
SELECT c.subject, c.consent_id, c.source
FROM unnest(%(subjects)s::text[], %(consent_ids)s::text[]) AS wanted (subject, consent_id)
JOIN consents AS c USING (subject, consent_id)
WHERE c.given IS NOT NULL AND c.source IS NOT NULL

-- name: reference facts
SELECT "partition", "offset", body FROM timeline WHERE subject IS NULL ORDER BY "partition", "offset"

-- name: lock
SELECT pg_advisory_lock(%(key)s)
