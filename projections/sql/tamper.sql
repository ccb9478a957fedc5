-- How somebody with the owner's password would change one row of a view, for `dev tamper row`: each in a way that looks
-- right by itself. `position` is the record that the row comes from. Each answers with how many rows it changed.

-- name: body of timeline
SELECT body FROM timeline WHERE "partition" = %(partition)s AND "offset" = %(offset)s

-- name: body of repeats
SELECT body FROM repeats WHERE "partition" = %(partition)s AND "offset" = %(offset)s

-- name: body of reference_facts
SELECT body FROM reference_facts WHERE "partition" = %(partition)s AND "offset" = %(offset)s

-- name: timeline
-- The record reads otherwise.
UPDATE timeline SET body = %(body)s WHERE "partition" = %(partition)s AND "offset" = %(offset)s

-- name: repeats
UPDATE repeats SET body = %(body)s WHERE "partition" = %(partition)s AND "offset" = %(offset)s

-- name: reference_facts
UPDATE reference_facts SET body = %(body)s WHERE "partition" = %(partition)s AND "offset" = %(offset)s

-- name: verdicts
-- Another outcome.
UPDATE verdicts SET outcome = CASE outcome WHEN 'consistent' THEN 'inconsistent' ELSE 'consistent' END
WHERE "partition" = %(partition)s AND "offset" = %(offset)s AND known_until IS NULL

-- name: consents
-- Given becomes withdrawn, and withdrawn given.
UPDATE consents SET state = CASE state WHEN 'given' THEN 'withdrawn' ELSE 'given' END
WHERE "partition" = %(partition)s AND %(offset)s IN (since_offset, given_offset)

-- name: preferences
UPDATE preferences SET allowed = NOT allowed WHERE "partition" = %(partition)s AND since_offset = %(offset)s

-- name: anonymity
UPDATE anonymity SET anonymous = NOT anonymous WHERE "partition" = %(partition)s AND since_offset = %(offset)s

-- name: holdings
-- As if the resident had been told of one more purpose.
UPDATE holdings SET told = told || '{9.9}'::text[] WHERE "partition" = %(partition)s AND "offset" = %(offset)s

-- name: cases
-- As if it had been opened a week later.
UPDATE cases SET opened = opened + interval '7 days', resolved = resolved + interval '7 days'
WHERE "partition" = %(partition)s AND %(offset)s IN (opened_offset, resolved_offset)

-- name: withheld
-- As if the law had it hidden for longer.
UPDATE withheld SET until = until + interval '1 year' WHERE "partition" = %(partition)s AND "offset" = %(offset)s

-- name: trees
-- The last hash of the frontier.
UPDATE trees SET frontier = set_byte(frontier, length(frontier) - 1, get_byte(frontier, length(frontier) - 1) # 1)
WHERE "partition" = %(partition)s AND next_offset > %(offset)s

-- name: leaf_runs
-- As if there had been one leaf more before these records.
UPDATE leaf_runs SET first_index = first_index + 1
WHERE ("partition", first_offset) = (
    SELECT "partition", max(first_offset) FROM leaf_runs
    WHERE "partition" = %(partition)s AND first_offset <= %(offset)s GROUP BY "partition")

-- name: tiles
-- One bit of the record's leaf hash.
UPDATE tiles SET hashes = set_byte(hashes, at.byte, get_byte(hashes, at.byte) # 1)
FROM (SELECT %(offset)s - first_offset + first_index AS leaf,
             (32 * ((%(offset)s - first_offset + first_index) %% 256))::integer AS byte
      FROM leaf_runs
      WHERE "partition" = %(partition)s AND first_offset <= %(offset)s
      ORDER BY first_offset DESC LIMIT 1) AS at
WHERE "partition" = %(partition)s AND level = 0 AND index = at.leaf / 256 AND length(hashes) > at.byte
