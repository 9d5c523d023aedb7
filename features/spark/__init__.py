"""Spark: the same features as DuckDB's, computed by a cluster. Needs Java 17 and ``make spark``."""
