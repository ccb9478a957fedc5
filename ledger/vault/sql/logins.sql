-- The login map (ledger.vault.logins).

-- name: map key
SELECT key_id, wrapped, wrapping_key_id FROM vault.map_key

-- name: make map key
INSERT INTO vault.map_key (key_id, wrapped, wrapping_key_id) VALUES (%(key_id)s, %(wrapped)s, %(wrapping)s)
ON CONFLICT DO NOTHING

-- name: rewrap map key
UPDATE vault.map_key SET wrapped = %(fresh)s, wrapping_key_id = %(current)s WHERE wrapped = %(old)s
RETURNING key_id

-- name: find
SELECT subject FROM vault.logins WHERE login = %(login)s

-- name: add
INSERT INTO vault.logins (login, subject) VALUES (%(login)s, %(subject)s)
ON CONFLICT DO NOTHING

-- name: lock
-- Whoever adds a login for a resident, and whoever destroys theirs, waits for the other.
SELECT pg_advisory_xact_lock(hashtextextended('consent-ledger logins ' || %(subject)s, 0))

-- name: destroyed
SELECT subject FROM vault.keys WHERE subject = %(subject)s AND destroyed_at IS NOT NULL

-- name: forget
DELETE FROM vault.logins WHERE subject = %(subject)s
