"""Scores of a batch are the service's answers, to the last bit."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from configs import configs_folder
from configs.errors import BundleError
from features.catalog import NAMES, USER_FEATURES
from serving.bulk.score import Scorer
from serving.bulk.sentences import Sentences
from serving.bulk.strongest import strongest
from serving.reasons import Reasons
from serving.scoring import current

USERS = [f"u{number}" for number in range(50)]
OFF = "u7"
ANYBODY = ("user_id", "stale", "status_reason")
SHARED = ("code", "feature", "value", "contribution", "text")


@pytest.fixture(scope="module")
def release(served):
    return str(current(served.home / "releases"))


@pytest.fixture(scope="module")
def batch(served):
    columns = [pa.array(USERS), pa.array(served.published.as_of).cast(pa.timestamp("us", "UTC"))]
    columns += [pa.array(column, from_pandas=True) for column in served.published.values.T]
    return pa.RecordBatch.from_arrays(columns, ["user_id", "as_of", *NAMES])


@pytest.fixture(scope="module")
def wished(served):
    """The service once it knows who wants no personalisation."""
    put = served.client.request("PUT", f"/v1/users/{OFF}/personalization", json={"personalization": "off"})
    assert put.status_code == 200
    return served


def told(reason):
    return {name: reason[name] for name in SHARED} | {"part": reason.get("part")}


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("model", ["churn", "repurchase"])
def test_probabilities_and_reasons_are_those_of_the_service(wished, release, batch, model, lang):
    stale_before = int(datetime.fromisoformat("2026-11-19T10:11:12+00:00").timestamp()) * 1_000_000
    scorer = Scorer(release, model, 3, lang, stale_before)
    answer = wished.score(model, USERS, explain={"top_n": 3, "lang": lang})
    rows = scorer.scored(batch, {OFF}).to_pylist()
    states = set()
    for user, row in zip(answer["users"], rows, strict=True):
        assert {name: row[name] for name in ANYBODY} == {name: user[name] for name in ANYBODY}
        for head, score in user["scores"].items():
            own = row[head]
            assert {name: own[name] for name in ("p", "percentile", "status_reason")} == {
                name: score[name] for name in ("p", "percentile", "status_reason")
            }
            assert [told(reason) for reason in own["reasons"]] == [told(reason) for reason in score["reason_codes"]]
            raw = (score["explanation"] or {}).get("raw_score")
            assert own["raw"] == raw
            states.add(score["status_reason"])
        if "expected_next_order" in row:
            told_next = user["expected_next_order"]
            ends = (user["expected_next_order_at"], told_next["low_at"], told_next["high_at"])
            own = row["expected_next_order"]
            assert [own[name] for name in ("at", "low_at", "high_at")] == [
                None if end is None else datetime.fromisoformat(end) for end in ends
            ]
            assert own["status_reason"] == told_next["status_reason"]
    assert states == {None, "OUT_OF_COHORT", "PERSONALIZATION_OFF"}


def test_spend_tiers_and_both_factors_are_those_of_the_service(wished, release, batch):
    answer = wished.score("value", USERS, explain={"top_n": 2, "lang": "zh"})
    rows = Scorer(release, "value", 2, "zh").scored(batch, {OFF}).to_pylist()
    for user, row in zip(answer["users"], rows, strict=True):
        assert row["value_tier"] == user["value_tier"]
        for head, score in user["scores"].items():
            own, interval = row[head], score["interval"] or {}
            same = ("expected", "typical", "p", "amount", "percentile", "status_reason")
            assert {name: own[name] for name in same} == {name: score[name] for name in same}
            assert [own["low"], own["high"]] == [interval.get("low"), interval.get("high")]
            assert [told(reason) for reason in own["reasons"]] == [told(reason) for reason in score["reason_codes"]]
            parts = score["explanation"] or {"purchase": {}, "amount": {}}
            assert [own["raw"], own["amount_raw"]] == [parts[name].get("raw_score") for name in ("purchase", "amount")]


def test_scores_do_not_depend_on_how_users_are_cut_into_batches(release, batch):
    scorer = Scorer(release, "repurchase", 3, "en")
    whole = pa.Table.from_batches([scorer.scored(batch)])
    parts = pa.Table.from_batches([scorer.scored(batch.slice(at, 7)) for at in range(0, 50, 7)])
    assert whole.equals(parts)
    assert whole.schema == scorer.schema
    assert whole.schema.metadata[b"version"] == b"3"


def test_without_reasons_nothing_else_changes(release, batch):
    told, silent = (Scorer(release, "churn", many, "en").scored(batch).to_pylist() for many in (3, 0))
    for row in told:
        for head in row.values():
            if isinstance(head, dict):
                head["reasons"] = []
    assert silent == told


@pytest.mark.parametrize("model", ["churn", "repurchase", "value"])
def test_who_has_an_infinite_number_has_no_score_and_it_is_said(release, batch, model):
    """Also where this model does not read it; nobody else's scores change."""
    columns = {name: batch.column(name).to_numpy(zero_copy_only=False).copy() for name in NAMES}
    columns[NAMES[0]][3], columns[NAMES[-1]][4] = np.inf, -np.inf
    values = [pa.array(column, from_pandas=True) for column in columns.values()]
    broken = pa.RecordBatch.from_arrays([batch.column("user_id"), batch.column("as_of"), *values], batch.schema.names)
    scorer = Scorer(release, model)
    before, after = (scorer.scored(one, {OFF}).to_pylist() for one in (batch, broken))
    assert [row for k, row in enumerate(after) if k not in (3, 4)] == [
        row for k, row in enumerate(before) if k not in (3, 4)
    ]
    for row in (after[3], after[4]):
        assert row.pop("status_reason") == "FEATURES_UNAVAILABLE"
        assert row.pop("value_tier", None) is None
        for told in (one for one in row.values() if isinstance(one, dict)):
            assert told.pop("status_reason") == "FEATURES_UNAVAILABLE"
            assert {str(one) for one in told.values()} <= {"None", "[]"}


