"""The policy and the offers that travel in a release."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from configs.errors import BundleError
from serving.decision.offers import Catalogue
from serving.decision.policy import Policy
from serving.schemas_nbo import NextBestOffer
from serving.scoring import Bundle

__all__ = ["OFFERS", "POLICY", "Rules", "folder_of"]

POLICY, OFFERS = "policy.json", "offers.json"
Target = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Rules:
    """What may be shown to whom, compiled."""

    policy: Policy
    catalogue: Catalogue

    @classmethod
    def of(cls, bundle: Bundle) -> Rules | None:
        """The rules of a release; None where it was made without any, refused where they do not fit this code."""
        documents = bundle.documents
        if POLICY not in documents or OFFERS not in documents:
            return None
        try:
            policy = Policy.load(json.loads(documents[POLICY]))
            return cls(policy, Catalogue.load(json.loads(documents[OFFERS])))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BundleError(
                f"release {bundle.release_id}: {POLICY} or {OFFERS} does not have the shape of rules",
                got=repr(error),
                run="userops release",
            ) from None

    @cached_property
    def read_tags(self) -> bool:
        """Whether any rule looks at interest tags: nobody else does, and they cost as much as the decision itself."""
        read = {"user", "user.tags"} & (self.policy.reads | self.catalogue.reads)
        return bool(read) or any(labels.restricts for labels in self.catalogue.tags.values())

    @cached_property
    def purposes(self) -> tuple[str, ...]:
        """What a consent can be given for: a channel, or what an offer asks consent for."""
        return tuple(sorted({*self.policy.channels, *self.catalogue.consents.texts}))

    def most_candidates(self, asked: NextBestOffer) -> int:
        """How many offers of the catalogue are scored for a request at most."""
        wanted = asked.candidate_source.max if asked.candidate_source is not None else self.policy.max_candidates
        return min(wanted, self.policy.max_candidates)

    def target_of(self, offer_id: str) -> Target:
        """Items and categories that an offer of the catalogue is about."""
        place = self.catalogue.place.get(offer_id)
        if place is None:
            return (), ()
        offer = self.catalogue.offers[place]
        return offer.item_ids, offer.category_ids


def folder_of(releases: Path, release_id: str) -> Path | None:
    """Where a release lies, by its id or ``current``; None when there is none of that name."""
    folder = releases / release_id
    plain = Path(release_id).name == release_id and not release_id.startswith(".")
    return folder if plain and (folder / "release.json").is_file() else None
