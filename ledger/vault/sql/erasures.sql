-- Erasures: what was asked, and how far it has come (ledger.vault.erasures).

-- name: ask
INSERT INTO vault.erasures (erasure_id, subject, categories, state, asked_as, idempotency_key, asked_by, asked_person,
                            asked_time, requested_time)
VALUES (%(erasure_id)s, %(subject)s, %(categories)s, %(state)s, %(asked_as)s, %(idempotency_key)s, %(asked_by)s,
        %(asked_person)s, %(asked_time)s, %(requested_time)s)
ON CONFLICT (asked_as, idempotency_key) DO NOTHING

-- name: of idempotency key
SELECT {columns} FROM vault.erasures WHERE asked_as = %(asked_as)s AND idempotency_key = %(idempotency_key)s
UNION ALL
SELECT {columns} FROM vault.erasures
WHERE erasure_id = (SELECT r.erasure_id FROM vault.erasure_references r
                    WHERE r.asked_as = %(asked_as)s AND r.idempotency_key = %(idempotency_key)s)

-- name: like it
SELECT {columns} FROM vault.erasures
WHERE state = 'in-progress' AND subject = %(subject)s AND categories IS NOT DISTINCT FROM %(categories)s::text[]
ORDER BY asked_time, erasure_id LIMIT 1

-- name: refer
INSERT INTO vault.erasure_references (asked_as, idempotency_key, erasure_id)
VALUES (%(asked_as)s, %(idempotency_key)s, %(erasure_id)s)
ON CONFLICT DO NOTHING

-- name: of id
SELECT {columns} FROM vault.erasures WHERE erasure_id = %(erasure_id)s

-- name: person
SELECT asked_person FROM vault.erasures WHERE erasure_id = %(erasure_id)s

-- name: page
SELECT {columns} FROM vault.erasures
WHERE (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(time)s::text IS NULL OR (asked_time, erasure_id) < (%(time)s, %(erasure_id)s))
ORDER BY asked_time DESC, erasure_id DESC
LIMIT %(limit)s

-- name: unfinished
SELECT {columns} FROM vault.erasures
WHERE state = 'in-progress'
  AND (%(time)s::text IS NULL OR (asked_time, erasure_id) > (%(time)s, %(erasure_id)s))
ORDER BY asked_time, erasure_id
LIMIT %(limit)s

-- name: approve
UPDATE vault.erasures
SET state = 'in-progress', approved_by = %(approved_by)s, requested_time = %(requested_time)s
WHERE erasure_id = %(erasure_id)s AND state = 'awaiting-approval'

-- name: withdraw
UPDATE vault.erasures SET state = 'withdrawn' WHERE erasure_id = %(erasure_id)s AND state = 'awaiting-approval'

-- name: requested
UPDATE vault.erasures SET requested = %(position)s WHERE erasure_id = %(erasure_id)s

-- name: destroy key
-- A resident who never had a key gets a row that says so too: nothing will be sealed for them. A name that another
-- row has is not theirs, whatever a view says.
INSERT INTO vault.keys (subject, key_id, wrapped, wrapping_key_id, destroyed_at)
SELECT %(subject)s,
       CASE WHEN %(key_id)s::text IS NULL OR EXISTS (SELECT FROM vault.keys WHERE key_id = %(key_id)s)
            THEN %(fresh)s ELSE %(key_id)s END,
       NULL, '', now()
ON CONFLICT (subject) DO UPDATE SET wrapped = NULL, destroyed_at = now() WHERE keys.destroyed_at IS NULL

-- name: destroyed
UPDATE vault.erasures SET erased_time = coalesce(erased_time, %(time)s) WHERE erasure_id = %(erasure_id)s

-- name: done
UPDATE vault.erasures SET state = 'done', erased = %(position)s, receipt = coalesce(receipt, %(receipt)s)
WHERE erasure_id = %(erasure_id)s AND state = 'in-progress'

-- name: adopt
-- What the log holds and this table does not, or not yet, because an older backup was restored.
INSERT INTO vault.erasures (erasure_id, subject, categories, state, asked_by, asked_time, requested_time, requested,
                            erased_time, erased)
VALUES (%(erasure_id)s, %(subject)s, %(categories)s, %(state)s, %(asked_by)s, %(requested_time)s, %(requested_time)s,
        %(requested)s, %(erased_time)s, %(erased)s)
ON CONFLICT (erasure_id) DO UPDATE
SET state = excluded.state, requested_time = excluded.requested_time, requested = excluded.requested,
    erased_time = excluded.erased_time, erased = excluded.erased
WHERE erasures.state IN ('awaiting-approval', 'withdrawn')

-- name: unknown
SELECT wanted.erasure_id FROM unnest(%(erasure_ids)s::text[]) AS wanted (erasure_id)
WHERE NOT EXISTS (SELECT FROM vault.erasures e
                  WHERE e.erasure_id = wanted.erasure_id AND e.state IN ('in-progress', 'done'))

-- name: not destroyed
SELECT wanted.subject FROM unnest(%(subjects)s::text[]) AS wanted (subject)
WHERE NOT EXISTS (SELECT FROM vault.keys k WHERE k.subject = wanted.subject AND k.destroyed_at IS NOT NULL)
   OR EXISTS (SELECT FROM vault.logins l WHERE l.subject = wanted.subject)

-- name: known
SELECT EXISTS (SELECT FROM vault.keys WHERE subject = %(subject)s)
    OR EXISTS (SELECT FROM vault.logins WHERE subject = %(subject)s)

-- name: alone
SELECT pg_try_advisory_lock(%(key)s)
