-- What the doors ask of the views. Every statement runs as one resident (ledger.subject) or as an auditor, in one
-- read-only snapshot; row-level security decides what can be seen, the WHERE clauses only what is asked for.
--
-- `verdict` and `log page` are asked most, so each says by itself whose eyes it has, and is one round trip. That they are
-- set before any row is looked at is no luck: OFFSET 0 keeps `asked` a subquery of its own, and what refers to it
-- (LATERAL) can only run once it has its row. Were it otherwise, nothing would be seen.

-- name: begin
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: see as resident
SELECT set_config('ledger.subject', %(eyes)s, true)

-- name: see as auditor
SET ROLE ledger_auditor

-- name: projected
SELECT application_name, notification_id FROM tracking WHERE application_name LIKE 'ledger[%%'

-- name: halted
SELECT "partition", "offset", code, since FROM halted ORDER BY "partition"

-- name: log page
-- Newest first, from before (before, before_offset) on: the last entry of the page that came before. With it how far the
-- view reaches, and whether any law holds back, or held, something from the reader; one row at least. The latest verdict
-- is the one that is open: asked for as `known_until IS NULL`, while its statistics are old the planner may fetch all of
-- a resident's open verdicts for it.
SELECT asked.reached, asked.withholds, e.*
FROM (
    SELECT set_config('ledger.subject', %(eyes)s, true) IS NOT NULL AS seen,
           coalesce((SELECT notification_id FROM tracking WHERE application_name = %(application)s), 0) AS reached
    OFFSET 0
) AS eyes
CROSS JOIN LATERAL (
    SELECT eyes.seen, eyes.reached, EXISTS (SELECT FROM withheld w WHERE eyes.seen AND w.subject = %(eyes)s) AS withholds
    OFFSET 0
) AS asked
LEFT JOIN LATERAL (
    SELECT t."partition", t."offset", t.kind, t.source, t.id, t.occurred, t.body, v.outcome, v.first_outcome
    FROM timeline t
    LEFT JOIN LATERAL (
        SELECT outcome, first_outcome FROM verdicts
        WHERE "partition" = t."partition" AND "offset" = t."offset"
        ORDER BY known_from DESC
        LIMIT 1
    ) AS v ON true
    WHERE asked.seen
      AND t.subject = %(subject)s
      AND (t.occurred, t."offset") < (%(before)s::timestamptz, %(before_offset)s::bigint)
    ORDER BY t.occurred DESC, t."offset" DESC
    LIMIT %(limit)s
) AS e ON true
ORDER BY e.occurred DESC, e."offset" DESC

-- name: log page, filtered
SELECT asked.reached, asked.withholds, e.*
FROM (
    SELECT set_config('ledger.subject', %(eyes)s, true) IS NOT NULL AS seen,
           coalesce((SELECT notification_id FROM tracking WHERE application_name = %(application)s), 0) AS reached
    OFFSET 0
) AS eyes
CROSS JOIN LATERAL (
    SELECT eyes.seen, eyes.reached, EXISTS (SELECT FROM withheld w WHERE eyes.seen AND w.subject = %(eyes)s) AS withholds
    OFFSET 0
) AS asked
LEFT JOIN LATERAL (
    SELECT t."partition", t."offset", t.kind, t.source, t.id, t.occurred, t.body, v.outcome, v.first_outcome
    FROM timeline t
    LEFT JOIN LATERAL (
        SELECT outcome, first_outcome FROM verdicts
        WHERE "partition" = t."partition" AND "offset" = t."offset"
        ORDER BY known_from DESC
        LIMIT 1
    ) AS v ON true
    WHERE asked.seen
      AND t.subject = %(subject)s
      AND (t.occurred, t."offset") < (%(before)s::timestamptz, %(before_offset)s::bigint)
      AND t.occurred >= %(since)s::timestamptz
      AND t.occurred < %(until)s::timestamptz
      AND (%(source)s::text IS NULL OR t.source = %(source)s::text)
      AND (%(purpose)s::text IS NULL OR %(purpose)s::text = ANY(t.purposes))
      AND (%(kind)s::text IS NULL OR t.kind = %(kind)s::text)
      AND (%(outcome)s::text IS NULL OR v.outcome = %(outcome)s::text)
    ORDER BY t.occurred DESC, t."offset" DESC
    LIMIT %(limit)s
) AS e ON true
ORDER BY e.occurred DESC, e."offset" DESC

-- name: known
SELECT EXISTS (SELECT FROM timeline WHERE subject = %(subject)s)

-- name: unknown
SELECT s.subject FROM unnest(%(subjects)s::text[]) AS s (subject)
WHERE NOT EXISTS (SELECT FROM timeline t WHERE t.subject = s.subject)

