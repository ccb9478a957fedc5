"""From the log to PostgreSQL: views that can be thrown away and rebuilt from the log alone."""
