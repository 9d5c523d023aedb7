"""The REST addresses, one file per group: parse, ask, answer."""
