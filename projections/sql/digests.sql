-- Over the rows of one view (a statement of compare.sql): which parts of two builds differ, found where the rows are.

-- name: digests of buckets
SELECT hashtextextended("key"::text, 0) & (%(buckets)s - 1), count(*),
       sha256(string_agg(sha256(convert_to("row", 'UTF8')), ''::bytea ORDER BY "key"))
FROM ({rows}) AS view ("key", "position", "row")
GROUP BY 1

-- name: rows of buckets
SELECT "key", "position", "row"
FROM ({rows}) AS view ("key", "position", "row")
WHERE hashtextextended("key"::text, 0) & (%(buckets)s - 1) = ANY (%(some)s::bigint[])
