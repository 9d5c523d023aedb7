"""The scoring core: the code that judged a model is the code that serves it."""
