"""How much can be said already: which heads and channels have labels enough for a model, and which should wait."""
