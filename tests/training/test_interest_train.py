"""Interest: what is learned comes from before, what is judged from after; and it beats habit and popularity."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from datetime import timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import OriginsConfig, load
from configs.errors import TrainingError
from configs.history import PURCHASE, History, code, pack
from features.build import build
from features.events import span
from features.ingest import ingest
from features.periods import as_utc
from features.simulate import Shop, simulate
from features.simulate.assortment import CATEGORIES
from serving.scoring import Bundle, current
from serving.scoring.interest.model import HEADS
from training.aliases import move
from training.benchmark_interest import benchmark_interest
from training.forecasts import Recipe, kept
from training.gate.promote import trained
from training.interest.examples import ask, known_at
from training.interest.histories import Histories, read_histories, us
from training.interest.needs import learn_needs
from training.interest.procedure import Learner
from training.interest.ranking import Task, ranking_values, task_of
from training.interest.train import learner_of, left_out
from training.registry import CHALLENGER, CHAMPION, Registry
from training.release import release
from training.search.lists import lists
from training.train import train

END = as_utc("2026-06-01")
ORIGIN = as_utc("2026-04-01")
DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    home = tmp_path_factory.mktemp("interest")
    loaded = load(home, END)
    quick = {"trees": 40, "num_leaves": 7, "learning_rate": 0.15}
    model = dataclasses.replace(loaded.models["interest"], origins=OriginsConfig(28, 3, 60), lightgbm=quick)
    config = dataclasses.replace(loaded, threads=1, models={**loaded.models, "interest": model})
    ingest(config, "shop", simulate(home / "shop", Shop(users=300, days=300, end=END)))
    return config


@pytest.fixture(scope="module")
def histories(config):
    return read_histories(config, END)


@pytest.fixture(scope="module")
def report(config):
    return train(config, "interest")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A larger shop, for rhythms: only its purchases matter."""
    home = tmp_path_factory.mktemp("many")
    config = dataclasses.replace(load(home, END), threads=1)
    ingest(config, "shop", simulate(home / "shop", Shop(users=1200, days=360, end=END)))
    return read_histories(config, END)


@pytest.fixture(scope="module")
def known(histories):
    return known_at(histories, us(ORIGIN), HEADS, 0)


def positions(histories, origin_us):
    return np.flatnonzero(histories.ends(origin_us) > histories.start[:-1])


def test_both_heads_beat_habit_and_popularity(report):
    assert set(report.metrics) == set(HEADS)
    for head in HEADS:
        ours, others = report.metrics[head], report.baselines[head]
        assert set(others) == {"personal_frequency", "popularity", "item_item_counts"}
        for name, values in others.items():
            assert ours["log_loss"]["value"] < values["log_loss"], name
            assert ours["auroc"]["value"] > values["auroc"], name
        # Some seventy buyers: their lists are told from chance against popularity only.
        assert ours["ndcg@10"]["value"] > others["popularity"]["ndcg@10"]
        assert ours["ndcg@10"]["ci"][1] > max(values["ndcg@10"] for values in others.values())
        assert ours["ece"]["value"] < 0.03
        low, high = ours["recall@10"]["ci"]
        assert low < ours["recall@10"]["value"] < high
        assert {"recall@10_repeat", "recall@10_first", "ndcg@10_repeat", "ndcg@10_first"} <= set(ours)


def test_need_satisfied_is_measured_before_and_after(report):
    item = report.metrics["item"]
    assert item["satisfied_share@10_before"]["value"] > 0
    assert item["satisfied_share@10_after"]["value"] == 0
    assert item["recall@10_suppressed"]["value"] <= item["recall@10"]["value"]
    assert report.baselines["item"]["personal_frequency"]["satisfied_share@10"] > 0


def test_a_card_tells_each_categorys_rhythm_and_lift(report):
    rhythms, found = report.evidence["rhythms"], report.evidence["by_category"]
    assert set(rhythms) == {category.category_id for category in CATEGORIES}
    for one in rhythms.values():
        assert 0 <= one["satisfied_days"] <= one["usual_days"]
        assert one["half_life_days"] > 0
    assert found["groceries"]["buyers"] >= 20
    assert found["groceries"]["lift@10"] > 1.2
    assert all(("lift@10" in one) != ("too_few" in one) for one in found.values())


