"""The HTTP door: `app` makes the application, `events` takes events in, `problems` says what was refused and why."""
