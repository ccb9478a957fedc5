-- Cases beyond one resident's list (projections.cases). An incident without a resident stands in every partition; the
-- queue has it once.

-- name: waiting
SELECT k.due, k."partition", k.kind, k.case_id, k.subject, k.opened, k.opened_offset, k.source, k.what, k.about_source,
       k.about_id, k.categories, k.resolved, k.resolved_offset, k.outcome
FROM unnest(%(kinds)s::text[], %(days)s::integer[]) AS asked (kind, days)
CROSS JOIN LATERAL (
    SELECT c.opened + make_interval(days => asked.days) AS due, c.*
    FROM cases c
    WHERE c.kind = asked.kind AND c.resolved IS NULL AND c.opened IS NOT NULL
      AND (c.subject IS NOT NULL OR c."partition" = 0)
      AND (c.opened, c."partition", c.opened_offset)
        > (%(at)s::timestamptz - make_interval(days => asked.days), %(partition)s::integer, %(offset)s::bigint)
    ORDER BY c.opened, c."partition", c.opened_offset
    LIMIT %(limit)s
) AS k
ORDER BY k.due, k."partition", k.opened_offset
LIMIT %(limit)s

-- name: answered
SELECT k.due, k."partition", k.kind, k.case_id, k.subject, k.opened, k.opened_offset, k.source, k.what, k.about_source,
       k.about_id, k.categories, k.resolved, k.resolved_offset, k.outcome
FROM unnest(%(kinds)s::text[], %(days)s::integer[]) AS asked (kind, days)
CROSS JOIN LATERAL (
    SELECT c.opened + make_interval(days => asked.days) AS due, c.*
    FROM cases c
    WHERE c.kind = asked.kind AND c.resolved IS NOT NULL AND c.opened IS NOT NULL
      AND (c.subject IS NOT NULL OR c."partition" = 0)
      AND (c.resolved, c."partition", c.opened_offset)
        < (%(at)s::timestamptz, %(partition)s::integer, %(offset)s::bigint)
    ORDER BY c.resolved DESC, c."partition" DESC, c.opened_offset DESC
    LIMIT %(limit)s
) AS k
ORDER BY k.resolved DESC, k."partition" DESC, k.opened_offset DESC
LIMIT %(limit)s

-- name: opened at
SELECT c.opened + make_interval(days => asked.days), c."partition", c.kind, c.case_id, c.subject, c.opened,
       c.opened_offset, c.source, c.what, c.about_source, c.about_id, c.categories, c.resolved, c.resolved_offset,
       c.outcome
FROM timeline t
JOIN cases c ON c."partition" = t."partition" AND c.opened_offset = t."offset"
            AND c.subject IS NOT DISTINCT FROM t.subject
JOIN unnest(%(kinds)s::text[], %(days)s::integer[]) AS asked (kind, days) ON asked.kind = c.kind
WHERE t."partition" = %(partition)s AND t."offset" = %(offset)s

-- name: records
SELECT "offset", body FROM timeline WHERE "partition" = %(partition)s AND "offset" = ANY(%(offsets)s::bigint[])

-- name: incidents of nobody
SELECT "partition", kind, case_id, subject, opened, opened_offset, source, what, about_source, about_id, categories,
       resolved, resolved_offset, outcome
FROM cases
WHERE "partition" = %(partition)s AND kind = 'incident' AND subject IS NULL AND opened IS NOT NULL
ORDER BY opened_offset
