"""Whether a served model still sees what it learned from, and whether its probabilities are still true."""
