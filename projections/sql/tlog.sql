-- Trees, tiles and checkpoints, as whoever proves, signs or serves them reads them.

-- name: tree
SELECT size, frontier, next_offset FROM trees WHERE "partition" = %(partition)s

-- name: tiles
SELECT t.level, t.index, substring(t.hashes FOR wanted.bytes)
FROM unnest(%(levels)s::smallint[], %(indexes)s::bigint[], %(bytes)s::integer[]) AS wanted (level, index, bytes)
JOIN tiles t ON t."partition" = %(partition)s AND t.level = wanted.level AND t.index = wanted.index

-- name: tile
SELECT hashes FROM tiles WHERE "partition" = %(partition)s AND level = %(level)s AND index = %(index)s

-- name: run of offset
SELECT r.first_offset, r.first_index,
       (SELECT n.first_index FROM leaf_runs n
        WHERE n."partition" = r."partition" AND n.first_offset > r.first_offset ORDER BY n.first_offset LIMIT 1)
FROM leaf_runs r
WHERE r."partition" = %(partition)s AND r.first_offset <= %(offset)s
ORDER BY r.first_offset DESC
LIMIT 1

-- name: run of index
SELECT first_offset, first_index
FROM leaf_runs
WHERE "partition" = %(partition)s AND first_index <= %(index)s
ORDER BY first_index DESC
LIMIT 1

-- name: runs
SELECT first_offset, first_index FROM leaf_runs WHERE "partition" = %(partition)s ORDER BY first_offset

-- name: checkpoint
SELECT size, root, note FROM checkpoints WHERE "partition" = %(partition)s
