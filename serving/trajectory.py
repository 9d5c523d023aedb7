"""How the value of customers develops: the value model in force asked about every stored snapshot of features.

One model throughout, so that what moves is the customers. Beside it the matrix by which budgets are shared: value tier
against the risk to fall silent.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from configs import Config
from configs.errors import UseropsError
from features.catalog import NAMES, digest
from serving.scoring import Bundle, Model, current
from serving.scoring.value.model import NAME, ValueModel
from serving.scoring.value.tiers import TIERS

__all__ = ["RISKS", "snapshots_apart", "trajectory"]

Floats = NDArray[np.float64]

RISK_HEAD = "p_inactive_30d"
RISKS = ("low", "middle", "high", "already silent")
LOW, HIGH = 0.25, 0.5
HELD = ("user_id", "value_tier")


def trajectory(config: Config, most: int = 6, days_apart: float = 28.0, rows: Path | None = None) -> dict[str, Any]:
    """What the tiers were at up to ``most`` snapshots, how customers moved between them, and today's matrix.

    Parameters
    ----------
    rows
        A Parquet file to write: ``user_id``, ``as_of``, expected spend, tier and risk, of every customer and snapshot.

    Raises
    ------
    UseropsError
        When the release in force holds no value model, or no snapshot is stored.
    """
    bundle = Bundle.load(current(config.home / "releases"), digest())
    value = bundle.models.get(NAME)
    if not isinstance(value, ValueModel):
        raise UseropsError("the release in force holds no value model", got=sorted(bundle.models), run="userops train")
    paths = snapshots_apart(sorted((config.home / "features" / "user").glob("*.parquet")), most, days_apart)
    if not paths:
        raise UseropsError("no features are stored", got=str(config.home / "features"), run="userops features build")
    tables = [_table(path, value, bundle.models.get("churn")) for path in paths]
    if rows is not None:
        pq.write_table(pa.concat_tables(tables), rows, compression="zstd")
    held: list[dict[Any, Any]] = [dict(zip(*(t[c].to_pylist() for c in HELD), strict=True)) for t in tables]
    newest = tables[-1]
    return {
        "release_id": bundle.release_id,
        "model_version": value.version,
        "head": value.tiers.rules.head,
        "snapshots": [_counted(table) for table in tables],
        "moves": [
            {"from": _as_of(a), "to": _as_of(b), **_moves(before, after)}
            for a, b, before, after in zip(paths, paths[1:], held, held[1:], strict=False)
        ],
        "matrix": _matrix(newest) if "churn" in bundle.models else None,
    }


def snapshots_apart(paths: list[Path], most: int, days: float) -> list[Path]:
    """The newest snapshots, each at least so many days from the next, oldest first.

    Examples
    --------
    >>> stored = [Path(f"2026-0{m}-01T000000Z.parquet") for m in (1, 2, 3, 4)]
    >>> [path.stem[:10] for path in snapshots_apart(stored, 2, 40)]
    ['2026-02-01', '2026-04-01']
    """
    chosen: list[Path] = []
    for path in reversed(paths):
        if not chosen or _instant(chosen[-1]) - _instant(path) >= timedelta(days=days):
            chosen.append(path)
    return chosen[:most][::-1]


def _instant(path: Path) -> datetime:
    return datetime.strptime(path.stem, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC)


def _as_of(path: Path) -> str:
    return f"{_instant(path):%Y-%m-%d}"


def _table(path: Path, value: ValueModel, churn: Model | None) -> pa.Table:
    """Everybody of a snapshot who bought before: ``user_id``, ``as_of``, ``expected``, ``value_tier``, ``risk``."""
    read = pq.read_table(path, columns=["user_id", *NAMES])
    x = np.column_stack([read[name].to_numpy().astype(np.float64) for name in NAMES])
    own, head = np.ascontiguousarray(x[:, value.columns(NAMES)]), value.tiers.rules.head
    inside = value.in_cohort(own, head)
    own = own[inside]
    expected = value.spend(own, [head])[head].expected
    risk = _risk(x[inside], churn)
    columns: dict[str, Any] = {
        "user_id": read["user_id"].filter(pa.array(inside)),
        "as_of": pa.array([_instant(path)] * len(own), pa.timestamp("us", "UTC")),
        "expected": pa.array(expected, pa.float64()),
        "value_tier": pa.array(value.tier(own, expected), pa.string()),
        "risk": pa.array(risk, pa.string()),
    }
    return pa.table(columns)


def _risk(x: Floats, churn: Model | None) -> list[str | None]:
    if churn is None or RISK_HEAD not in churn.heads:
        return [None] * len(x)
    own = np.ascontiguousarray(x[:, churn.columns(NAMES)])
    active = churn.in_cohort(own, RISK_HEAD)
    p = np.full(len(x), np.nan)
    p[active] = churn.probability(own[active], RISK_HEAD)
    band = np.where(active, np.where(p >= HIGH, 2, np.where(p < LOW, 0, 1)), 3)
    return [RISKS[k] for k in band.tolist()]


def _counted(table: pa.Table) -> dict[str, Any]:
    tier, expected = np.array(table["value_tier"].to_pylist(), dtype=object), table["expected"].to_numpy()
    return {
        "as_of": f"{table['as_of'][0].as_py():%Y-%m-%d}" if len(table) else None,
        "customers": len(table),
        "tiers": {name: int((tier == name).sum()) for name in TIERS},
        "expected": {name: float(expected[tier == name].sum()) for name in TIERS},
    }


def _moves(before: dict[Any, Any], after: dict[Any, Any]) -> dict[str, Any]:
    """Where the customers of one snapshot were at the next; whoever bought first in between is ``new``."""
    went = {a: dict.fromkeys(TIERS, 0) for a in (*TIERS, "new")}
    for user, tier in after.items():
        went[before.get(user, "new")][tier] += 1
    same = sum(sum(went[a].values()) for a in TIERS)
    return {"stayed": sum(went[a][a] for a in TIERS) / max(same, 1), "went": went}


def _matrix(table: pa.Table) -> dict[str, dict[str, dict[str, float]]]:
    """Customers and expected spend by tier and risk."""
    tier, risk = (np.array(table[name].to_pylist(), dtype=object) for name in ("value_tier", "risk"))
    expected = table["expected"].to_numpy()
    return {
        name: {
            band: {"customers": float(chosen.sum()), "expected": float(expected[chosen].sum())}
            for band in RISKS
            for chosen in [(tier == name) & (risk == band)]
        }
        for name in TIERS
    }
