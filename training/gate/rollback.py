"""The way back: champion and previous change places, in about a second and without asking anybody."""

from __future__ import annotations

from configs import Config, model_of
from configs.audit import Row
from configs.errors import GateError
from training.aliases import aliases_of, run_of
from training.gate.journal import Move, carry_out, settle
from training.registry import CHAMPION, PREVIOUS

__all__ = ["rollback"]


def rollback(config: Config, name: str, comment: str = "") -> Row:
    """Let ``previous`` be the champion again, and the champion ``previous``: twice is once there and back.

    The gate is not asked: whoever goes back wants to go now. The audit table says who and why.

    Raises
    ------
    GateError
        When there is no champion, or none before it.
    """
    model_of(config, name)
    settle(config)
    pointed = aliases_of(config, [name])[name]
    before, back = pointed.get(CHAMPION), pointed.get(PREVIOUS)
    if before is None or back is None or before == back:
        raise GateError(
            f"{name} has nothing to go back to",
            got=f"champion {before or 'none'}, previous {back or 'none'}",
            expected="two versions that were champions one after the other",
            run=f"userops promote {name} --version N",
        )
    move = Move(name, back, run_of(config, name, back), before, comment)
    (row,) = carry_out(config, "rolling_back", [move])
    return row
