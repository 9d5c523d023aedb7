"""From rule files, or a table of offers, to what a release carries: everything checked, the line at fault named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

from configs import Config, configs_folder, line_of, read_yaml
from configs.errors import RuleError
from serving.decision.fields import Fields, Refused
from serving.decision.offer_fields import OFFER_FIELDS, check_worthwhile, read_offers
from serving.decision.policy_fields import read_policy

__all__ = ["compile_policy"]

#: Fields that a table may hold as JSON text.
_NESTED = {
    *("items", "categories", "channels", "placements", "scenarios", "stores", "lifecycle_states", "value_tiers"),
    *("tags", "consents", "collections", "levers", "caps", "attributes"),
}
_NUMBERS = {"value", "margin", "cost", "prior_p"}


def compile_policy(config: Config, folder: Path | None = None) -> tuple[bytes, bytes]:
    """The bytes of ``policy.json`` and ``offers.json`` of a release.

    They come from ``policy.yaml`` in ``folder`` (default: the configs in force) and the offers that it names.

    Raises
    ------
    RuleError
        A rule cannot be meant; the message begins with the file and the line, of a table with the row.

    Examples
    --------
    >>> import json
    >>> from configs import load
    >>> policy, offers = compile_policy(load())
    >>> json.loads(policy)["offers"] == json.loads(offers)["digest"]
    True
    """
    folder = folder or configs_folder()
    path = folder / "policy.yaml"
    content = read_yaml(path)
    try:
        policy, vocabulary = read_policy(content)
        source = Fields(content.get("offers"), ("offers",), ("file", "parquet", "table", "url"))
        if len({"file", "parquet", "table"} & set(source.content)) != 1:
            raise Refused(
                ("offers",), "must name one source", got=dict(source.content), expected="file, parquet or table"
            )
        raw, where = _source(source, folder, config)
    except Refused as refused:
        raise _placed(refused, f"{path.name} line {line_of(path, refused.keys)}") from None
    try:
        offers = read_offers(raw, ("offers",), vocabulary)
        check_worthwhile(offers, ("offers",), policy["arbitration"]["default_margin"])
    except Refused as refused:
        raise _placed(refused, where(refused)) from None
    rows = _canonical(offers)
    digest = sha256(rows).hexdigest()
    arbitration, smoothing = policy["arbitration"], policy["smoothing"]
    policy["offers"] = f"sha256:{digest}"
    policy["digest"] = f"sha256:{sha256(_canonical(policy)).hexdigest()}"
    head = _canonical(
        {
            "digest": policy["offers"],
            "default_margin": arbitration["default_margin"],
            "default_p": smoothing["p0"],
        }
    )
    return _canonical(policy), head[:-1] + b',"offers":' + rows + b"}"


def _canonical(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _placed(refused: Refused, place: str) -> RuleError:
    path = ".".join(map(str, refused.keys))
    return RuleError(
        f"{place}: {path}: {refused.problem}" if path else f"{place}: {refused.problem}",
        got=refused.got,
        expected=refused.expected,
        run="userops release",
    )


Where = Callable[[Refused], str]


def _source(source: Fields, folder: Path, config: Config) -> tuple[Any, Where]:
    """The raw offers, and how to name the place of a refused one."""
    if source.given("file"):
        path = folder / str(source.text("file"))
        content = Fields(read_yaml(path), (), ("offers",)).content
        return content.get("offers"), lambda refused: f"{path.name} line {line_of(path, refused.keys)}"
    if source.given("parquet"):
        path = folder / str(source.text("parquet"))
        rows, name = _parquet(path, source), path.name
    else:
        name = str(source.text("table"))
        rows = _table(name, source, config)

    def where(refused: Refused) -> str:
        keys = refused.keys
        if len(keys) < 2:
            return name
        place = int(keys[1])
        return f"{name} row {place + 1} (offer_id {rows[place].get('offer_id')!r})"

    return rows, where


def _parquet(path: Path, source: Fields) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise source.refuse("parquet", f"cannot be read: {str(error).splitlines()[0]}", "a Parquet file") from None
    return [_row(row) for row in table.to_pylist()]


def _table(name: str, source: Fields, config: Config) -> list[dict[str, Any]]:
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    url = source.text("url", "decisions")
    engine = sqlalchemy.create_engine(config.decisions_uri if url == "decisions" else str(url))
    try:
        table = sqlalchemy.Table(name, sqlalchemy.MetaData(), autoload_with=engine)
        if "offer_id" not in table.columns:
            raise source.refuse("table", "has no column offer_id", sorted(OFFER_FIELDS))
        with engine.connect() as connection:
            read = connection.execute(sqlalchemy.select(table).order_by(table.columns["offer_id"]))
            return [_row(dict(row)) for row in read.mappings()]
    except SQLAlchemyError as error:
        raise source.refuse("table", f"cannot be read: {type(error).__name__}", "a table that the url holds") from None
    finally:
        engine.dispose()


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table as a mapping of a rule file: absent cells left out, JSON texts read."""
    return {name: _cell(name, value) for name, value in row.items() if value is not None}


def _cell(name: str, value: Any) -> Any:
    if name in _NESTED and isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if name in ("levers", "attributes") and isinstance(value, list):  # a map column of Parquet
        return dict(value)
    if name == "ignore_need" and value in (0, 1):
        return bool(value)
    if name in _NUMBERS and isinstance(value, Decimal):
        return float(value)
    return _without_nulls(value)


def _without_nulls(value: Any) -> Any:
    """A struct of Parquet has every field of its type, most of them null."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
