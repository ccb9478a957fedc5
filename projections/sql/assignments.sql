-- Who writes which partition (projections.assignments). A writing transaction holds the row's share lock, so a claim that
-- has returned is one behind which no older epoch writes any more.

-- name: claim
INSERT INTO assignments AS held ("partition", epoch, worker) VALUES (%(partition)s, 1, %(worker)s)
ON CONFLICT ("partition") DO UPDATE
SET epoch = held.epoch + 1, worker = excluded.worker, released = false, since = now()
RETURNING epoch

-- name: claim from
-- As `claim`, unless somebody else was quicker.
UPDATE assignments
SET epoch = epoch + 1, worker = %(worker)s, released = false, since = now()
WHERE "partition" = %(partition)s AND epoch = %(epoch)s
RETURNING epoch

-- name: release
UPDATE assignments AS held
SET released = true, since = now()
FROM unnest(%(partitions)s::integer[], %(epochs)s::bigint[]) AS mine ("partition", epoch)
WHERE held."partition" = mine."partition" AND held.epoch = mine.epoch

-- name: epoch
SELECT epoch FROM assignments WHERE "partition" = %(partition)s

-- name: wait at most
SELECT set_config('lock_timeout', %(ms)s, true)

-- name: end its writer
-- A writer that was stopped in the middle of a transaction (SIGSTOP, a frozen machine) holds its locks for ever: its
-- connection is ended. Everybody who writes has the same role, so this one may.
SELECT pg_terminate_backend(l.pid)
FROM tracking t
JOIN pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = t.xmax
WHERE t.application_name = %(name)s

-- name: holders
-- The last column: its connections are there.
SELECT a."partition", a.epoch, a.worker, a.since, a.released,
       EXISTS (SELECT FROM pg_stat_activity s WHERE s.datname = current_database() AND s.application_name = a.worker)
FROM assignments a
ORDER BY a."partition"
