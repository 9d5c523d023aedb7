"""Everybody's interests in bulk are the service's answers, to the last bit."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import configs
from configs import configs_folder
from configs.errors import FeatureError, UseropsError
from configs.history import History, code, pack
from features.catalog import NAMES, digest
from serving.bulk import staged
from serving.bulk.interest import InterestScorer
from serving.bulk.run import score_everybody
from serving.nbo.reasons import InterestReasons, explained
from serving.nbo.scorer import Row
from serving.scoring import current

AS_OF = datetime(2026, 11, 21, 9, 58, 2, tzinfo=UTC)
AT_US = 1_795_255_082_000_000
OFF, FORGETTER = "u3", "u5"


def batch_of(users, histories):
    instants = pa.array([AS_OF] * len(users), pa.timestamp("us", "UTC"))
    lines = pa.array([pack(one).tolist() if len(one) else None for one in histories], pa.list_(pa.float64()))
    return pa.RecordBatch.from_arrays(
        [pa.array(list(users), pa.string()), instants, lines], ["user_id", "as_of", "history"]
    )


@pytest.fixture(scope="module")
def histories(shop):
    return dict(zip(shop.users, shop.at(AT_US), strict=True))


@pytest.fixture(scope="module")
def wished(decider, nbo_log):
    nbo_log.set_personalization(OFF, False, AT_US - 2)
    nbo_log.delete_tag(FORGETTER, "interest:tea", AT_US - 2)
    nbo_log.delete_tag(FORGETTER, "interest:books", AT_US - 2)
    return decider


@pytest.fixture(scope="module")
def release(decider):
    return str(current(decider.home / "releases"))


@pytest.fixture
def stored(decider, histories, tmp_path, monkeypatch):
    """A home with the release, a snapshot of users and their histories, in no order; two users have none."""
    (tmp_path / "releases").symlink_to(decider.home / "releases")
    users = [*histories, "z1", "z2"]
    empty = pa.array([None] * len(users), pa.float64())
    instants = pa.array([AS_OF] * len(users), pa.timestamp("us", "UTC"))
    vectors = pa.Table.from_arrays([pa.array(users), instants, *[empty] * len(NAMES)], ["user_id", "as_of", *NAMES])
    lines = pa.Table.from_batches([batch_of(list(histories)[::-1], list(histories.values())[::-1])])
    for name, table in (("user", vectors), ("history", lines)):
        (tmp_path / "features" / name).mkdir(parents=True)
        table = table.replace_schema_metadata({"catalogue_digest": digest()})
        pq.write_table(table, tmp_path / "features" / name / f"{AS_OF:%Y-%m-%dT%H%M%SZ}.parquet")
    monkeypatch.setattr(staged, "USERS", 60)
    monkeypatch.setattr(staged, "GROUP", 50)
    return dataclasses.replace(configs.load(tmp_path, datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)), threads=2)


def test_everybody_is_written_beside_their_history_and_a_lost_part_comes_again(stored, histories, tmp_path):
    told = score_everybody(stored, tmp_path / "out", ("interest",), reasons=1)
    users = sorted([*histories, "z1", "z2"])
    batch = batch_of(users, [histories.get(user, History.of([])) for user in users])
    own = InterestScorer(str(current(stored.home / "releases")), 1).scored(batch).to_pylist()
    assert pq.read_table(tmp_path / "out" / "interest").to_pylist() == own
    assert told["models"]["interest"]["rows"] == len(own) == len(users) * 6
    assert not (tmp_path / "out" / ".work").exists()
    lost = tmp_path / "out" / "interest" / "part-00000.parquet"
    there = lost.read_bytes()
    lost.unlink()
    score_everybody(stored, tmp_path / "out", ("interest",), reasons=1)
    assert lost.read_bytes() == there
    # Users beside their histories, laid out otherwise than before, would not be those of the lost part.
    lost.rename(lost.with_name("part-00001.parquet"))
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"staged": "sha256:', '"staged": "sha256:0'))
    with pytest.raises(UseropsError, match="made from something else"):
        score_everybody(stored, tmp_path / "out", ("interest",), reasons=1)
    path = next((stored.home / "features" / "history").iterdir())
    pq.write_table(pq.read_table(path).slice(0, 100), path)
    with pytest.raises(UseropsError, match="made from something else"):
        score_everybody(stored, tmp_path / "out", ("interest",), reasons=1)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_categories_are_those_of_the_service(wished, release, histories, lang):
    users = [*list(histories)[:60]]
    asked = {"user_ids": users, "categories": 100, "items": 0, "as_of": AS_OF.isoformat(), "explain": {"lang": lang}}
    answer = wished.client.post("/v1/score/interest", json=asked)
    assert answer.status_code == 200, answer.text
    refused = {FORGETTER: frozenset({"interest:tea", "interest:books", "o_tea_1"})}
    batch = batch_of(users, [histories[user] for user in users])
    rows = InterestScorer(release, 3, lang).scored(batch, frozenset({OFF}), refused).to_pylist()
    for user in answer.json()["users"]:
        own = [row for row in rows if row["user_id"] == user["user_id"]]
        assert {row["status_reason"] for row in own} == {user["status_reason"]}
        if user["user_id"] == OFF:
            assert user["categories"] == []
            assert [(row["category_id"], row["p"], row["reasons"]) for row in own] == [(None, None, [])]
            continue
        assert [row["rank"] for row in own] == list(range(1, len(user["categories"]) + 1))
        for row, said in zip(own, user["categories"], strict=True):
            assert row["category_id"] == said["category_id"]
            assert [row["p"], row["p_low"], row["p_high"], row["raw"]] == [
                said["p"],
                *said["p_interval"],
                said["score"],
            ]
            assert row["need"] == said["need"]
            assert row["because"] == said["because"]
    forgotten = {row["category_id"]: row["because"] for row in rows if row["user_id"] == FORGETTER}
    assert forgotten["tea"] is forgotten["books"] is None


def test_reasons_are_those_of_a_decision_about_the_same_pair(release, interest, histories):
    lang, users = "en", list(histories)[60:75]
    rows = InterestScorer(release, 3, lang).scored(batch_of(users, [histories[user] for user in users])).to_pylist()
    sentences = InterestReasons.load(configs_folder() / "reasons_interest.yaml")
    for row in rows:
        history = histories[row["user_id"]]
        scored = interest.score_categories(history, AT_US)
        place = int(np.flatnonzero(scored.codes == code(row["category_id"]))[0])
        pair, past = Row(scored, place, row["category_id"]), interest.past(history, AT_US)
        told, _ = explained(interest, sentences, pair, past, top_n=3, lang=lang, everything=False)
        own = [{name: one[name] for name in ("code", "feature", "value", "contribution", "text")} for one in told]
        assert row["reasons"] == [one for one in own if one["feature"] is not None]
        assert row["percentile"] == np.round(interest.heads["category"].percentile(scored.raw)[place], 2)


def test_who_never_did_anything_is_scored_by_what_everybody_does(release, interest):
    nothing = History.of([])
    rows = InterestScorer(release, 0).scored(batch_of(["new"], [nothing])).to_pylist()
    scored = interest.score_categories(nothing, AT_US)
    assert [row["raw"] for row in rows] == sorted(scored.raw.tolist(), reverse=True)
    assert {row["need"] is row["because"] is None for row in rows} == {True}


def test_what_is_no_history_is_said_and_moves_nobody_elses_lines(release, histories):
    """Two of nine numbers each are three lines together: of whom?"""
    users = list(histories)[:8]
    whole = batch_of(users, [histories[user] for user in users])
    lists = whole.column("history").to_pylist()
    assert all(lists)
    lists[1] = lists[3] = [1.0] * 9
    lists[5][4] = np.inf
    lists[6][0] = None
    broken = whole.set_column(2, "history", pa.array(lists, pa.list_(pa.float64())))
    scorer = InterestScorer(release, 2)
    before, after = (scorer.scored(one, frozenset({users[7]})).to_pylist() for one in (whole, broken))
    unreadable = {users[1], users[3], users[5], users[6]}
    rows = [row for row in after if row["user_id"] in unreadable]
    assert [row["user_id"] for row in rows] == [users[1], users[3], users[5], users[6]]
    assert {(row["status_reason"], row["category_id"], row["p"]) for row in rows} == {
        ("FEATURES_UNAVAILABLE", None, None)
    }
    others = [[row for row in told if row["user_id"] not in unreadable] for told in (before, after)]
    assert others[0] == others[1]


def test_histories_of_another_instant_than_the_users_are_refused(stored, tmp_path):
    path = next((stored.home / "features" / "history").iterdir())
    path.rename(path.with_name("2026-11-20T000000Z.parquet"))
    with pytest.raises(FeatureError, match="no histories are stored of the instant"):
        score_everybody(stored, tmp_path / "out", ("interest",))
    assert not list((tmp_path / "out").glob("*/*"))


def test_scores_do_not_depend_on_how_users_are_cut_into_batches(release, histories, monkeypatch):
    scorer = InterestScorer(release, 2)
    batch = batch_of(list(histories), list(histories.values()))
    whole = pa.Table.from_batches([scorer.scored(batch, frozenset({OFF}))])
    monkeypatch.setattr("serving.bulk.many.PAIRS", 37)
    parts = [scorer.scored(batch.slice(at, 50), frozenset({OFF})) for at in range(0, batch.num_rows, 50)]
    assert pa.Table.from_batches(parts).combine_chunks().equals(whole.combine_chunks())
    assert whole.schema == scorer.schema
