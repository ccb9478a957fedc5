-- What an audit asks of the views, as an auditor, in one read-only snapshot (projections.audit).

-- name: limits
-- A summary reads every verdict of its period, so it may take this long and no longer. It adds up in memory, and in
-- parallel: the planner takes days for as many as rows, and would sort them or leave all to one process.
SELECT set_config('statement_timeout', %(timeout)s, true), set_config('work_mem', '64MB', true),
       set_config('parallel_setup_cost', '0', true), set_config('parallel_tuple_cost', '0', true)

-- name: summary
-- A row for each group: everything (''), then each purpose, service, kind and period, those with most verdicts first.
WITH judged AS MATERIALIZED (
    -- date_bin is arithmetic; date_trunc or a time zone would take as long as all the rest.
    SELECT source, kind, purposes, date_bin('1 day', occurred, '1970-01-01T00:00:00Z') AS day, outcome,
           first_outcome <> outcome AS changed, count(*) AS n
    FROM verdicts
    WHERE known_until IS NULL
      AND occurred >= %(since)s::timestamptz
      AND occurred < %(until)s::timestamptz
      AND (%(source)s::text IS NULL OR source = %(source)s::text)
      AND (%(purpose)s::text IS NULL OR %(purpose)s::text = ANY(purposes))
      AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
      AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s::text)
    GROUP BY 1, 2, 3, 4, 5, 6
),
named AS (
    SELECT '' AS what, '' COLLATE "C" AS name, outcome, changed, n FROM judged
    UNION ALL SELECT 'purpose', purpose, outcome, changed, n FROM judged CROSS JOIN unnest(purposes) AS purpose
    UNION ALL SELECT 'service', source, outcome, changed, n FROM judged
    UNION ALL SELECT 'kind', kind, outcome, changed, n FROM judged
    UNION ALL SELECT 'period', to_char(day AT TIME ZONE 'UTC', %(written)s), outcome, changed, n FROM judged
),
counted AS (
    SELECT what, name,
           coalesce(sum(n) FILTER (WHERE outcome = 'consistent'), 0)::bigint AS consistent,
           coalesce(sum(n) FILTER (WHERE outcome = 'inconsistent'), 0)::bigint AS inconsistent,
           coalesce(sum(n) FILTER (WHERE outcome = 'undetermined'), 0)::bigint AS undetermined,
           coalesce(sum(n) FILTER (WHERE changed), 0)::bigint AS changed,
           row_number() OVER (PARTITION BY what ORDER BY sum(n) DESC, name COLLATE "C") AS rank,
           count(*) OVER (PARTITION BY what) AS groups
    FROM named
    GROUP BY what, name
)
SELECT what, name, consistent, inconsistent, undetermined, changed, groups
FROM counted
WHERE rank <= %(groups)s
ORDER BY what, rank

-- name: complaints
SELECT count(*) FILTER (WHERE resolved IS NULL), count(*) FILTER (WHERE resolved IS NOT NULL)
FROM cases
WHERE kind = 'complaint'
  AND opened >= %(since)s::timestamptz
  AND opened < %(until)s::timestamptz
  AND (%(source)s::text IS NULL OR source = %(source)s::text)

-- name: page
-- In log order, from behind (after_partition, after_offset). At most `scan` verdicts are looked at, so a page takes the
-- same time whatever is asked for; how many were, and the last of them, come along: the next page begins behind it.
-- `rare`: along the index of those that are not consistent, which are few, and what is looked for.
WITH looked_at AS MATERIALIZED (
    (SELECT "partition", "offset", known_from, kind, source, occurred, purposes, outcome, first_outcome
     FROM verdicts
     WHERE %(rare)s::boolean AND known_until IS NULL AND outcome <> 'consistent'
       AND ("partition", "offset") > (%(after_partition)s::integer, %(after_offset)s::bigint)
     ORDER BY "partition", "offset"
     LIMIT %(scan)s)
    UNION ALL
    (SELECT "partition", "offset", known_from, kind, source, occurred, purposes, outcome, first_outcome
     FROM verdicts
     WHERE NOT %(rare)s::boolean AND known_until IS NULL
       AND ("partition", "offset") > (%(after_partition)s::integer, %(after_offset)s::bigint)
     ORDER BY "partition", "offset"
     LIMIT %(scan)s)
),
wanted AS (
    SELECT * FROM looked_at
    WHERE occurred >= %(since)s::timestamptz
      AND occurred < %(until)s::timestamptz
      AND (%(source)s::text IS NULL OR source = %(source)s::text)
      AND (%(purpose)s::text IS NULL OR %(purpose)s::text = ANY(purposes))
      AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
      AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s::text)
    ORDER BY "partition", "offset"
    LIMIT %(limit)s
),
last AS (
    SELECT "partition", "offset" FROM looked_at ORDER BY "partition" DESC, "offset" DESC LIMIT 1
)
SELECT (SELECT count(*) FROM looked_at), last."partition", last."offset", w."partition", w."offset", w.source, w.kind,
       w.occurred, w.purposes, w.outcome, w.first_outcome, v.findings
FROM last
LEFT JOIN wanted w ON true
LEFT JOIN verdicts v ON v."partition" = w."partition" AND v."offset" = w."offset" AND v.known_from = w.known_from
ORDER BY w."partition", w."offset"
