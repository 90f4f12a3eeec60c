"""The endpoint on loopback: HTTP server, database, faults."""
