-- Whoever comes second keeps the first one's key: select again after this.
INSERT INTO vault.keys (subject, key_id, wrapped, wrapping_key_id)
SELECT * FROM unnest(%(subjects)s::text[], %(key_ids)s::text[], %(wrapped)s::bytea[], %(wrapping)s::text[])
ON CONFLICT DO NOTHING
