"""The back-test: the procedure asked at many past origins, measured beside baselines, drawn and written down."""
