"""A shop with known hazards, tastes and seasons: demo data, and the truth that tests compare with.

``process.py`` says when people come and buy and how they leave; ``occasions.py`` and ``journal.py`` dress that as
events; ``truth.py`` gives the best possible score.
"""

from __future__ import annotations

from features.simulate.shop import Shop, simulate
from features.simulate.truth import true_probability

__all__ = ["Shop", "simulate", "true_probability"]