def test_a_model_that_is_not_in_the_release_is_named_beside_those_that_are(release):
    with pytest.raises(BundleError, match=r"got: weather\s+expected: \['churn', 'repurchase', 'value'\]"):
        Scorer(release, "weather")


def test_the_strongest_are_those_of_a_stable_sort_of_everything():
    random = np.random.default_rng(3)
    phi = random.integers(-3, 4, (500, 12)) * 0.5
    assert (strongest(phi, 4) == np.argsort(-np.abs(phi), axis=1, kind="stable")[:, :4]).all()
    assert strongest(phi[:, :2], 4).shape == (500, 2)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_sentence_is_the_one_written_for_its_row_alone(lang):
    """Also where a value lies in the middle between two that could be written, is tiny, huge, negative or absent."""
    reasons = Reasons.load(Path(configs_folder()) / "reasons.yaml", USER_FEATURES)
    random = np.random.default_rng(8)
    tricky = [0.0, -0.0, 0.05, 0.25, 0.95, 0.949999, 1.05, 9.949999, 9.95, 10.5, 2.5, 1e9 + 0.5, 1e300, 0.005, 1.005]
    tricky += [1.115, 0.145, 2.675, -0.04, -3.25, 1e-320, 365.0, np.nan, 0.1 + 0.2, 1 / 60, 1e15]
    many = 120
    columns = {
        name: np.where(random.random(many) < 0.8, random.choice(tricky, many), random.gamma(1.0, 20.0, many))
        for name in NAMES
    }
    feature, row = (index.reshape(-1) for index in np.meshgrid(np.arange(len(NAMES)), np.arange(many)))
    written = Sentences(reasons, NAMES, lang).texts(feature, row, columns.get).to_pylist()
    for place, index, text in zip(feature.tolist(), row.tolist(), written, strict=True):

        def value(name, index=index):
            number = float(columns[name][index]) if name in columns else float("nan")
            return None if number != number else number

        assert text == reasons.text(NAMES[place], lang, value)
