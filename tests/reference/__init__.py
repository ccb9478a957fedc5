"""The second road to a verdict, for tests alone: see `tests.reference.judge`."""
