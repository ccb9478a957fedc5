-- Each view in the order of its key, for replay --compare: the key as text that sorts as the server sorts it (every
-- key column is an integer, padded, or text in the "C" collation); the position P-O of a record that the row comes from;
-- then the whole row as text. Where no single record is one row's (tiles), the position is null.

-- name: timeline
SELECT ARRAY[lpad("partition"::text, 10, '0'), lpad("offset"::text, 20, '0')], "partition" || '-' || "offset", t::text
FROM timeline t ORDER BY "partition", "offset"

-- name: repeats
SELECT ARRAY[lpad("partition"::text, 10, '0'), lpad("offset"::text, 20, '0')], "partition" || '-' || "offset", t::text
FROM repeats t ORDER BY "partition", "offset"

-- name: verdicts
SELECT ARRAY[lpad("partition"::text, 10, '0'), lpad("offset"::text, 20, '0'), lpad(known_from::text, 20, '0')],
       "partition" || '-' || "offset", t::text
FROM verdicts t ORDER BY "partition", "offset", known_from

-- name: consents
SELECT ARRAY[subject, consent_id], "partition" || '-' || since_offset, t::text
FROM consents t ORDER BY subject, consent_id

-- name: preferences
SELECT ARRAY[subject, channel], "partition" || '-' || since_offset, t::text
FROM preferences t ORDER BY subject, channel

-- name: anonymity
SELECT ARRAY[subject], "partition" || '-' || since_offset, t::text FROM anonymity t ORDER BY subject

-- name: holdings
SELECT ARRAY[lpad("partition"::text, 10, '0'), lpad("offset"::text, 20, '0'), category],
       "partition" || '-' || "offset", t::text
FROM holdings t ORDER BY "partition", "offset", category

-- name: cases
SELECT ARRAY[lpad("partition"::text, 10, '0'), kind, case_id, coalesce(subject, '')],
       "partition" || '-' || coalesce(opened_offset, resolved_offset), t::text
FROM cases t ORDER BY "partition", kind, case_id, coalesce(subject, '')

-- name: reference_facts
SELECT ARRAY[lpad("partition"::text, 10, '0'), kind, key], "partition" || '-' || "offset", t::text
FROM reference_facts t ORDER BY "partition", kind, key

-- name: withheld
SELECT ARRAY[lpad("partition"::text, 10, '0'), lpad("offset"::text, 20, '0')], "partition" || '-' || "offset", t::text
FROM withheld t ORDER BY "partition", "offset"

-- name: trees
SELECT ARRAY[lpad("partition"::text, 10, '0')], "partition" || '-' || next_offset - 1, t::text
FROM trees t ORDER BY "partition"

-- name: leaf_runs
SELECT ARRAY[lpad("partition"::text, 10, '0'), lpad(first_offset::text, 20, '0')],
       "partition" || '-' || first_offset, t::text
FROM leaf_runs t ORDER BY "partition", first_offset

-- name: tiles
SELECT ARRAY[lpad("partition"::text, 10, '0'), lpad(level::text, 2, '0'), lpad(index::text, 20, '0')], NULL, t::text
FROM tiles t ORDER BY "partition", level, index
