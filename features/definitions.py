"""What Feast knows about us, all of it made from the catalogue. THE ONLY FILE FEAST READS (see .feastignore).

user_behaviour   every catalogue feature as a column: training sets, through the point-in-time join
user_vector      the same features as one vector, the catalogue's number in front: published and served
user_profile     what a person looks at: state, last events, top categories, as JSON text
user_history     the newest things seen, put into the cart and bought, as one array: configs/history.py
one feature service per model of ``configs/models``: the columns of ``user_behaviour`` that it learns from
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, Project, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Float64, String

from configs import load
from configs.history import COLUMNS, HISTORY_LINES, WIDTH
from features.asof_store import PACKED_TAG
from features.catalog import NAMES, USER_FEATURES, digest
from features.online import HISTORY, PROFILE, PROJECT, VECTOR

__all__ = ["BEHAVIOUR_VIEW", "TTL", "Declarations", "declare"]

BEHAVIOUR_VIEW = "user_behaviour"
TTL = timedelta(days=31)  # an older snapshot answers nobody in training


@dataclass(frozen=True)
class Declarations:
    """Feast's objects for one home folder."""

    project: Project
    user: Entity
    user_behaviour: FeatureView
    user_vector: FeatureView
    user_profile: FeatureView
    user_history: FeatureView
    services: tuple[FeatureService, ...]

    def all(self) -> list[Project | Entity | FeatureView | FeatureService]:
        """Everything to register."""
        return [
            self.project,
            self.user,
            self.user_behaviour,
            self.user_vector,
            self.user_profile,
            self.user_history,
            *self.services,
        ]


def declare(home: Path, models: Iterable[str]) -> Declarations:
    """The declarations for the feature tables under ``home`` (an absolute path: the registry keeps it)."""
    user = Entity(
        name="user", join_keys=["user_id"], value_type=ValueType.STRING, description="a person, by the one resolved key"
    )
    key = Field(name="user_id", dtype=String)
    packed = {PACKED_TAG + VECTOR.feature: "|".join([digest(), ",".join(NAMES)])}
    user_behaviour = FeatureView(
        name=BEHAVIOUR_VIEW,
        entities=[user],
        ttl=TTL,
        online=False,
        schema=[key, *(Field(name=f.name, dtype=Float64, description=f.meaning["en"]) for f in USER_FEATURES)],
        source=_source("user_features", home / "features" / "user"),
        description="every feature of the catalogue, one column each",
        tags={"catalogue": digest()},
    )
    user_vector = FeatureView(
        name=VECTOR.view,
        entities=[user],
        ttl=TTL,
        schema=[key, Field(name=VECTOR.feature, dtype=Array(Float64))],
        source=_source("user_vectors", home / "features" / "user", packed),
        description="the number of the catalogue, then its features in order; NaN where absent",
        tags={"catalogue": digest()},
    )
    user_profile = FeatureView(
        name=PROFILE.view,
        entities=[user],
        ttl=TTL,
        schema=[key, Field(name=PROFILE.feature, dtype=String)],
        source=_source("user_profiles", home / "features" / "profile"),
        description="lifecycle state, last events, top categories, value: JSON",
    )
    user_history = FeatureView(
        name=HISTORY.view,
        entities=[user],
        ttl=TTL,
        schema=[key, Field(name=HISTORY.feature, dtype=Array(Float64))],
        source=_source("user_histories", home / "features" / "history"),
        description=f"the newest {HISTORY_LINES} lines, {WIDTH} numbers each ({', '.join(COLUMNS)}), oldest first",
    )
    services = tuple(
        FeatureService(name=name, features=[user_behaviour], description=f"what the {name} model learns from")
        for name in sorted(models)
    )
    return Declarations(Project(name=PROJECT), user, user_behaviour, user_vector, user_profile, user_history, services)


def _source(name: str, folder: Path, tags: dict[str, str] | None = None) -> FileSource:
    return FileSource(
        name=name,
        path=str(folder),
        file_format=ParquetFormat(),
        timestamp_field="as_of",
        created_timestamp_column="built_at",
        tags=tags,
    )


# Feast registers what it finds among the names of this module, one object per name.
_config = load()
_declared = declare(_config.home, _config.models)
project, user = _declared.project, _declared.user
user_behaviour, user_vector = _declared.user_behaviour, _declared.user_vector
user_profile, user_history = _declared.user_profile, _declared.user_history
globals().update({f"{service.name}_features": service for service in _declared.services})