def test_a_version_is_registered_released_and_scores(config, report, histories):
    version = Registry(config).version("interest", CHALLENGER)
    assert (version.version, version.run_id) == (report.version, report.run_id)
    assert version.metrics["item.recall_at_10"] == pytest.approx(report.metrics["item"]["recall@10"]["value"])
    assert trained(config) == ["interest"]
    move(config, {"interest": {CHAMPION: report.version}})
    documents = {"policy.json": b'{"version": "p-1"}', "offers.json": b"[]"}
    made = release(config, documents)
    bundle = Bundle.load(current(config.home / "releases"))
    assert bundle.release_id == made.release_id
    assert bundle.models == {}
    assert bundle.documents == documents
    assert bundle.meta["policy"]["version"] == "p-1"
    model = bundle.interest
    assert (model.version, model.run_id, model.horizon_days) == (report.version, report.run_id, 28.0)
    history = histories.at(us(END))[0]
    scored = model.score_items(history, us(END), model.candidates(history, us(END), 50))
    assert ((scored.p_low <= scored.p) & (scored.p <= scored.p_high)).all()
    assert model.text(int(scored.codes[0])).startswith("i")
    assert len(model.score_categories(history, us(END)).codes) == len(CATEGORIES)


def test_a_training_slice_is_the_published_history(config, histories):
    for as_of in (ORIGIN, END):
        made = build(config, [as_of], tables=("history",))
        assert made.tables["history"]["rows"] > 100
        files = sorted((config.home / "features" / "history").glob("*.parquet"))
        table = pq.read_table([str(file) for file in files]).to_pylist()
        published = {row["user_id"]: row["history"] for row in table if row["as_of"] == as_of}
        ours = {user: h for user, h in zip(histories.users, histories.at(us(as_of)), strict=True) if len(h)}
        assert set(ours) == set(published)
        for user, history in ours.items():
            assert pack(history).tolist() == published[user]


def test_what_training_forecast_is_found_by_the_recipe_of_its_version(config, report):
    recipe = Recipe.of_version(Registry(config).read_json(report.run_id, "model/model.json"))
    judged = as_utc(report.judged_on)
    assert kept(config, config.models["interest"], recipe, [judged]) == (judged,)


def test_a_search_asks_only_days_that_teach_enough(config, histories, monkeypatch):
    learner = learner_of(config, config.models["interest"], histories, span(config)[0], lambda said, done: None)
    answers = lists(learner).exam(ORIGIN, END).answers({"trees": 5})
    assert set(answers.values) == set(HEADS)
    assert 0 < answers.mean < 1
    monkeypatch.setattr("training.search.lists.LEAST_POSITIVES", 10**9)
    with pytest.raises(TrainingError, match="nothing could be learned on 2026-04-01"):
        lists(learner).exam(ORIGIN, END)


def test_an_item_is_of_the_category_that_was_said_last(histories):
    lines, said = histories.lines, {}
    for row in np.lexsort((np.arange(len(lines)), lines.at_us)).tolist():
        if lines.item[row] and lines.category[row]:
            said[int(lines.item[row])] = histories.category_names[int(lines.category[row])]
    codes = np.array([*said, 12345], dtype=np.int64)
    assert histories.categories_of("item", codes).tolist() == [*said.values(), None]
    categories = np.array(list(histories.category_names), dtype=np.int64)
    assert histories.categories_of("category", categories).tolist() == list(histories.category_names.values())


@pytest.mark.parametrize("head", HEADS)
def test_reviewers_read_how_good_it_is_and_what_moves_it_by_category(config, report, histories, head):
    folder = config.home / "desk" / "interest" / report.version
    segments = json.loads((folder / "card.json").read_text(encoding="utf-8"))["heads"][head]["segments"]
    learned = json.loads((folder / "learned" / f"{head}.json").read_text(encoding="utf-8"))["by_segment"]["category"]
    known = set(histories.category_names.values())
    for parts in (segments, learned):
        assert len(parts) > 2
        assert {one["part"] for one in parts} <= known
    assert {one["by"] for one in segments} == {"category"}


