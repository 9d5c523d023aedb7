"""What the service answers while nothing is wrong, to hold later answers against: equal, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serving.chaos.service import Reply, Service

__all__ = ["Witness", "scores_of"]


@dataclass(frozen=True)
class Witness:
    """The scores and offers of some users at one past instant, as they were answered before anything was done."""

    users: tuple[str, ...]
    at: datetime
    scores: dict[str, Any]
    offers: dict[str, Any]

    @classmethod
    def of(cls, service: Service, users: Sequence[str], at: datetime) -> Witness:
        """Ask now."""
        empty = cls(tuple(users), at, {}, {})
        return cls(tuple(users), at, scores_of(empty.ask_scores(service)), _offers_of(empty.ask_offers(service)))

    def ask_scores(self, service: Service) -> Reply:
        """The scores of everybody again."""
        body = {"user_ids": self.users, "explain": {"level": "none"}, "as_of": self.at.isoformat()}
        return service.post("/v1/score/churn", body)

    def ask_offers(self, service: Service) -> Reply:
        """The offers of the first of them again: all of them, none drawn; it leaves no trace."""
        return service.post(
            "/v1/next-best-offer",
            {
                "user_id": self.users[0],
                "limit": 50,
                "as_of": self.at.isoformat(),
                "policy": {"exploration": {"mode": "epsilon", "epsilon": 0.0}},
                "explain": {"level": "none"},
            },
        )

    def differs(self, service: Service) -> str | None:
        """What is answered otherwise than at first, a refusal among it; None: nothing."""
        for what, reply, was, read in (
            ("scores", self.ask_scores(service), self.scores, scores_of),
            ("offers", self.ask_offers(service), self.offers, _offers_of),
        ):
            if reply.status != 200:
                return f"{what}: {reply.refusal or 'no answer'}"
            if (now := read(reply)) != was:
                return f"{what}: {_first(was, now)}"
        return None


def scores_of(reply: Reply) -> dict[str, Any]:
    """By user: known or not, and the probability of each head."""
    return {
        one["user_id"]: {"known": one["known"], **{name: head["p"] for name, head in one["scores"].items()}}
        for one in reply.told.get("users", [])
    }


def _offers_of(reply: Reply) -> dict[str, Any]:
    told = reply.told
    offers = {one["offer_id"]: [one["p"], one["priority"]] for one in told.get("offers", [])}
    return {"status": told.get("status"), "offers": offers, "user_state": told.get("user_state")}


def _first(was: dict[str, Any], now: dict[str, Any]) -> str:
    for name in dict.fromkeys([*was, *now]):
        if was.get(name) != now.get(name):
            return f"{name} was {was.get(name)}, is {now.get(name)}"[:300]
    return "nothing"
