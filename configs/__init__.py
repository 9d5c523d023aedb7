"""What may change without code: the only reader of YAML files and of the environment.

``load()`` gives the whole configuration as frozen dataclasses; every reference is checked on the way.
Environment: ``USEROPS_HOME`` (folder of everything generated, default ``var`` beside this package),
``USEROPS_NOW`` (an ISO instant at which the clock stands, for replays and historical data),
``USEROPS_CONFIGS`` (another folder of YAML files, for an installation of your own),
``USEROPS_DECISIONS``, ``USEROPS_AUDIT``, ``USEROPS_REGISTRY`` and ``USEROPS_TRACKING`` (the databases of
`configs.databases`) and ``USEROPS_ONLINE`` (the store of published features: ``redis://...``): they may hold a
password, so no file does,
``USEROPS_SPARK`` (the master of the cluster where ``engine`` is spark, default ``spark://127.0.0.1:7077``),
``USEROPS_USER`` (who trains, promotes and signs, default the name of the account),
``USEROPS_KEYS`` (the file of keys, default ``keys.json`` of the home),
``USEROPS_KEY`` (the key that our own clients show to a service),
``USEROPS_LOG``, ``USEROPS_LOG_LEVEL`` and ``USEROPS_LOG_USERS`` (how the service logs: see `serving.logs` and
`serving.loglines`).
"""

from __future__ import annotations

import dataclasses
import getpass
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from configs.databases import DATABASES, database_uri
from configs.documents import check_words, line_of, read_yaml
from configs.errors import ConfigError
from configs.online import online_uri

__all__ = [
    "Config",
    "GateConfig",
    "ModelConfig",
    "OriginsConfig",
    "SearchConfig",
    "ServingConfig",
    "configs_folder",
    "line_of",
    "load",
    "model_of",
    "read_yaml",
    "with_engine",
]

_T = TypeVar("_T")
APPROVALS = ("none", "reviewer", "other_than_trainer")


@dataclass(frozen=True)
class ServingConfig:
    """Where the service listens, how much one call may ask, how many may wait, and what holds without keys.

    ``stale_features`` is ``decide`` or ``fallback``; ``without_keys``, who is answered as long as no key was issued:
    this machine (``loopback``) or ``anywhere``. ``max_waiting`` is for each worker.
    """

    host: str = "127.0.0.1"
    port: int = 3000
    workers: int = 2
    max_users: int = 500
    max_body_bytes: int = 1_048_576
    max_waiting: int = 32
    stale_features: str = "decide"
    without_keys: str = "loopback"


@dataclass(frozen=True)
class OriginsConfig:
    """Which past instants a model learns from: every ``every_days``, at most ``most``, with ``warm_up_days`` before."""

    every_days: int = 14
    most: int = 26
    warm_up_days: int = 60


@dataclass(frozen=True)
class GateConfig:
    """What `userops promote` demands of a version before it becomes champion.

    ``required`` names metrics that every head must have; ``decides`` is the metric whose paired difference to the
    champion counts, lower is better when it is a loss; the difference may be worse by at most ``margin``, judged at the
    last ``origins`` origins. ``approval`` is ``none``, ``reviewer`` (somebody approved the version) or
    ``other_than_trainer`` (and it was not whoever trained it).
    """

    required: list[str] = field(default_factory=lambda: ["log_loss", "auroc"])
    decides: str = "log_loss"
    margin: float = 0.002
    origins: int = 3
    approval: str = "none"


@dataclass(frozen=True)
class SearchConfig:
    """Where `userops train --trials` looks: ``space`` maps a parameter to ``{low, high, log}`` or ``{any: [...]}``.

    Every trial is judged at ``origins`` past origins, all of them before the one that judges the winner.
    """

    space: dict[str, dict[str, Any]] = field(default_factory=dict)
    origins: int = 3


