"""A small shop: an interest model learned here, offers and rules compiled here, users published, the real service."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import configs
from configs import OriginsConfig
from configs.history import PURCHASE, VIEW, History, code, pack
from features import assortment, online, vectors
from features.catalog import NAMES, digest
from serving import service
from serving.decision.source import compile_policy
from serving.log import DecisionLog
from serving.scoring import write_release
from serving.scoring.interest.model import HEADS, InterestModel
from training.interest.histories import Histories
from training.interest.procedure import Learner
from training.interest.train import _write as write_fitted
from training.interest.train import describe

NOW = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
AS_OF = datetime(2026, 11, 21, 9, 58, 2, tzinfo=UTC)
DAY_US = 86_400_000_000
CATEGORIES = {"tea": 5.0, "bread": 4.0, "soap": 30.0, "books": 45.0, "toys": 60.0, "fruit": 6.0}  # usual days between
ITEMS = [f"{category}_{k}" for category in CATEGORIES for k in range(5)]
USERS = 220


def us(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000


def simulate() -> Histories:
    """Each user has two or three categories, bought at their rhythm, mostly the same two items of each."""
    rng = np.random.default_rng(11)
    rows: list[tuple[int, int, int, int, int, float, int]] = []
    orders = itertools.count(1)
    for user in range(USERS):
        liked = rng.choice(len(CATEGORIES), size=rng.integers(2, 4), replace=False)
        for number in liked:
            category = list(CATEGORIES)[number]
            favourites = rng.choice(5, size=2, replace=False)
            day = float(rng.uniform(0, CATEGORIES[category]))
            last = 300 - (rng.uniform(0, 80) if user % 2 else 0)  # half of them are overdue with something
            while day < last:
                item = f"{category}_{favourites[rng.integers(2)] if rng.random() < 0.8 else rng.integers(5)}"
                at_us = us(AS_OF) - round((300 - day) * DAY_US)
                order = next(orders)
                if rng.random() < 0.3:
                    rows.append((user, code(item), code(category), at_us - 3_600_000_000, VIEW, 1.0, 0))
                rows.append((user, code(item), code(category), at_us, PURCHASE, 1.0, order))
                if rng.random() < 0.4:  # bought together: a neighbour
                    beside = f"{category}_{(int(item[-1]) + 1) % 5}"
                    rows.append((user, code(beside), code(category), at_us, PURCHASE, 1.0, order))
                day += CATEGORIES[category] * rng.uniform(0.6, 1.4)
    rows.sort(key=lambda row: (row[0], row[3]))
    table = np.array(rows, dtype=np.float64)
    who = table[:, 0].astype(int)
    columns = {
        "item": table[:, 1].astype(np.int64),
        "category": table[:, 2].astype(np.int64),
        "at_us": table[:, 3].astype(np.int64),
        "kind": table[:, 4].astype(np.int8),
        "quantity": table[:, 5],
        "order": table[:, 6].astype(np.int64),
    }
    lines = History(**columns)
    return Histories(
        np.array([f"u{user}" for user in range(USERS)], dtype=object),
        np.searchsorted(who, np.arange(USERS + 1)),
        lines,
        {code(item): item for item in ITEMS},
        {code(category): category for category in CATEGORIES},
    )


@pytest.fixture(scope="session")
def shop() -> Histories:
    return simulate()


@pytest.fixture(scope="session")
def interest_folder(shop: Histories, once: Callable[..., Path]) -> Path:
    """An interest model as training writes it."""

    def learn(folder: Path) -> None:
        model = configs.load(folder, NOW).models["interest"]
        settings = {"trees": 20, "num_leaves": 7, "min_data_in_leaf": 20}
        start = AS_OF - timedelta(days=300)
        learner = Learner(shop, HEADS, 30.0, OriginsConfig(14, 3, 60), start, 1, 1, settings)
        known_until = AS_OF.replace(hour=0, minute=0, second=0)
        fitted = learner.fit(known_until)
        metrics = {head: {"base_rate": {"value": 0.05, "ci": None}} for head in HEADS}
        meta = describe(model, learner, fitted, metrics, {}, "4", "run4", NOW)
        write_fitted(folder / "interest", meta, fitted, learner.known(known_until), shop)

    return once("interest-of-nbo", learn) / "interest"


@pytest.fixture(scope="session")
def interest(interest_folder: Path) -> InterestModel:
    return InterestModel.load(interest_folder)


def offers() -> list[dict[str, Any]]:
    """One offer per item but the last of its category, one per category, and the rest that rules need."""
    items = [
        {"offer_id": f"o_{item}", "items": [item], "value": 10.0 + 2 * k % 7, "margin": 0.4, "cost": 0.05}
        for k, item in enumerate(ITEMS)
        if not item.endswith("_4")
    ]
    categories = [
        {"offer_id": f"c_{category}", "categories": [category], "value": 12.0, "margin": 0.3, "cost": 0.1,
         "collections": ["by_category"], "caps": [{"event": "decision", "limit": 2, "window": {"n": 7, "unit": "day"}}]}
        for category in CATEGORIES
    ]  # fmt: skip
    return [
        *items,
        *categories,
        {"offer_id": "dear", "items": ["tea_0"], "value": 51.0, "cost": 50.0},
        {"offer_id": "popular", "fallback": "popular_in_shop", "name": "What everybody likes"},
    ]


def rules(**changes: Any) -> dict[str, Any]:
    """The shipped rules without holdout; ``changes`` replace whole entries."""
    content = configs.read_yaml(Path(configs.__file__).parent / "policy.yaml")
    content["holdout"] = {**content["holdout"], "share": 0.0}
    content["context_weights"] = [one for one in content["context_weights"] if "categories" not in one]
    content["experiments"] = []
    return content | changes


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, bytes]]:
    """Compile rules and offers: (changes of the policy) -> the documents of a release."""

    def make(listed: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, bytes]:
        folder = tmp_path_factory.mktemp("rules")
        (folder / "policy.yaml").write_text(yaml.safe_dump(rules(**changes)))
        (folder / "offers.yaml").write_text(yaml.safe_dump({"offers": listed or offers()}))
        policy, catalogue = compile_policy(configs.load(folder), folder)
        return {"policy.json": policy, "offers.json": catalogue}

    return make


def publish(home: Path, shop: Histories, values: np.ndarray) -> None:
    """Vectors, histories, profiles and an assortment, as a publication lays them."""
    ids = list(shop.users)
    keys = vectors.entity_keys(ids)
    at = int(AS_OF.timestamp())
    events = [{"event_type": "purchase", "event_at": "2026-11-20T00:00:00Z", "item_id": "tea_0", "category_id": "tea"}]
    profile = vectors.pack_text(json.dumps({"lifecycle_state": "active", "last_events": events}))
    histories = [vectors.pack_list(pack(one).astype("<f8").tobytes()) for one in shop.at(us(AS_OF))]
    cells = (
        (online.VECTOR, vectors.pack(values, digest())),
        (online.HISTORY, histories),
        (online.PROFILE, [profile] * len(ids)),
    )
    with online.SqliteStore(online.path_of(home)).publication() as writer:
        for cell, packed in cells:
            writer.create(cell.view)
            writer.write({cell: [(key, value, at, at) for key, value in zip(keys, packed, strict=True)]})
        writer.record(online.VECTOR.view, digest(), at, at, len(ids))
        items = [
            (k, item, item.rpartition("_")[0], None, 10.0, 0.4, 0.0 if item == "toys_0" else 5.0, 0, None, None)
            for k, item in enumerate(sorted(ITEMS))
        ]
        stocked = np.array([k for k, row in enumerate(items) if row[2] in ("tea", "soap")], "<i4").tobytes()
        assortment.write_assortment(writer, assortment.Offered(items, [("s1", stocked, None)]), at)


@dataclass(frozen=True)
class Decider:
    """The service in this process over a home of its own."""

    client: Any
    home: Path
    numbers: Iterator[int]

    def ask(self, user_id: str = "u1", **more: Any) -> dict[str, Any]:
        """A decided answer, whole."""
        answer = self.post(user_id=user_id, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, **body: Any) -> Any:
        return self.client.post("/v1/next-best-offer", json=body)

    def feedback(self, decision: dict[str, Any], kind: str, offer_id: str | None = None, **more: Any) -> dict[str, Any]:
        event = {
            "event_id": f"e{next(self.numbers)}",
            "decision_id": decision["decision_id"],
            "offer_id": offer_id or decision["offers"][0]["offer_id"],
            "type": kind,
            "ts": "2026-11-21T10:11:12Z",
            **more,
        }
        answer = self.client.post("/v1/feedback", json={"events": [event]})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def all_models(catalogue_models: dict[str, Path], interest_folder: Path) -> dict[str, Path]:
    return {**catalogue_models, "interest": interest_folder}


@pytest.fixture(scope="session")
def nbo_home(
    tmp_path_factory: pytest.TempPathFactory,
    all_models: dict[str, Path],
    documents: Any,
    shop: Histories,
    vectors_of: Any,
) -> Callable[..., Path]:
    """A home folder with a release and published users: (changes of the policy) -> home."""

    def make(**changes: Any) -> Path:
        home = tmp_path_factory.mktemp("nbo_home")
        write_release(home / "releases", all_models, digest(), NOW, {"alias": "champion"}, documents(**changes))
        publish(home, shop, vectors_of(NAMES, len(shop.users), 5))
        return home

    return make


@pytest.fixture(scope="module")
def decider(nbo_home: Callable[..., Path], in_process: Any) -> Iterator[Decider]:
    """The BentoML service with everything real but the socket; a home for each file."""
    home = nbo_home()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "CONFIG", dataclasses.replace(service.CONFIG, home=home, now=NOW))
        with in_process(service.UserOps.to_asgi()) as client:
            yield Decider(client, home, itertools.count())


@pytest.fixture(scope="module")
def nbo_log(decider: Decider) -> Iterator[DecisionLog]:
    """The decision log of the decider, as another process sees it."""
    log = DecisionLog.open(f"sqlite:///{decider.home / 'decisions.db'}")
    yield log
    log.close()


@pytest.fixture
def nbo_log_of() -> Iterator[Callable[[Path], DecisionLog]]:
    """The decision log of a home folder, as another process sees it."""
    opened: list[DecisionLog] = []

    def at(home: Path) -> DecisionLog:
        opened.append(DecisionLog.open(f"sqlite:///{home / 'decisions.db'}"))
        return opened[-1]

    yield at
    for log in opened:
        log.close()
