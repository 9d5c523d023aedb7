"""Where a version comes from: run, code, data, features, seed and parameters; and where MLflow shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from configs import Config

__all__ = ["lineage_of", "shown_at"]


def lineage_of(config: Config, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The lineage of the version that ``model.json`` describes."""
    training, recipe = meta.get("training", {}), meta.get("recipe", {})
    fits = training.get("fits", {})
    return {
        "run_id": meta["run_id"],
        "code": meta.get("code"),
        "data_hash": training.get("data", {}).get("data_hash"),
        "catalogue_digest": meta["catalogue_digest"],
        "seed": recipe.get("seed"),
        # What was asked for over the defaults, and with the defaults of each booster below it.
        "lightgbm": recipe.get("lightgbm", {}),
        "parameters": {name: log.get("params", {}) for name, log in fits.items()},
        "trees": {name: log["trees"] for name, log in fits.items() if "trees" in log},
        "tracking": shown_at(config.tracking_uri, meta["name"], str(meta["version"])),
    }


def shown_at(tracking: str, model: str, version: str) -> str:
    """The page of MLflow that shows a version, or the database to give to ``mlflow ui``: never with a password.

    Examples
    --------
    >>> shown_at("http://wu:secret@tracking:5000", "churn", "3")
    'http://tracking:5000/#/models/churn/versions/3'
    >>> shown_at("postgresql+psycopg://wu:secret@db/mlflow", "churn", "3")
    'postgresql+psycopg://db/mlflow'
    >>> shown_at("sqlite:////srv/var/mlflow.db", "churn", "3")
    'sqlite:///$USEROPS_HOME/mlflow.db'
    """
    parts = urlsplit(tracking)
    if parts.scheme in ("http", "https"):
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        return f"{bare}/#/models/{model}/versions/{version}"
    if parts.scheme.startswith("sqlite"):
        # The home may be copied or mounted elsewhere, and the card goes with it.
        return f"sqlite:///$USEROPS_HOME/{parts.path.rpartition('/')[2]}"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
