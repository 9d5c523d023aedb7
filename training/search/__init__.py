"""Better parameters, looked for in the past and believed only when a later past confirms them."""