def test_nothing_after_the_origin_reaches_features(histories, known):
    at = us(ORIGIN)
    users = positions(histories, at)[:60]
    asked = ask(histories, known, "item", 30.0, users, np.random.default_rng(0))
    inside = histories.lines.at_us <= at
    lines = History(*(getattr(histories.lines, name)[inside] for name in History.__slots__))
    counts = np.bincount(histories.user[inside], minlength=len(histories.users))
    start = np.concatenate([[0], np.cumsum(counts)])
    cut = dataclasses.replace(histories, lines=lines, start=start)
    again = ask(cut, known_at(cut, at, ("item",), 0), "item", 30.0, users, np.random.default_rng(0))
    np.testing.assert_array_equal(again.code, asked.code)
    np.testing.assert_array_equal(again.x, asked.x)
    assert again.y.sum() == 0 < asked.y.sum()


@pytest.mark.parametrize("head", HEADS)
def test_labels_are_the_purchases_of_the_window(histories, known, head):
    at = us(ORIGIN)
    users = positions(histories, at)
    asked = ask(histories, known, head, 30.0, users, np.random.default_rng(0))
    lines = histories.lines
    bought = set()
    for user, one, when, kind in zip(
        histories.user.tolist(), getattr(lines, head).tolist(), lines.at_us.tolist(), lines.kind.tolist(), strict=True
    ):
        if kind == PURCHASE and at < when <= at + 30 * DAY_US:
            bought.add((user, one))
    expected = [(u, c) in bought for u, c in zip(asked.user_of.tolist(), asked.code.tolist(), strict=True)]
    assert asked.y.astype(bool).tolist() == expected
    assert len(set(zip(asked.user_of.tolist(), asked.code.tolist(), strict=True))) == len(asked)


def test_thinning_keeps_buyers_and_remembers_what_it_did(histories, known):
    users = positions(histories, us(ORIGIN))
    asked = ask(histories, known, "item", 30.0, users, np.random.default_rng(0))
    thin = asked.thinned(5.0, np.random.default_rng(1))
    assert thin.y.sum() == asked.y.sum()
    kept = (len(thin) - thin.y.sum()) / (len(asked) - asked.y.sum())
    assert kept == pytest.approx(np.exp(-thin.offset[0]), rel=0.1)
    assert (np.diff(thin.start) >= 0).all()
    assert thin.start[-1] == len(thin)


def test_no_label_is_learned_that_was_not_known(histories):
    learner = Learner(histories, ("category",), 30.0, OriginsConfig(14, 4, 60), END - timedelta(days=300), 0, 1)
    fitted = learner.fit(ORIGIN)
    calibrated = as_utc(fitted.calibrated_at)
    assert calibrated + timedelta(days=30) <= ORIGIN
    assert all(as_utc(origin) + timedelta(days=30) <= calibrated for origin in fitted.origins)
    assert len(fitted.origins) == 4
    with pytest.raises(TrainingError, match="history is too short"):
        learner.fit(END - timedelta(days=200))


def test_needs_find_the_intervals_of_the_shop(many):
    needs = learn_needs(many, us(END))
    half = dict(zip(needs.categories.tolist(), (needs.gap_days * needs.window).tolist(), strict=True))
    for category in CATEGORIES:
        if category.interval_days <= 60 and category.wanted >= 0.9:
            assert half[code(category.category_id)] == pytest.approx(category.interval_days, rel=0.6, abs=4)
    frequent, rare = half[code("groceries")], half[code("cosmetics")]
    assert frequent < 8 < rare


def test_habits_without_a_rhythm_satisfy_nothing(many):
    lines = many.lines
    rng = np.random.default_rng(0)
    bought = np.flatnonzero(lines.kind == PURCHASE)
    user = many.user[bought]
    category = lines.category.copy()
    category[bought] = lines.category[bought][np.lexsort((rng.random(len(bought)), user))]
    shuffled = dataclasses.replace(many, lines=dataclasses.replace(lines, category=category))
    window = learn_needs(shuffled, us(END)).window
    assert (window > 0.1).sum() <= 1


