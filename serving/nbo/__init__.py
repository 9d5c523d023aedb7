"""The next best offer over HTTP: what is read, asked of the pure decision, told, and written down."""
