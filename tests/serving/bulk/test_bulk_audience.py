"""Audiences out of bulk scores: the best, in one order, and nobody who does not want to be in it."""

from __future__ import annotations

import csv
import dataclasses
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import configs
from configs.errors import UseropsError
from features.catalog import NAMES, digest
from features.forgotten import add, lift
from serving.bulk.audience import Aim, audience, write_audience
from serving.bulk.run import score_everybody
from serving.decision.source import compile_policy
from serving.log import DecisionLog
from serving.scoring import write_release

NOW = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
AS_OF = datetime(2026, 11, 21, tzinfo=UTC)
HEAD = "p_inactive_30d"


@pytest.fixture(scope="module")
def config(tmp_path_factory, catalogue_models, vectors_of):
    """Eighty users; the second forty have the vectors, and so the scores, of the first."""
    home = tmp_path_factory.mktemp("audience")
    config = dataclasses.replace(configs.load(home, NOW), threads=1)
    policy, offers = compile_policy(config)
    documents = {"policy.json": policy, "offers.json": offers}
    write_release(home / "releases", catalogue_models, digest(), NOW, {"alias": "champion"}, documents)
    values = vectors_of(NAMES, 40, 5)
    columns = [pa.array([f"u{79 - k:02}" for k in range(80)])]
    columns += [pa.array([AS_OF] * 80, pa.timestamp("us", "UTC"))] * 2
    columns += [pa.array([*column, *column], from_pandas=True) for column in values.T]
    table = pa.Table.from_arrays(columns, ["user_id", "as_of", "built_at", *NAMES])
    (home / "features" / "user").mkdir(parents=True)
    path = home / "features" / "user" / "2026-11-21T000000Z.parquet"
    pq.write_table(table.replace_schema_metadata({"catalogue_digest": digest()}), path)
    score_everybody(config, home / "scores", ("churn", "value"), lang="en")
    return config


@pytest.fixture(scope="module")
def scores(config):
    return config.home / "scores"


@pytest.fixture
def log(config):
    opened = DecisionLog.open(config.decisions_uri)
    yield opened
    opened.close()


def chosen(config, scores, **aim):
    table, _ = audience(config, scores, Aim("churn", **aim))
    return table["user_id"].to_pylist()


def test_the_best_come_first_and_equals_in_the_order_of_their_ids(config, scores):
    rows = pq.read_table(scores / "churn").to_pylist()
    known = [(row[HEAD]["p"], row["user_id"]) for row in rows if row[HEAD]["p"] is not None]
    expected = [user for _, user in sorted(known, key=lambda one: (-one[0], one[1]))]
    assert len(expected) > 30
    assert chosen(config, scores) == expected
    assert chosen(config, scores, top=7) == expected[:7]
    table, about = audience(config, scores, Aim("churn", top=7))
    assert table["rank"].to_pylist() == list(range(1, 8))
    assert all(len(reasons) == 3 for reasons in table["reasons"].to_pylist())
    assert (about["users_scored"], about["users_found"], about["head"]) == (len(expected), 7, HEAD)


def test_a_threshold_and_another_head(config, scores):
    rows = pq.read_table(scores / "churn").to_pylist()
    likely = {row["user_id"] for row in rows if (row["p_inactive_14d"]["p"] or 0) >= 0.6}
    assert likely
    assert set(chosen(config, scores, head="p_inactive_14d", threshold=0.6)) == likely


def test_value_is_ranked_by_expected_spend(config, scores):
    table, about = audience(config, scores, Aim("value", top=5))
    expected = table["expected"].to_pylist()
    assert expected == sorted(expected, reverse=True)
    assert (about["head"], table["p"].null_count) == ("spend_90d", 0)


def test_wishes_of_now_are_kept(config, scores, log):
    everybody = chosen(config, scores)
    first, second, third, fourth, *_ = everybody
    log.set_personalization(first, False, 1)
    log.set_opted_out(second, None, True, 1)
    log.set_opted_out(third, "app", True, 1)
    log.set_consent(fourth, "app", False, 1)
    log.set_consent(everybody[9], "sms", True, 1)
    assert chosen(config, scores) == everybody[2:]
    assert chosen(config, scores, top=3) == everybody[2:5]
    assert chosen(config, scores, channel="app") == everybody[4:]
    assert chosen(config, scores, channel="sms") == [everybody[9]]  # the policy asks for consent there
    _, about = audience(config, scores, Aim("churn", channel="sms"))
    assert (about["users_unwilling"], about["needs_consent"]) == (len(everybody) - 1, True)
    _, about = audience(config, scores, Aim("churn", channel="app"))
    assert (about["users_unwilling"], about["needs_consent"]) == (4, False)


def test_who_was_forgotten_since_is_in_no_audience(config, scores):
    everybody = chosen(config, scores)
    add(config, everybody[:1])
    try:
        assert chosen(config, scores) == everybody[1:]
    finally:
        lift(config, everybody[:1])


def test_the_same_again_is_the_same_file(config, scores, tmp_path):
    table, about = audience(config, scores, Aim("churn", top=20))
    for name in ("a.csv", "b.csv", "a.parquet", "b.parquet"):
        write_audience(*(table, tmp_path / name, about))
        table, about = audience(config, scores, Aim("churn", top=20))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == table.to_pylist()
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["user_id"] for row in rows] == table["user_id"].to_pylist()
    assert [float(row["p"]) for row in rows] == table["p"].to_pylist()
    assert rows[0]["reasons"].count("; ") == 2


@pytest.mark.parametrize(
    ("aim", "message"),
    [
        (Aim("repurchase"), "holds no finished scores of repurchase"),
        (Aim("churn", head="p_nothing"), "not asked about this"),
        (Aim("churn", category="tea"), "not asked about this"),
        (Aim("churn", channel="fax"), "no such channel"),
    ],
)
def test_what_cannot_be_chosen_is_said(config, scores, aim, message):
    with pytest.raises(UseropsError, match=message):
        audience(config, scores, aim)
