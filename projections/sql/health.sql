-- What `doctor` asks a database about the views.

-- name: server
SELECT current_setting('server_version_num')::integer, extract(epoch FROM clock_timestamp())::float8

-- name: version
SELECT coalesce(max(version), 0) FROM schema_version

-- name: halted
SELECT "partition", "offset", code FROM halted ORDER BY "partition"
