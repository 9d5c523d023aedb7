"""Events to features: ingest, compute, publish, read."""