def test_a_source_without_items_is_left_out_with_a_reason(tmp_path):
    path = tmp_path / "cdnow.txt"
    lines = [f" {u:05d} 199701{d:02d}  1   11.77" for u in range(1, 40) for d in (3, 17)]
    path.write_text("customer_id date number_of_cds dollar_value\n" + "\n".join(lines) + "\n")
    config = load(tmp_path / "home", as_utc("1998-01-01"))
    ingest(config, "cdnow", path)
    report = train(config, "interest")
    assert report.version == ""
    assert "names its item" in report.left_out["interest"]["en"]
    assert Registry(config).versions("interest") == []


def test_left_out_needs_both_item_and_category():
    nothing = History.of([(0, 5, 1, PURCHASE, 1.0, 0)])
    one = Histories(np.array(["u"], dtype=object), np.array([0, 1]), nothing, {}, {5: "c"})
    assert "item" in left_out(one)["en"]
    assert "商品" in left_out(one)["zh"]
    assert left_out(dataclasses.replace(one, lines=History.of([(3, 5, 1, PURCHASE, 1.0, 0)]))) is None


scores_and_truth = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.integers(0, 3),
    )
)


@settings(max_examples=150, deadline=None)
@given(scores_and_truth)
def test_recall_and_ndcg_are_those_of_the_textbook(drawn):
    score, wanted, before, unheard = drawn
    task = Task(np.array([0]), np.array([wanted]), np.array([float(unheard)]), np.array([before]).astype(np.float32))
    found = ranking_values(task, np.array([score], dtype=np.float32))
    for suffix, among in (("", [True] * len(score)), ("_repeat", before), ("_first", [not b for b in before])):
        order = sorted((k for k in range(len(score)) if among[k]), key=lambda k: (-score[k], k))[:10]
        size = sum(w and a for w, a in zip(wanted, among, strict=True)) + (0 if suffix == "_repeat" else unheard)
        if size == 0:
            assert np.isnan(found[f"recall@10{suffix}"][0])
            continue
        hits = [wanted[k] for k in order]
        dcg = sum(hit / np.log2(rank + 2) for rank, hit in enumerate(hits))
        ideal = sum(1 / np.log2(rank + 2) for rank in range(min(size, 10)))
        assert found[f"recall@10{suffix}"][0] == pytest.approx(sum(hits) / size)
        assert found[f"ndcg@10{suffix}"][0] == pytest.approx(dcg / ideal)


def test_the_task_counts_what_nobody_had_seen(histories, known):
    users = positions(histories, us(ORIGIN))
    task = task_of(histories, known, "item", 30 * DAY_US, users)
    bought = defaultdict(set)
    followed = histories.bought("item", us(ORIGIN), us(ORIGIN) + 30 * DAY_US)
    for user, item in zip(followed.user.tolist(), followed.code.tolist(), strict=True):
        bought[user].add(item)
    asked = set(users.tolist())
    assert task.user.tolist() == sorted(user for user in bought if user in asked)
    sizes = task.wanted.sum(axis=1) + task.unheard
    assert sizes.tolist() == [len(bought[user]) for user in task.user.tolist()]


def test_the_benchmark_judges_on_rolling_origins(config):
    found = benchmark_interest(config, "shop", config.home / "shop", origins=2)
    assert found["benchmark"] == "interest"
    assert len(found["settings"]["judged_on"]) == 2
    for head in HEADS:
        for name in ("recall@10", "ndcg@10", "recall@10_first", "recall@10_repeat", "auroc", "log_loss"):
            low, high = found["metrics"][f"{head}.{name}"]["ci"]
            assert low <= found["metrics"][f"{head}.{name}"]["value"] <= high
            assert all(f"{head}.{name}" in values for values in found["baselines"].values())
        ours = found["metrics"][f"{head}.ndcg@10"]["value"]
        popular = found["baselines"]["popularity"][f"{head}.ndcg@10"]
        assert found["ratios"][f"ours_vs_popularity.{head}.ndcg@10"] == pytest.approx(ours / popular)
        assert ours > popular
