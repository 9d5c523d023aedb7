"""The interest core against plain Python, against look-ahead, and the benchmark from a file to its numbers."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import load
from configs.errors import BundleError, SourceError
from configs.history import CART, PURCHASE, VIEW, History, code, pack, unpack
from serving.scoring.interest import candidates as module
from serving.scoring.interest import pairs, reach
from serving.scoring.interest.candidates import candidates
from serving.scoring.interest.features import NAMES, featurise
from serving.scoring.interest.lines import DAY_US
from serving.scoring.interest.statistics import CATEGORY_VALUES, ITEM_VALUES, LINKS, ItemStatistics
from training.benchmark_nextbasket import benchmark_nextbasket, history_of, latest_examples, prefixes, sets_back
from training.interest.statistics import item_statistics

DATA = Path(os.environ.get("USEROPS_DATA", Path(__file__).parents[3] / "shared" / "data"))
HOUR_US = DAY_US // 24

lines = st.tuples(
    st.integers(0, 6),  # item, 0 is null
    st.integers(0, 2),  # category, 0 is null
    st.integers(1, 30 * 6),  # four hours each
    st.sampled_from([PURCHASE, PURCHASE, PURCHASE, VIEW, CART]),
    st.integers(1, 3),
    st.integers(0, 3),  # order, 0 is null
)
histories = st.lists(lines, max_size=20).map(
    lambda rows: History.of(
        [(i, c, DAY_US + t * 4 * HOUR_US, kind, float(n), order) for i, c, t, kind, n, order in rows]
    )
)
many = st.lists(histories, min_size=1, max_size=6)


def column(x, name):
    return x[:, NAMES.index(name)]


def orders_of(history, until_us):
    """Every purchase until then with the number of its order: a list of (item, category, at_us, quantity, number)."""
    found, last = [], -1
    for k in range(len(history)):
        if history.kind[k] != PURCHASE or history.at_us[k] > until_us:
            continue
        number = -1
        for _, _, at, _, before, order in reversed(found):
            close = history.at_us[k] - at <= DAY_US
            same_day = at // DAY_US == history.at_us[k] // DAY_US
            if close and order == history.order[k] and (order != 0 or same_day):
                number = before
                break
        if number < 0:
            last += 1
            number = last
        row = history.item[k], history.category[k], history.at_us[k], history.quantity[k], number, history.order[k]
        found.append(row)
    return found


def until(history, as_of_us):
    kept = history.at_us <= as_of_us
    return History(*(getattr(history, field.name)[kept] for field in dataclasses.fields(history)))


@settings(max_examples=60, deadline=None)
@given(many, st.integers(0, 5), st.integers(1, 32 * 6))
def test_features_are_those_of_plain_python(users, which, moment):
    statistics = item_statistics(users, 2**52, linear_most=4)
    history, as_of_us = users[which % len(users)], DAY_US + moment * 4 * HOUR_US
    items = np.array([1, 2, 3, 4, 5, 6, 99])
    x = featurise(statistics, history, as_of_us, items)
    bought = orders_of(history, as_of_us)
    n = len({number for *_, number, _ in bought})
    assert (column(x, "user_orders") == n).all()
    assert (column(x, "user_items") == len({row[0] for row in bought if row[0]})).all()
    for row, item in zip(x, items, strict=True):
        at = {name: row[NAMES.index(name)] for name in NAMES}
        mine = [line for line in bought if line[0] == item]
        # The lines of two orders may be mixed: only a later order than any before counts.
        runs = [line for k, line in enumerate(mine) if line[4] > max([other[4] for other in mine[:k]], default=-1)]
        assert at["own_orders"] == len(runs)
        if mine:
            assert at["own_share"] == pytest.approx(len(runs) / n, rel=1e-6)
            assert at["own_days_since"] == pytest.approx((as_of_us - mine[-1][2]) / DAY_US)
            assert at["own_orders_since"] == n - runs[-1][4]
            assert at["own_quantity"] == pytest.approx(np.mean([line[3] for line in mine]))
            half = statistics.half_life_orders
            assert at["own_decayed_orders"] == pytest.approx(sum(0.5 ** ((n - r[4] - 1) / half) for r in runs))
            assert at["own_last_3"] == sum(n - r[4] <= 3 for r in runs)
        else:
            assert np.isnan(at["own_days_since"])
            assert at["own_share"] == at["own_decayed_orders"] == 0
        seen = (history.item == item) & (history.at_us <= as_of_us)
        assert at["view_lines"] == (seen & (history.kind == VIEW)).sum()
        known = np.flatnonzero(statistics.items == item)
        for name in ITEM_VALUES:
            expected = statistics.item_values[known[0], ITEM_VALUES.index(name)] if len(known) else np.nan
            assert at[name] == pytest.approx(expected, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(many, st.integers(1, 30 * 6))
def test_later_lines_change_nothing_earlier(users, moment):
    as_of_us = DAY_US + moment * 4 * HOUR_US
    past = [until(history, as_of_us) for history in users]
    whole, cut = item_statistics(users, as_of_us, linear_most=4), item_statistics(past, as_of_us, linear_most=4)
    for field in dataclasses.fields(ItemStatistics):
        np.testing.assert_array_equal(getattr(whole, field.name), getattr(cut, field.name), field.name)
    items = np.arange(1, 7)
    for history, before in zip(users, past, strict=True):
        np.testing.assert_array_equal(
            featurise(whole, history, as_of_us, items), featurise(whole, before, as_of_us, items)
        )
        np.testing.assert_array_equal(candidates(whole, history, as_of_us), candidates(whole, before, as_of_us))


@settings(max_examples=40, deadline=None)
@given(many, st.integers(1, 8), st.lists(st.integers(1, 9), unique=True).map(sorted))
def test_candidates_are_known_once_and_allowed(users, most, allowed):
    statistics = item_statistics(users[:-1], 2**52, linear_most=4)
    free = candidates(statistics, users[-1], 2**52, most)
    assert len(free) == len(set(free.tolist())) <= most
    own = {int(item) for item in users[-1].item if item}
    assert set(free.tolist()) <= own | set(statistics.items.tolist())
    assert len(free) == min(most, len(own | set(statistics.items.tolist())))
    bound = candidates(statistics, users[-1], 2**52, most, np.array(allowed, np.int64))
    assert len(bound) == len(set(bound.tolist())) == min(most, len(allowed))
    assert set(bound.tolist()) <= set(allowed)


def sets(*baskets):
    return history_of([list(basket) for basket in baskets])


def test_statistics_count_what_happened():
    users = [sets("ab", "ac", "a"), sets("b", "a"), sets("c")]
    found = item_statistics(users, 2**52, linear_most=0)
    row = {name: int(np.flatnonzero(found.items == code(name))[0]) for name in "abc"}
    value = {name: found.item_values[:, k] for k, name in enumerate(ITEM_VALUES)}
    np.testing.assert_allclose([value["buyers_share"][row[name]] for name in "abc"], [2 / 3, 2 / 3, 2 / 3])
    assert value["repeat_next"][row["a"]] > value["repeat_next"][row["b"]]
    assert value["item_gap_orders"][row["a"]] == pytest.approx(1.0)
    follows = dict(zip(*_link(found, "next", row["b"]), strict=True))
    assert set(follows) == {row["a"], row["c"]}
    assert follows[row["a"]] > follows[row["c"]]
    assert {item for item, _ in found.neighbours(code("b"))} == {code("a")}
    assert found.neighbours(code("never sold")) == []


def _link(statistics, name, row):
    start = getattr(statistics, f"{name}_start")
    here = slice(start[row], start[row + 1])
    return getattr(statistics, f"{name}_item")[here].tolist(), getattr(statistics, f"{name}_value")[here].tolist()


@settings(max_examples=30, deadline=None)
@given(many)
def test_links_and_chances_are_within_their_bounds(users):
    found = item_statistics(users, 2**52, links_most=2)
    for name in LINKS:
        start, value = getattr(found, f"{name}_start"), getattr(found, f"{name}_value")
        assert len(start) == len(found.items) + 1
        assert (np.diff(start) <= 2).all()
        assert ((value > 0) & (value <= 1)).all()
    assert ((found.hazard >= 0) & (found.hazard <= 1)).all()
    assert np.isfinite(found.item_values).all()
    assert (found.category_values[:, CATEGORY_VALUES.index("half_life_days")] > 0).all()


def test_half_life_is_short_where_only_the_latest_order_counts_and_long_where_habits_do():
    rng = np.random.default_rng(0)
    moods, habits = [], []
    for _ in range(150):
        favourite, baskets = 0, []
        for _ in range(20):
            favourite = int(rng.integers(6)) if rng.random() < 0.3 else favourite
            baskets.append([f"m{favourite}"])
        moods.append(history_of(baskets))
        chances = rng.random(6) ** 3
        habits.append(history_of([[f"h{k}" for k in range(6) if rng.random() < chances[k]] for _ in range(20)]))
    assert item_statistics(moods, 2**52).half_life_orders < item_statistics(habits, 2**52).half_life_orders


def test_statistics_survive_the_disk_bit_for_bit(tmp_path):
    found = item_statistics([sets("ab", "ac"), sets("b", "a")], 2**52)
    names = found.save(tmp_path)
    again = ItemStatistics.load(tmp_path)
    for field in dataclasses.fields(ItemStatistics):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(again, field.name))
    x = [featurise(each, sets("ab"), 2 * DAY_US, found.items) for each in (found, again)]
    np.testing.assert_array_equal(*x)
    (tmp_path / names[0]).write_bytes(b"")
    with pytest.raises(BundleError, match=names[0]):
        ItemStatistics.load(tmp_path)


def test_what_was_learned_and_what_was_loaded_run_the_same_compiled_code(tmp_path):
    """For arrays that can be written, and for a history of one line, seconds of compiling came back in a worker."""
    found = item_statistics([sets("ab", "ac"), sets("b", "a")], 2**52)
    found.save(tmp_path)
    compiled = None
    for statistics in (found, ItemStatistics.load(tmp_path)):
        for whole in (
            sets("ab", "a"),
            *(unpack(np.frombuffer(pack(one).tobytes())) for one in (sets("ab", "a"), sets("a"))),
        ):
            featurise(statistics, whole, 2 * DAY_US, found.items)
            candidates(statistics, whole, 2 * DAY_US, 3)
            kinds = {each: len(each.signatures) for each in (pairs.fill, module._gather, module._linked, reach.reach)}
            compiled = compiled or kinds
            assert kinds == compiled


def test_many_users_at_once_are_each_user_alone():
    users = [sets("ab", "ac", "d"), sets("b", "a"), sets("c")]
    statistics = item_statistics(users[:2], 2**52)
    asked = [np.array([code("a"), code("d")]), np.array([code("x")]), np.array([code("c"), 0])]
    together = featurise(statistics, users, 5 * DAY_US, asked)
    alone = [featurise(statistics, user, 5 * DAY_US, items) for user, items in zip(users, asked, strict=True)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A file in which habits and one item after another can be learned."""
    rng = np.random.default_rng(1)

    def user():
        favourites, at = rng.choice(30, 2, replace=False), int(rng.integers(30))
        baskets = []
        for _ in range(rng.integers(3, 8)):
            at = (at + 1) % 30  # a chain: each item leads to the next
            baskets.append([at, *(int(item) for item in favourites if rng.random() < 0.5)])
        return baskets

    content = {part: {str(k): user() for k in range(n)} for part, n in (("train", 260), ("validate", 40), ("test", 80))}
    content["test"]["nobody"] = [[3]]
    path = tmp_path_factory.mktemp("sets") / "shop.json"
    path.write_text(json.dumps(content))
    return path


