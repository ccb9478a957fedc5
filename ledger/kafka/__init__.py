"""The log on Apache Kafka: the only place that imports the Kafka client.

`settings` holds every client setting, `topics` creates and checks topics, `producer` appends, `reader` reads, and
`local` starts a real broker on this machine.
"""
