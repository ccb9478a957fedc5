SELECT subject, key_id, wrapped, wrapping_key_id FROM vault.keys WHERE subject = ANY(%(subjects)s)
