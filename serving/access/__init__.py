"""Who may come in, how often, and how many at once: keys, scopes, rates, sessions, and the socket itself."""
