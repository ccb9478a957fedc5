-- What goes into an evidence bundle. Asked with an auditor's eyes, of one resident and the rules; bounded by `limit`
-- records and by `bytes`: beyond these a body is null.

-- name: records at
SELECT "offset", body
FROM timeline
WHERE "partition" = %(partition)s AND "offset" = ANY(%(offsets)s::bigint[])
ORDER BY "offset"

-- name: facts until
SELECT "offset", CASE WHEN sum(octet_length(body)) OVER (ORDER BY "offset") <= %(bytes)s THEN body END
FROM (
    SELECT "offset", body FROM timeline
    WHERE "partition" = %(partition)s AND subject IS NULL AND "offset" <= %(until)s
    UNION ALL
    SELECT "offset", body FROM timeline
    WHERE "partition" = %(partition)s AND fact AND subject = %(subject)s AND "offset" <= %(until)s
    ORDER BY "offset"
    LIMIT %(limit)s
) AS found
ORDER BY "offset"

-- name: everything until
-- A repeat is about whomever the record is about that it repeats.
SELECT "offset", CASE WHEN sum(octet_length(body)) OVER (ORDER BY "offset") <= %(bytes)s THEN body END
FROM (
    SELECT "offset", body FROM timeline
    WHERE "partition" = %(partition)s AND subject IS NULL AND "offset" <= %(until)s
    UNION ALL
    SELECT "offset", body FROM timeline
    WHERE "partition" = %(partition)s AND subject = %(subject)s AND "offset" <= %(until)s
    UNION ALL
    SELECT r."offset", r.body
    FROM repeats r
    JOIN timeline t ON t."partition" = r."partition" AND t."offset" = r.first_offset
    WHERE r."partition" = %(partition)s AND r."offset" <= %(until)s
      AND (t.subject IS NULL OR t.subject = %(subject)s)
    ORDER BY "offset"
    LIMIT %(limit)s
) AS found
ORDER BY "offset"

-- name: leaf indexes
SELECT wanted."offset", run.first_index + wanted."offset" - run.first_offset
FROM unnest(%(offsets)s::bigint[]) AS wanted ("offset")
CROSS JOIN LATERAL (
    SELECT r.first_offset, r.first_index
    FROM leaf_runs r
    WHERE r."partition" = %(partition)s AND r.first_offset <= wanted."offset"
    ORDER BY r.first_offset DESC
    LIMIT 1
) AS run

-- name: recorded at
-- One at most: a position either counts or repeats.
SELECT "offset", subject, source, body FROM timeline WHERE "partition" = %(partition)s AND "offset" = %(offset)s
UNION ALL
SELECT r.first_offset, t.subject, t.source, r.body
FROM repeats r
JOIN timeline t ON t."partition" = r."partition" AND t."offset" = r.first_offset
WHERE r."partition" = %(partition)s AND r."offset" = %(offset)s