@dataclass(frozen=True)
class ModelConfig:
    """One model: whom it scores, what it predicts, from which features.

    ``heads`` maps the name of each probability to ``label`` (see ``training/labels.py``), ``cohort`` (a name in
    ``cohorts``) and, but for a calendar month, ``horizon_days``. ``timing`` asks for the waiting time until the next
    order: the ``head`` whose booster tells it, and the horizons at which it is asked. ``ignored_checks`` maps the code
    of a check to the reason why its finding is accepted. Reviewers read what the model is for, ``use``, what it is not
    for, ``limits``, and the ``meaning`` of each head, all of them in both languages.
    """

    name: str
    purpose: dict[str, str]
    cohorts: dict[str, dict[str, Any]]
    heads: dict[str, dict[str, Any]]
    origins: OriginsConfig = field(default_factory=OriginsConfig)
    timing: dict[str, Any] = field(default_factory=dict)
    lightgbm: dict[str, Any] = field(default_factory=dict)
    gate: GateConfig = field(default_factory=GateConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    ignored_checks: dict[str, str] = field(default_factory=dict)
    use: dict[str, str] = field(default_factory=dict)
    limits: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Config:
    """Everything that ``configs/`` and the environment say, checked.

    ``home`` is the folder of everything generated; ``now`` is the pinned clock (aware, UTC) or None for the real one.
    """

    name: str
    seed: int
    engine: str
    memory_limit: str
    threads: int
    online_store: str
    max_feature_age_hours: float
    serving: ServingConfig
    models: dict[str, ModelConfig]
    home: Path
    now: datetime | None = None
    decisions: str = "sqlite"
    audit: str = "sqlite"
    registry: str = "sqlite"
    tracking: str = "sqlite"

    @property
    def tracking_uri(self) -> str:
        """MLflow's database, as SQLAlchemy writes it, or the team's server (see mlflow/README.md)."""
        return database_uri("tracking", self.tracking, self.home)

    @property
    def decisions_uri(self) -> str:
        """The database of decisions and feedback, as SQLAlchemy writes it: a file of the home unless told otherwise."""
        return database_uri("decisions", self.decisions, self.home)

    @property
    def registry_uri(self) -> str:
        """The database of Feast's registry, as SQLAlchemy writes it: a file of the home unless told otherwise."""
        return database_uri("registry", self.registry, self.home)

    @property
    def online_uri(self) -> str:
        """The store of published features: a file of the home, or a Redis; it may hold a password."""
        return online_uri(self.online_store, self.home)

    @property
    def audit_uri(self) -> str:
        """The database of promotions and signatures, as SQLAlchemy writes it: a file of the home by default."""
        return database_uri("audit", self.audit, self.home)

    @property
    def spark_master(self) -> str:
        """The master of the Spark cluster, as Spark writes it: ``spark://host:7077``."""
        return os.environ.get("USEROPS_SPARK") or "spark://127.0.0.1:7077"

    @property
    def user(self) -> str:
        """Who trains, promotes and signs: ``USEROPS_USER``, or the name of this account."""
        return os.environ.get("USEROPS_USER") or getpass.getuser()


def configs_folder() -> Path:
    """The folder of YAML files in force: ``USEROPS_CONFIGS``, or the one of this package."""
    return Path(os.environ.get("USEROPS_CONFIGS") or Path(__file__).parent)


def build(kind: type[_T], content: dict[str, Any], where: str) -> _T:
    """``kind(**content)``, refusing unknown and missing keys by name."""
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(content) - set(fields))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}", got=unknown, expected=sorted(fields))
    missing = sorted(
        name
        for name, f in fields.items()
        if name not in content and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    if missing:
        raise ConfigError(f"{where}: missing key {missing[0]!r}", got=sorted(content), expected=missing)
    return kind(**content)


def load(home: Path | str | None = None, now: datetime | None = None) -> Config:
    """The configuration in force.

    Examples
    --------
    >>> sorted(load().models)
    ['churn', 'interest', 'repurchase', 'value']
    """
    folder = configs_folder()
    project = read_yaml(folder / "project.yaml")
    project["serving"] = build(ServingConfig, project.get("serving") or {}, "project.yaml: serving")
    project["models"] = {path.stem: _model(path) for path in sorted((folder / "models").glob("*.yaml"))}
    project["home"] = _home(home)
    project["now"] = now or _now()
    config = build(Config, project, "project.yaml")
    with_engine(config, config.engine)
    if config.serving.stale_features not in ("decide", "fallback"):
        stale = config.serving.stale_features
        raise ConfigError("project.yaml: serving: stale_features", got=stale, expected="decide or fallback")
    if config.serving.without_keys not in ("loopback", "anywhere"):
        told = config.serving.without_keys
        raise ConfigError("project.yaml: serving: without_keys", got=told, expected="loopback or anywhere")
    online_uri(config.online_store, config.home)
    for name in DATABASES:
        database_uri(name, getattr(config, name), config.home)
    return config


def with_engine(config: Config, engine: str) -> Config:
    """The configuration with another engine for features."""
    if engine not in ("duckdb", "spark"):
        raise ConfigError("engine: who computes features", got=engine, expected="duckdb or spark")
    return dataclasses.replace(config, engine=engine)


def model_of(config: Config, name: str) -> ModelConfig:
    """The model of that name; an unknown one is named beside those there are."""
    if name not in config.models:
        raise ConfigError(f"there is no model {name!r}", got=name, expected=sorted(config.models))
    return config.models[name]


def _model(path: Path) -> ModelConfig:
    content = {"name": path.stem, **read_yaml(path)}
    content["origins"] = build(OriginsConfig, content.get("origins") or {}, f"models/{path.name}: origins")
    content["gate"] = build(GateConfig, content.get("gate") or {}, f"models/{path.name}: gate")
    content["search"] = build(SearchConfig, content.get("search") or {}, f"models/{path.name}: search")
    model = build(ModelConfig, content, f"models/{path.name}")
    if model.gate.approval not in APPROVALS:
        raise ConfigError(f"models/{path.name}: gate: approval", got=model.gate.approval, expected=APPROVALS)
    check_words(f"models/{path.name}: use", model.use, required=False)
    for number, limit in enumerate(model.limits, start=1):
        check_words(f"models/{path.name}: limits: {number}", limit)
    for head, definition in model.heads.items():
        check_words(f"models/{path.name}: heads: {head}: meaning", definition.get("meaning", {}), required=False)
        if definition.get("cohort") not in model.cohorts:
            raise ConfigError(
                f"models/{path.name}: heads: {head}: cohort",
                got=definition.get("cohort"),
                expected=sorted(model.cohorts),
            )
    return model


def _home(home: Path | str | None) -> Path:
    default = Path(__file__).parent.parent / "var"
    return Path(home or os.environ.get("USEROPS_HOME") or default).expanduser().resolve()


def _now() -> datetime | None:
    text = os.environ.get("USEROPS_NOW")
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError("USEROPS_NOW is not an instant", got=text, expected="2011-12-10T00:00:00+00:00") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
