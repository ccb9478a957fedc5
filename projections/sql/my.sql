-- What a resident's front page counts. Runs as the resident: row-level security decides what can be seen.

-- name: uses
-- Uses and shares since a moment by today's outcome, without those that a law holds back.
SELECT v.outcome, count(*)
FROM verdicts v
WHERE v.subject = %(subject)s AND v.known_until IS NULL AND v.occurred >= %(since)s::timestamptz
  AND v.kind IN ('data.used', 'data.shared')
  AND NOT EXISTS (SELECT FROM withheld w
                  WHERE w.subject = v.subject AND w.about_source = v.source AND w.about_id = v.id
                    AND w.until > %(now)s::timestamptz)
GROUP BY v.outcome

-- name: last recorded
-- When the last record of a partition that the views have was recorded.
SELECT recorded FROM timeline
WHERE "partition" = %(partition)s ORDER BY "offset" DESC LIMIT 1

-- name: reporting
-- Which of these sources have said anything at all.
SELECT source FROM unnest(%(sources)s::text[]) AS source
WHERE EXISTS (SELECT FROM timeline t WHERE t.source = source.source AND t.subject IS NOT NULL)

-- name: findings
SELECT v."offset", v.findings
FROM unnest(%(offsets)s::bigint[]) AS asked ("offset")
JOIN verdicts v ON v."partition" = %(partition)s AND v."offset" = asked."offset" AND v.known_until IS NULL
