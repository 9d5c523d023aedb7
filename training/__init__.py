"""Training set to models to registry to release."""