def config_in(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    monkeypatch.setattr("training.interest.ranker.TREES", 40)  # enough for a few hundred users
    return load()


def test_benchmark_beats_popularity_and_counts(shop, tmp_path, monkeypatch):
    config = config_in(tmp_path, monkeypatch)
    found = benchmark_nextbasket(config, shop)
    assert found["n"] == 80
    value = {name: metric["value"] for name, metric in found["metrics"].items()}
    assert set(value) == {f"{name}@{k}" for name in ("recall", "ndcg", "phr") for k in (1, 5, 10)}
    assert value["recall@5"] > 1.5 * found["baselines"]["popularity"]["recall@5"]
    assert value["recall@5"] > found["baselines"]["personal_frequency"]["recall@5"]
    low, high = found["metrics"]["recall@10"]["ci"]
    assert low < value["recall@10"] < high
    assert found["ratios"]["ours_vs_popularity"] > 1


def test_benchmark_never_sees_the_targets(shop, tmp_path, monkeypatch):
    """Other targets, same histories: the lists stay, so hits on the old targets are the old ones."""
    config = config_in(tmp_path, monkeypatch)
    content = json.loads(shop.read_text())
    content["test"] = {
        user: [*baskets[:-1], [0, 1, 2]] for user, baskets in content["test"].items() if len(baskets) > 1
    }
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    first, second = (benchmark_nextbasket(config, path, keep_lists=True) for path in (shop, other))
    assert first["lists"] == second["lists"]


def test_benchmark_takes_names_and_single_items(shop, tmp_path, monkeypatch):
    config = config_in(tmp_path, monkeypatch)
    content = {
        part: {user: [[f"item {basket[0]}"] for basket in baskets] for user, baskets in users.items()}
        for part, users in json.loads(shop.read_text()).items()
    }
    path = tmp_path / "single.json"
    path.write_text(json.dumps(content))
    assert benchmark_nextbasket(config, path)["metrics"]["recall@5"]["value"] > 0.6


def test_examples_near_the_end_stay_first():
    users = [[[1], [2], [3], [4]], [[5], [6]], [[7], [], [8]]]
    examples = prefixes(users)
    assert list(zip(examples.user, sets_back(users, examples), strict=True)) == [
        (0, 2), (0, 1), (0, 0), (1, 0), (2, 0),
    ]  # fmt: skip
    kept = latest_examples(users, examples, 4)
    assert list(zip(kept.user, kept.set_number, strict=True)) == [(0, 2), (0, 3), (1, 1), (2, 2)]


def test_benchmark_says_what_is_wrong_with_a_file(tmp_path, monkeypatch):
    config = config_in(tmp_path, monkeypatch)
    path = tmp_path / "bad.json"
    for content, said in (
        ("{", "JSON"),
        ('{"train": {"u": [[1], [2]]}}', "validate"),
        ('{"train": {"u": [1]}}', "'u'"),
        ('{"train": {"u": [[1]]}, "validate": {"v": [[2], []]}, "test": {"w": [[1], [2]]}}', "train and validate"),
        ('{"train": {"u": [[1], [2]]}, "validate": {"v": [[2]]}, "test": {"w": [[1]]}}', "test"),
    ):
        path.write_text(content)
        with pytest.raises(SourceError, match=said):
            benchmark_nextbasket(config, path)


def test_a_sample_of_real_baskets(tmp_path, monkeypatch):
    path = DATA / "next_basket" / "DC.json"
    if not path.exists():
        pytest.skip(f"{path} is absent (USEROPS_DATA names the folder)")
    content = json.loads(path.read_text())
    sample = {
        part: dict(list(content[part].items())[:n]) for part, n in (("train", 250), ("validate", 50), ("test", 200))
    }
    small = tmp_path / "DC.json"
    small.write_text(json.dumps(sample))
    found = benchmark_nextbasket(config_in(tmp_path, monkeypatch), small)
    assert found["metrics"]["recall@10"]["value"] > 2 * found["baselines"]["popularity"]["recall@10"]
