"""Alembic's folder: the schema of the decision log, one step per file, forward and back."""
