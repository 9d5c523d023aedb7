"""Scores of everybody: a stored snapshot to Parquet in constant memory, the numbers of the service bit for bit.

``score`` is a pure function from a batch of the snapshot to a batch of scores, for whoever runs it: threads of this
machine (``run``) or the partitions of a cluster.
"""
