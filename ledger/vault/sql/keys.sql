-- Residents' keys (ledger.vault.store).

-- name: for subjects
SELECT subject, key_id, wrapped, wrapping_key_id FROM vault.keys WHERE subject = ANY(%(subjects)s)

-- name: by id
SELECT subject, key_id, wrapped, wrapping_key_id FROM vault.keys WHERE key_id = ANY(%(key_ids)s)

-- name: make
-- Whoever comes second keeps the first one's key: select again after this.
INSERT INTO vault.keys (subject, key_id, wrapped, wrapping_key_id)
SELECT * FROM unnest(%(subjects)s::text[], %(key_ids)s::text[], %(wrapped)s::bytea[], %(wrapping)s::text[])
ON CONFLICT DO NOTHING

-- name: counts
SELECT count(*) FILTER (WHERE wrapped IS NOT NULL AND wrapping_key_id = %(current)s),
       count(*) FILTER (WHERE wrapped IS NOT NULL AND wrapping_key_id <> %(current)s),
       count(*) FILTER (WHERE wrapped IS NULL)
FROM vault.keys

-- name: wrapped by others
SELECT subject, key_id, wrapped, wrapping_key_id
FROM vault.keys
WHERE wrapped IS NOT NULL AND wrapping_key_id <> %(current)s AND subject > %(after)s
ORDER BY subject
LIMIT %(limit)s

-- name: rewrap
-- Only what is still as it was read: a key destroyed meanwhile is not brought back.
UPDATE vault.keys AS k
SET wrapped = r.fresh, wrapping_key_id = %(current)s
FROM unnest(%(subjects)s::text[], %(old)s::bytea[], %(fresh)s::bytea[]) AS r (subject, old, fresh)
WHERE k.subject = r.subject AND k.wrapped = r.old
RETURNING k.subject
