SELECT subject, key_id, wrapped, wrapping_key_id FROM vault.keys WHERE key_id = ANY(%(key_ids)s)
