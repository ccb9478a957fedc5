-- Who is signed in (ledger.vault.sessions). A token is known here by its SHA-256 alone: it is 256 random bits.

-- name: begin
INSERT INTO vault.sessions (token, client_id, subject, scopes, language, development, expires)
VALUES (%(token)s, %(client_id)s, %(subject)s, %(scopes)s::jsonb, %(language)s, %(development)s,
        now() + make_interval(secs => %(lifetime_s)s))

-- name: find
-- An unused session ends by itself. `seen` moves once a minute at most: a page is no write.
WITH found AS (
    SELECT * FROM vault.sessions
    WHERE token = %(token)s AND expires > now() AND seen > now() - make_interval(secs => %(idle_s)s)
), touched AS (
    UPDATE vault.sessions AS held SET seen = now()
    FROM found
    WHERE held.token = found.token AND found.seen < now() - interval '1 minute'
)
SELECT client_id, subject, scopes::text, language, development FROM found

-- name: end
DELETE FROM vault.sessions WHERE token = %(token)s

-- name: forget
DELETE FROM vault.sessions WHERE subject = %(subject)s

-- name: prune
DELETE FROM vault.sessions
WHERE expires <= now() OR seen <= now() - make_interval(secs => %(idle_s)s)

-- name: leave
INSERT INTO vault.sign_ins (state, provider, nonce, verifier, destination, expires)
VALUES (%(state)s, %(provider)s, %(nonce)s, %(verifier)s, %(destination)s, now() + make_interval(secs => %(wait_s)s))

-- name: return
DELETE FROM vault.sign_ins WHERE state = %(state)s
RETURNING provider, nonce, verifier, destination, expires > now()

-- name: prune departures
DELETE FROM vault.sign_ins WHERE expires <= now()
