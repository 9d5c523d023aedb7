"""Faults, made on purpose on a scratch home with the real service, and what was seen of each."""
