"""From drift to a new release, step by step: one at a time, and a killed one goes on where it stood.

::

    drift ──► train ──► backtest ──► checks ──► shadow ──► gate ──► release
      └ quiet: nothing to do              refused ┴──────────┘
"""
