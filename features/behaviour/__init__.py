"""From behaviour to columns: one module per group of features, each a tuple of `Feature` with its expression.

To add a feature, add one entry to the module of its group; the catalogue, the build, Feast and the models follow.
"""
