"""Serve scores, decide, take feedback."""
