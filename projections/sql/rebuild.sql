-- What a rebuild asks of its own schema, and of the server.

-- name: comment
SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %(schema)s

-- name: comments
SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace

-- name: leaves
SELECT coalesce(sum(size), 0)::bigint FROM trees

-- name: halted
SELECT "partition" || '-' || "offset" FROM halted ORDER BY "partition"

-- name: lock
SELECT pg_advisory_lock(%(key)s)

-- name: try lock
SELECT pg_try_advisory_lock(%(key)s)

-- name: open transactions
-- Those of clients in this database, but for our own two and for whoever waits for the holder. Every role sees them all.
SELECT l.virtualxid
FROM pg_locks l
JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'virtualxid' AND l.granted AND l.mode = 'ExclusiveLock' AND a.datname = current_database()
  AND a.usename IS NOT NULL AND a.pid <> pg_backend_pid() AND a.pid <> %(holder)s
  AND NOT (%(holder)s = ANY (pg_blocking_pids(a.pid)))