-- name: record
SELECT t."partition", t."offset", t.subject, t.kind, t.source, t.id, t.occurred, t.body
FROM timeline t
WHERE t."partition" = %(partition)s AND t."offset" = %(offset)s

-- name: records at
SELECT t."partition", t."offset", t.subject, t.kind, t.source, t.id, t.occurred, t.body
FROM timeline t
WHERE t."partition" = %(partition)s AND t."offset" = ANY(%(offsets)s::bigint[])
ORDER BY t."offset"

-- name: repeat
SELECT first_offset, conflict, body FROM repeats WHERE "partition" = %(partition)s AND "offset" = %(offset)s

-- name: records by id
SELECT t."partition", t."offset", t.subject, t.kind, t.source, t.id, t.occurred, t.body
FROM timeline t
WHERE t.key_hash = %(hash)s AND t.source = %(source)s AND t.id = %(id)s
ORDER BY t."partition", t."offset"

-- name: verdict
-- The row whose span holds known_at (null: the last position that the view has). With it how far the view reaches, and
-- whether any law holds back, or held, something from the reader; one row, always.
SELECT eyes.reached, EXISTS (SELECT FROM withheld w WHERE eyes.seen AND w.subject = %(eyes)s), e.*
FROM (
    SELECT set_config('ledger.subject', %(eyes)s, true) IS NOT NULL AS seen,
           coalesce((SELECT notification_id FROM tracking WHERE application_name = %(application)s), 0) AS reached
    OFFSET 0
) AS eyes
LEFT JOIN LATERAL (
    SELECT v."partition", v."offset", v.known_from, v.known_until, v.subject, v.source, v.id, v.kind, v.outcome,
           v.first_outcome, v.policy_id, v.policy_version, v.basis, v.findings, t.body
    FROM verdicts v
    JOIN timeline t ON t."partition" = v."partition" AND t."offset" = v."offset"
    WHERE eyes.seen
      AND v."partition" = %(partition)s AND v."offset" = %(offset)s
      AND v.known_from <= coalesce(%(known_at)s::bigint, eyes.reached - 1)
      AND (v.known_until IS NULL OR coalesce(%(known_at)s::bigint, eyes.reached - 1) < v.known_until)
    OFFSET 0
) AS e ON true

-- name: verdict history
SELECT v."partition", v."offset", v.known_from, v.known_until, v.subject, v.source, v.id, v.kind, v.outcome,
       v.first_outcome, v.policy_id, v.policy_version, v.basis, v.findings, t.body
FROM verdicts v
JOIN timeline t ON t."partition" = v."partition" AND t."offset" = v."offset"
WHERE v."partition" = %(partition)s AND v."offset" = %(offset)s AND v.known_from >= %(since)s
ORDER BY v.known_from
LIMIT %(limit)s

-- name: consents
SELECT consent_id, "partition", state, since, since_offset, given_offset, source, purposes, categories, operations,
       recipients, method, notice_id, expires_at
FROM consents
WHERE subject = %(subject)s
ORDER BY consent_id

-- name: preferences
SELECT channel, "partition", allowed, since, since_offset FROM preferences WHERE subject = %(subject)s ORDER BY channel

-- name: anonymity
SELECT "partition", anonymous, since, since_offset FROM anonymity WHERE subject = %(subject)s

-- name: holdings
SELECT "partition", "offset", occurred, category, source, purposes, told, origin, notice_id, erased, erased_offset
FROM holdings
WHERE subject = %(subject)s
ORDER BY category, occurred, "offset"

-- name: cases
SELECT "partition", kind, case_id, subject, opened, opened_offset, source, what, about_source, about_id, categories,
       resolved, resolved_offset, outcome
FROM cases
WHERE subject = %(subject)s
ORDER BY kind, case_id

-- name: reference facts
SELECT "partition", "offset", kind, key, occurred, body
FROM reference_facts
WHERE "partition" = %(partition)s AND kind = %(kind)s
ORDER BY "offset"

-- name: withheld
-- Only of events that are there: what a law is to hold back may still be on its way.
SELECT DISTINCT ON (w.about_source, w.about_id) t."offset", w.about_source, w.about_id, w.citation, w.until
FROM withheld w
JOIN timeline t ON t.subject = w.subject AND t.source = w.about_source AND t.id = w.about_id
WHERE w.subject = %(subject)s
ORDER BY w.about_source, w.about_id, w.until DESC, w."offset" DESC

-- name: facts
SELECT "offset", subject, body FROM timeline WHERE "partition" = %(partition)s AND subject IS NULL
UNION ALL
SELECT "offset", subject, body FROM timeline WHERE "partition" = %(partition)s AND fact AND subject = %(subject)s
ORDER BY "offset"
