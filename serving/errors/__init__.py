"""One shape for everything that goes wrong over HTTP."""
