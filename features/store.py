"""The only door to Feast: history for training, publication, and the online read of the service.

Reading online needs neither Feast nor pandas (`features.online` reads the bytes): each is imported where it is used.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from configs import Config, read_yaml
from configs.databases import is_postgres, shown
from configs.errors import FeatureError
from features import online, snapshots, vectors
from features.assortment import Assortment, load_assortment
from features.catalog import NAMES, digest
from features.decision_row import DecisionRow, read_decision_row
from features.online import OnlineVectors
from features.parity import Inspection, Parity, inspect, parity
from features.publish import Progress, Publication, publish

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Inspection", "OnlineVectors", "Parity", "Publication", "Store"]

ROW = "__row"  # travels through Feast beside the keys: the answer must be the rows asked, in their order


class Store:
    """The features of one home folder."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.digest = digest()
        self.published = online.open_store(config.online_uri)

    # ── online ──────────────────────────────────────────────────────────────────────────────────────────────────

    def online(self, user_ids: Sequence[str]) -> OnlineVectors:
        """The published vectors of ``user_ids``, in their order, all from one publication's state.

        Raises
        ------
        CatalogueMismatch
            When they were published from another catalogue: never a shuffled column.
        """
        return online.read_vectors(self.published, user_ids, len(NAMES), self.digest)

    def profiles(self, user_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """The published profiles of ``user_ids``, in their order; None for the unknown."""
        rows = self.published.read(vectors.entity_keys(user_ids), (online.PROFILE,))
        return [None if found is None else vectors.unpack_json(found[0]) for (found,) in rows]

    def decision_row(self, user_id: str) -> DecisionRow:
        """Everything published of one user, in one question: vector, history and profile of one state of the store.

        Raises
        ------
        CatalogueMismatch
            When the vector was published from another catalogue.
        """
        return read_decision_row(self.published, user_id, len(NAMES), self.digest)

    def assortment(self) -> Assortment:
        """The published items, and what each store carries, in compact arrays; raises when nothing is published."""
        return load_assortment(self.published)

    def assortment_stamp(self) -> str | None:
        """The `Assortment.stamp` of what is published now: one indexed read; None before the first publication."""
        return self.published.assortment_stamp()

    def is_published(self) -> bool:
        """Whether anything was ever published; a store that cannot be reached holds nothing."""
        try:
            return self.published.last_publication(online.VECTOR.view) is not None
        except FeatureError:
            return False

    # ── publication ─────────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, as_of: datetime | None = None, progress: Progress | None = None) -> Publication:
        """Put the newest snapshot at or before ``as_of`` (default: now) online, and tell Feast's registry of it.

        Users of whom something newer is online keep it; users who are in no newer snapshot any more go.
        """
        from features import periods

        if is_postgres(self.config.registry_uri):
            self._applied()  # a registry that is not there, or another home's, before anything is written
        published = publish(self.config, as_of or periods.now(self.config), progress)
        if published.rows_written:
            wrote = {online.PROFILE.view: published.profiles, online.HISTORY.view: published.histories}
            self._tell_feast(published.as_of, [online.VECTOR.view, *(view for view, rows in wrote.items() if rows)])
        return published

    # ── Feast ───────────────────────────────────────────────────────────────────────────────────────────────────

    def feast(self, known_at: datetime | None = None) -> Any:
        """Feast's own store over this home folder; ``known_at`` hides every row written after it."""
        _import_feast()
        from feast import FeatureStore, RepoConfig

        from features import home_registry

        folder = Path(__file__).parent
        content = read_yaml(folder / "feature_store.yaml")
        home = self.config.home
        home.mkdir(parents=True, exist_ok=True)
        home_registry.register()
        uri = self.config.registry_uri
        content["registry"] = {**content["registry"], "path": home_registry.ADDRESS if is_postgres(uri) else uri}
        if isinstance(self.published, online.SqliteStore):
            content["online_store"] = {**content["online_store"], "path": str(self.published.path)}
        content["offline_store"] = {
            **content["offline_store"],
            "known_at": known_at,
            "memory_limit": self.config.memory_limit,
            "threads": self.config.threads,
            "spill_folder": str(home / "tmp"),
        }
        with self._telling():
            store = FeatureStore(config=RepoConfig(**content, repo_path=folder))
            weakref.finalize(store, store.registry.write_engine.dispose)  # Feast leaves its connections open
        return store

    def _telling(self) -> AbstractContextManager[None]:
        from features import home_registry

        return home_registry.told(self.config.registry_uri)

    @cached_property
    def _feast(self) -> Any:
        return self.feast()

    def apply(self) -> None:
        """Register the entity, views and services of `features.definitions` for this home folder."""
        _import_feast()
        from features.definitions import declare

        for folder in ("user", "profile", "history"):
            (self.config.home / "features" / folder).mkdir(parents=True, exist_ok=True)
        with self._telling():
            self._feast.apply(declare(self.config.home, self.config.models).all())

    def _tell_feast(self, at: datetime, views: Sequence[str]) -> None:
        """Record the publication as the materialization of these views that it is."""
        self._applied()
        registry = self._feast.registry
        with self._telling():
            for name in views:
                view = registry.get_feature_view(name, online.PROJECT)
                registry.apply_materialization(view, online.PROJECT, at, at)

    def _applied(self) -> None:
        """Register the definitions unless those of this catalogue, and all views of it, are registered.

        Raises
        ------
        FeatureError
            When a registry that several machines share tells of the features of another home.
        """
        with self._telling():
            views = {view.name: view for view in self._feast.registry.list_feature_views(online.PROJECT)}
        view = views.get("user_behaviour")
        if view is not None and (got := view.batch_source.path) != (
            ours := str(self.config.home / "features" / "user")
        ):
            if is_postgres(self.config.registry_uri):
                raise FeatureError(
                    f"Feast's registry {shown(self.config.registry_uri)} tells of another home",
                    got=got,
                    expected=ours,
                    because="a registry holds one installation: training would read the features of the other",
                    run="USEROPS_REGISTRY with another database; or, where this home replaces that, "
                    "feast -c features apply",
                )
            view = None  # a home that was copied or moved
        if view is None or view.tags.get("catalogue") != self.digest or online.HISTORY.view not in views:
            self.apply()

    def historical(
        self,
        keys: pd.DataFrame,
        features: Sequence[str] = NAMES,
        known_at: datetime | Literal["as_of"] | None = None,
    ) -> pd.DataFrame:
        """``keys`` with the features as of each row's ``as_of``: same rows, same order, float64, NaN where absent.

        Parameters
        ----------
        keys
            ``user_id``, ``as_of`` (aware) and any other columns.
        features
            Names of the catalogue; the columns come in this order.
        known_at
            Hide snapshots built after this instant, or, with ``"as_of"``, after each row's own ``as_of``. None looks
            with hindsight: a snapshot counts from its ``as_of``, whenever it was built.
        """
        import pandas as pd

        _check_keys(keys, features)
        files = snapshots.snapshots(self.config, "user")
        for _, path in files:
            snapshots.check_catalogue(path, NAMES, self.digest)
        self._applied()
        store = self.feast(known_at) if isinstance(known_at, datetime) else self._feast
        rows = np.arange(len(keys))
        entities = pd.DataFrame({"user_id": keys["user_id"].array, "event_timestamp": keys["as_of"].array, ROW: rows})
        with self._telling():
            answer = store.get_historical_features(
                entity_df=entities,
                features=[f"user_behaviour:{name}" for name in features],
                filter_by_created_timestamp=known_at == "as_of",
            ).to_arrow()
        if not np.array_equal(answer[ROW].to_numpy(), rows):
            raise FeatureError("Feast changed the rows of a training set", got=len(answer), expected=len(keys))
        values = {name: answer[name].to_numpy().astype("float64", copy=False) for name in features}
        return pd.concat([keys, pd.DataFrame(values, index=keys.index, copy=False)], axis=1)

    # ── parity ──────────────────────────────────────────────────────────────────────────────────────────────────

    def inspect(self, user_id: str) -> Inspection:
        """What training and serving see of one person, side by side."""
        return inspect(self, user_id)

    def parity(self, users: int = 100) -> Parity:
        """Whether training, the service and Feast see the same of ``users`` sampled people."""
        return parity(self, users)


def _check_keys(keys: pd.DataFrame, features: Sequence[str]) -> None:
    import pandas as pd

    missing = [column for column in ("user_id", "as_of") if column not in keys.columns]
    if missing:
        raise FeatureError("the keys lack a column", got=list(keys.columns), expected=["user_id", "as_of"])
    if not isinstance(keys["as_of"].dtype, pd.DatetimeTZDtype):
        raise FeatureError("as_of must be aware instants", got=str(keys["as_of"].dtype), expected="datetime64[us, UTC]")
    kind = pd.api.types.infer_dtype(keys["user_id"], skipna=False)
    if len(keys) and kind != "string":
        raise FeatureError("user_id must be text in every row", got=kind, expected="string")
    unknown = [name for name in features if name not in NAMES]
    if unknown:
        raise FeatureError("no such feature in the catalogue", got=unknown, expected="a name of features/catalog.py")
    taken = [name for name in features if name in keys.columns]
    if taken:
        raise FeatureError("the keys hold a feature already", got=taken, expected="keys and labels alone")


def _import_feast() -> None:
    """Import Feast without run-time type checks of its own functions.

    typeguard parses and rewrites the source of 41 of them on import: 2.3 of the 3.4 processor seconds that Feast takes,
    in each process. We give them what mypy has checked.
    """
    if "feast" in sys.modules:
        return
    import typeguard

    checking, typeguard.typechecked = typeguard.typechecked, _unchecked
    try:
        import feast  # noqa: F401
    finally:
        typeguard.typechecked = checking


def _unchecked(target: Any = None, **options: Any) -> Any:
    return target if target is not None else _unchecked
