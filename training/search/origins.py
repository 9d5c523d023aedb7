"""Which past origins a search may see, which confirm its winner, and which neither has touched.

::

    ── learn ── search origins ─────────┬── later origins ──────────┬── the gate's origins ── judged origin
                (labels known there) ───┘  (labels known there) ────┘

The search knows what was known at the first of the later origins; the decision what was known at the first of those by
which the gate, the comparison and the checks judge a version. Where the history is too short for that, the decision
knows what was known at the last of them, by which `userops train` judges: then that one alone is untouched, and what
the earlier ones say of a winner is too good.
"""

from __future__ import annotations

from datetime import datetime

from configs import ModelConfig
from configs.errors import TrainingError
from training.judge import horizons_of
from training.splits import rolling, split_at

__all__ = ["Origins", "origins_of"]

Origins = tuple[datetime, ...]


def origins_of(
    model: ModelConfig, first_event: datetime, known_until: datetime
) -> tuple[Origins, Origins, datetime, bool]:
    """Where to search (latest first), where to confirm (oldest first), until when, and whether that spares the gate.

    They lie two steps of the grid apart where the history is long enough, else one; else there are fewer; else they
    reach into the origins of the gate.

    Raises
    ------
    TrainingError
        When the history does not even hold one of each.
    """
    horizons, most = horizons_of(model), model.search.origins
    judged = split_at(model.origins, horizons, first_event, known_until).judge
    gate = rolling(model.origins, horizons, first_event, known_until, model.gate.origins)
    spare = [gate[0]] if len(gate) == model.gate.origins else []
    for until in dict.fromkeys([*spare, judged]):
        for count, every in dict.fromkeys([(most, 2), (most, 1), (max(most // 2, 1), 1), (1, 1)]):
            try:
                later = rolling(model.origins, horizons, first_event, until, count, every)
                searched = rolling(model.origins, horizons, first_event, later[0], count, every)
            except TrainingError:
                continue
            if len(later) == len(searched) == count:
                return searched[::-1], later, until, until == gate[0]
    raise TrainingError(
        "the history is too short to search, to confirm and to judge one after the other",
        got=f"{(known_until - first_event).days} days",
        expected=f"about {3 * max(horizons) + model.origins.warm_up_days + 5 * model.origins.every_days:.0f}",
        run=f"userops train {model.name}",
    )
