"""A mapping that cannot work is refused when it is loaded, by the name of its entry."""

import json

import pytest

from configs import configs_folder
from configs.errors import ConfigError
from features.sources import load_source, references

GOOD = {
    "read": {"kind": "csv"},
    "columns": {"user_id": "u", "event_type": "'purchase'", "event_at": "t"},
    "dedup": "exact",
}


def write(folder, content, name="mine.yaml"):
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in (configs_folder() / "sources").glob("*.yaml")))
def test_every_source_that_we_ship_loads(name):
    source = load_source(name)
    assert source.name == name
    assert source.about


def test_the_defaults(tmp_path):
    source = load_source(write(tmp_path, GOOD, "My shop-2.yaml"))
    assert source.name == "my_shop_2"
    assert source.timezone == "UTC"
    assert source.limits == {"amount": 1e9, "quantity": 1e9}
    assert source.filters == source.entities == {}


def test_a_path_as_text_is_a_path(tmp_path):
    assert load_source(str(write(tmp_path, GOOD))).name == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filter": {}}, "unknown key 'filter'"),
        ({"columns": {"user_id": "u", "event_at": "t"}}, "columns: missing 'event_type'"),
        ({"columns": {**GOOD["columns"], "sum": "1"}}, "columns: unknown column 'sum'"),
        ({"columns": {**GOOD["columns"], "event_id": "1"}}, "columns: unknown column 'event_id'"),
        ({"columns": {**GOOD["columns"], "amount": "1 +"}}, "columns.amount is not one expression"),
        ({"columns": {**GOOD["columns"], "amount": "1), (2"}}, "columns.amount is not one expression"),
        ({"columns": {**GOOD["columns"], "amount": "1) FROM secrets WHERE (true"}}, "columns.amount is not one exp"),
        ({"columns": {**GOOD["columns"], "amount": "1); DROP TABLE x; SELECT (1"}}, "columns.amount is not one exp"),
        ({"columns": {**GOOD["columns"], "amount": None}}, "columns.amount"),
        ({"columns": ["user_id"]}, "columns"),
        ({"filters": {"ok": "a >"}}, "filters.ok is not one expression"),
        ({"filters": {"Not OK": "true"}}, "filters.Not OK"),
        ({"filters": {"amount_negative": "true"}}, "filters.amount_negative"),
        ({"dedup": "always"}, "dedup"),
        ({"dedup": None}, "dedup"),
        ({"dedup": []}, "dedup"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"limits": {"amount": "many"}}, "limits.amount"),
        ({"limits": {"amount": -1}}, "limits.amount"),
        ({"limits": {"pieces": 1}}, "limits"),
        ({"name": "No!"}, "name"),
        ({"read": {"kind": "excel"}}, "read.kind"),
        ({"read": {"kind": "csv", "sep": ";"}}, "read: unknown key 'sep'"),
        ({"read": {"kind": "csv", "sql": "SELECT 1"}}, "read: 'sql' means nothing to kind csv"),
        ({"read": {"kind": "csv", "delim": ";;"}}, "read.delim"),
        ({"read": {"kind": "csv", "encoding": "utf-9"}}, "read.encoding"),
        ({"read": {"kind": "csv", "header": False}}, "read.names"),
        ({"read": {"kind": "csv", "names": ["a"]}}, "read.names"),
        ({"read": {"kind": "csv", "nulls": "NULL"}}, "read.nulls"),
        ({"read": {"kind": "parquet", "delim": ";"}}, "read: 'delim' means nothing to kind parquet"),
        ({"read": {"kind": "sql"}}, "read.sql"),
        ({"read": {"kind": "sql", "sql": "SELECT 1"}}, "read.sql"),
        ({"read": {"kind": "sql", "sql": "DELETE FROM '{data}'"}}, "read.sql is not one SELECT"),
        ({"entities": {"orders": {}}}, "entities"),
        ({"entities": {"users": {"columns": {"city": "c"}}}}, "entities.users.columns"),
        ({"entities": {"users": {}}}, "entities.users: missing key 'columns'"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_by_the_name_of_its_entry(tmp_path, change, message):
    path = write(tmp_path, {**GOOD, **change})
    with pytest.raises(ConfigError) as caught:
        load_source(path)
    assert str(caught.value).startswith("mine.yaml")
    assert message in caught.value.what


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="online_retail"):
        load_source("online_retial")


def test_digests_change_with_what_they_stand_for(tmp_path):
    one = load_source(write(tmp_path, GOOD))
    about = load_source(write(tmp_path, {**GOOD, "about": "words", "columns": {**GOOD["columns"], "user_id": " u "}}))
    filtered = load_source(write(tmp_path, {**GOOD, "filters": {"ok": "true"}}))
    other = load_source(write(tmp_path, {**GOOD, "dedup": "none"}))
    assert one.digest != filtered.digest
    assert one.identity == filtered.identity
    assert one.identity != other.identity
    assert about.name == one.name


def test_references_are_the_columns_of_an_expression():
    assert references("CASE WHEN \"a b\" > 1 THEN x ELSE lower('y') END") == ["a b", "x"]
    assert references("'purchase'") == []
