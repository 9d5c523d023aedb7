"""The interest model answers what its arrays, boosters and calibrators say, from the past alone; and loads only what
was written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import configs
from configs.errors import BundleError
from configs.history import CART, PURCHASE, VIEW, History, code
from serving.nbo.reasons import InterestReasons, shares_of
from serving.nbo.scorer import Row
from serving.scoring import Bundle, Model, current, write_release
from serving.scoring.interest.features import featurise
from serving.scoring.interest.model import FEATURES, HEADS, InterestModel, as_head, write_interest
from serving.scoring.interest.names import Names
from serving.scoring.interest.needs import Need, Needs
from training.explain import explanation, interactions
from training.interest.statistics import item_statistics

DAY = 86_400_000_000
NOW = 400 * DAY
CATEGORIES = [f"c{k}" for k in range(4)]
ITEMS = [f"{category}_i{k}" for category in CATEGORIES for k in range(5)]
CREATED_AT = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
CODES = np.array([code(item) for item in ITEMS])


def line(item, days_ago, kind=PURCHASE, order=0):
    return (code(item), code(item.split("_")[0]), NOW - round(days_ago * DAY), kind, 1.0, order)


def people(count=60, seed=0):
    rng = np.random.default_rng(seed)
    every = []
    for user in range(count):
        liked = rng.choice(len(ITEMS), 4, replace=False)
        lines = []
        for order in range(int(rng.integers(1, 12))):
            days = float(rng.uniform(0.5, 300))
            for item in rng.choice(liked, int(rng.integers(1, 4)), replace=False):
                kind = int(rng.choice([PURCHASE, PURCHASE, VIEW, CART]))
                lines += [line(ITEMS[item], days, kind, 1000 * user + order)]
        every.append(History.of(lines))
    return every


@pytest.fixture(scope="module")
def histories():
    return people()


@pytest.fixture(scope="module")
def parts(histories):
    """What `write_interest` takes: metadata, boosters, statistics, needs, names."""
    statistics = {head: item_statistics([as_head(one, head) for one in histories], NOW) for head in HEADS}
    rng = np.random.default_rng(1)
    boosters, heads = {}, {}
    for head in HEADS:
        asked = [statistics[head].items] * len(histories)
        rows = featurise(statistics[head], [as_head(one, head) for one in histories], NOW, asked)
        x = np.column_stack([rows, np.full((len(rows), 2), np.nan)])
        own = np.nan_to_num(x[:, FEATURES.index("own_orders")])
        y = rng.random(len(x)) < 1 / (1 + np.exp(2.0 - own))
        params = {"objective": "binary", "verbose": -1, "num_leaves": 7, "min_data_in_leaf": 20, "num_threads": 1}
        booster = lgb.train(params, lgb.Dataset(x, y.astype(float), feature_name=list(FEATURES)), 15)
        boosters[head] = booster.model_to_string()
        raw = booster.predict(x, raw_score=True)
        heads[head] = {
            "booster": head,
            "calibrator": {"kind": "sigmoid", "slope": 1.1, "intercept": -0.3},
            "interval": [[-3.0, -0.5, 0.1], [0.0, -0.2, 0.3]],
            "raw_percentiles": np.quantile(raw, np.linspace(0, 1, 101)).tolist(),
        }
    meta = {
        "name": "interest",
        "version": "7",
        "run_id": "run7",
        "horizon_days": 28.0,
        "features": {head: list(FEATURES) for head in HEADS},
        "catalogue_digest": "sha256:catalogue",
        "boosters": {head: {} for head in HEADS},
        "heads": heads,
        "cold_start": dict.fromkeys(HEADS, 0.1),
        "maturity": "young",
        "created_at": "2026-11-20T00:00:00Z",
    }
    categories = np.sort([code(one) for one in CATEGORIES])
    needs = Needs(categories, np.array([10.0, 20.0, 30.0, 40.0]), np.array([0.5, 0.0, 1.0, 0.7]), 3.0)
    return meta, boosters, statistics, needs, {code(name): name for name in ITEMS + CATEGORIES}


@pytest.fixture(scope="module")
def folder(parts, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "interest"
    write_interest(path, *parts)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return InterestModel.load(folder)


def test_scores_are_the_boosters_own(model, parts, histories):
    for head in HEADS:
        booster = lgb.Booster(model_str=parts[1][head])
        scored = (
            model.score_items(histories[3], NOW, CODES) if head == "item" else model.score_categories(histories[3], NOW)
        )
        np.testing.assert_array_equal(scored.raw, booster.predict(scored.x, raw_score=True))
        np.testing.assert_allclose(scored.p, 1 / (1 + np.exp(-(1.1 * scored.raw - 0.3))))
        assert ((scored.p_low < scored.p) & (scored.p < scored.p_high)).all()
        assert (scored.head, scored.calibrated, scored.x.shape[1]) == (head, True, len(FEATURES))


def test_the_interval_at_a_margin_is_the_one_that_was_measured(model):
    p, low, high = model.heads["item"].probability(np.array([-3.0, -1.5, 9.0]))
    odds = np.log(p / (1 - p))
    np.testing.assert_allclose(np.log(low / (1 - low)) - odds, [-0.5, -0.35, -0.2])
    np.testing.assert_allclose(np.log(high / (1 - high)) - odds, [0.1, 0.2, 0.3])


def test_a_pair_is_scored_alike_alone_and_among_others(model, histories):
    together = model.score_items(histories[5], NOW, CODES)
    for row in (0, 7, 19):
        alone = model.score_items(histories[5], NOW, CODES[row : row + 1])
        np.testing.assert_array_equal(alone.x[0], together.x[row])
        assert alone.raw[0] == together.raw[row]


def test_contributions_and_base_add_up(model, histories):
    for head, scored in (
        ("item", model.score_items(histories[2], NOW, CODES)),
        ("category", model.score_categories(histories[2], NOW)),
    ):
        phi, base = model.contributions(head, scored.x)
        np.testing.assert_allclose(phi.sum(axis=1) + base, scored.raw, atol=1e-9)
        assert np.abs(phi).max() > 0.01
    phi, base = model.contributions("item", np.empty((0, len(FEATURES))))
    assert (phi.shape, base.shape) == ((0, len(FEATURES)), (0,))


def test_lines_after_the_instant_are_not_read(model, histories):
    at = NOW - 100 * DAY
    history = max(histories, key=len)
    known = history.at_us <= at
    assert 0 < known.sum() < len(history)
    past = History(*(getattr(history, name)[known] for name in History.__slots__))
    np.testing.assert_array_equal(model.score_items(history, at, CODES).x, model.score_items(past, at, CODES).x)
    assert model.needs(history, at) == model.needs(past, at)
    assert model.candidates(history, at, 10).tolist() == model.candidates(past, at, 10).tolist()
    for one in CODES[:8].tolist():
        assert model.because(history, at, one) == model.because(past, at, one)


def test_new_users_and_new_items_have_an_answer(model, histories):
    nobody = History.of([])
    for scored in (model.score_items(nobody, NOW, CODES), model.score_categories(nobody, NOW)):
        assert np.isfinite(scored.raw).all()
    assert len(model.candidates(nobody, NOW, 10)) == 10
    assert model.needs(nobody, NOW) == {}
    assert model.because(nobody, NOW, int(CODES[0])) is None
    news = np.array([code("never seen"), code("nor this")])
    scored = model.score_items(histories[0], NOW, news, np.array([code("c1"), 0]))
    assert np.isfinite(scored.p).all()
    own = FEATURES.index("category_orders")
    known = model.score_items(histories[0], NOW, np.array([code("c1_i0")]))
    assert scored.x[0, own] == known.x[0, own]
    assert len(model.score_items(nobody, NOW, np.empty(0, np.int64)).p) == 0


def test_candidates_stay_within_what_can_be_had(model, histories):
    allowed = np.sort(np.append(CODES[::3], code("new in this store")))
    for history in histories[:10]:
        found = model.candidates(history, NOW, 50, allowed)
        assert sorted(found.tolist()) == allowed.tolist()
        assert len(model.candidates(history, NOW, 3, allowed)) == 3
        assert len(set(model.candidates(history, NOW, 12).tolist())) == 12


def test_names_neighbours_and_categories(model):
    assert [model.text(int(one)) for one in CODES] == ITEMS
    assert model.text(12345) is None
    assert model.text(0) is None
    assert model.category_of(code("c2_i1")) == code("c2")
    assert model.category_of(12345) == 0
    near = model.neighbours(int(CODES[0]), 5)
    assert 0 < len(near) <= 5
    assert all(0 <= similarity <= 1 + 1e-6 for _, similarity in near)


def test_because_names_the_line_that_speaks_most(model):
    history = History.of([line("c0_i0", 50), line("c1_i1", 3), line("c1_i2", 30), line("c1_i3", 3, VIEW)])
    assert model.because(history, NOW, code("c0_i0")) == ("c0_i0", pytest.approx(50))
    assert model.because(history, NOW, code("c1")) == ("c1_i1", pytest.approx(3))
    assert model.because(history, NOW, code("c1_i2")) == ("c1_i2", pytest.approx(30))
    assert model.because(history, NOW, code("never seen")) is None
    assert model.because(history, NOW, 0) is None


def nearness(statistics, past, asked, own):
    """How near each line is to what is asked for, as `because` says it, and what it counts for."""
    history, place = past.history, np.flatnonzero(statistics.items == asked)
    near = np.where((history.item == asked) | (history.category == asked), 1.0, 0.0)
    for line, item in enumerate(history.item if len(place) else ()):
        if own and history.category[line] == own:
            near[line] = max(near[line], 0.3)
        for row in np.flatnonzero(statistics.items == item):
            for kind in ("together", "later"):
                start, target, value = (getattr(statistics, f"{kind}_{part}") for part in ("start", "item", "value"))
                linked = slice(start[row], start[row + 1])
                strengths = value[linked][target[linked] == place[0]].astype(float)
                near[line] = max([near[line], *np.minimum(strengths, 1.0)])
    return near, near * past.weight


def test_because_is_the_first_of_the_lines_that_count_most(model, histories):
    statistics, told = model.statistics["item"], 0
    for history in [one for one in histories if len(one)][:12]:
        for at in (NOW, NOW - 60 * DAY):
            past = model.past(history, at)
            for asked in (*CODES[:6].tolist(), code("c1"), code("never seen")):
                near, counts = nearness(statistics, past, asked, model.category_of(asked))
                best = int(np.argmax(counts))
                expected = (best, past.days[best]) if near[best] > 0 and past.known[best] else None
                assert past.strongest(asked) == expected
                told += expected is not None
    assert told > 50


def test_shares_of_many_rows_are_those_of_each(model, histories):
    items, categories = model.score_items(histories[0], NOW, CODES[:4]), model.score_categories(histories[0], NOW)
    rows = [Row(items, 0, "a"), None, Row(categories, 1, "b"), Row(items, 2, "c")]
    found = shares_of(model, rows)
    assert found[1] is None
    for row, shares in zip(rows, found, strict=True):
        if row is not None:
            phi, base = model.contributions(row.head, row.x[None, :])
            np.testing.assert_array_equal(shares[0], phi[0])
            assert shares[1] == base[0]


@given(st.dictionaries(st.integers(1, 2**52), st.text(min_size=1), max_size=20))
def test_names_are_kept_in_any_script(names):
    kept = Names.of(names)
    for _ in range(2):  # read, and remembered
        assert {one: kept.text(one) for one in names} == names
        assert kept.text(0) is None


def test_no_more_names_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr("serving.scoring.interest.names.REMEMBERED", 3)
    kept = Names.of({one: str(one) for one in range(1, 20)})
    assert [kept.text(one) for one in (*range(1, 20), *range(1, 20))] == 2 * [str(one) for one in range(1, 20)]
    assert len(kept._known) <= 3


events = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0, 120), st.sampled_from([PURCHASE, PURCHASE, VIEW])), max_size=25
)


@settings(max_examples=150, deadline=None)
@given(events)
def test_needs_are_those_of_their_definition(model, drawn):
    lines = [line(f"c{c}_i0", days, kind) for c, days, kind in drawn]
    history = History.of(lines)
    learned = model._needs
    expected = {}
    for place, category in enumerate(learned.categories.tolist()):
        at = sorted(at for _, own, at, kind, _, _ in lines if own == category and kind == PURCHASE)
        days = {}
        for one in at:
            days[one // DAY] = one  # the last purchase of the day
        last = list(days.values())
        if last:
            gaps = [max((b - a) / DAY, 1.0) for a, b in pairwise(last)]
            log = sum(map(np.log, gaps)) + 3.0 * np.log(learned.gap_days[place])
            usual = float(np.exp(log / (len(gaps) + 3.0)))
            window = usual * float(learned.window[place])
            since = (NOW - last[-1]) / DAY
            expected[category] = Need(since, usual, since < window, window)
    found = model.needs(history, NOW)
    assert set(found) == set(expected)
    columns = learned.columns(history, NOW, np.array([*learned.categories.tolist(), 77, 0]))
    assert np.isnan(columns[-2:]).all()
    for place, category in enumerate(learned.categories.tolist()):
        if category not in expected:
            assert np.isnan(columns[place]).all()
            continue
        one, right = found[category], expected[category]
        assert (one.days_since, one.usual_days) == pytest.approx((right.days_since, right.usual_days))
        assert one.satisfied == right.satisfied == (columns[place, 1] == 1.0)
        assert columns[place, 0] == pytest.approx(one.days_since / one.usual_days)
        assert one.window_days <= one.usual_days + 1e-9


def test_every_feature_has_its_sentences():
    reasons = InterestReasons.load(configs.configs_folder() / "reasons_interest.yaml")
    assert set(FEATURES) == reasons.known
    values = dict.fromkeys(FEATURES, 0.4)
    for feature in FEATURES:
        for head in HEADS:
            for lang in ("zh", "en"):
                for given_values in (values, dict.fromkeys(FEATURES)):
                    _, text = reasons.sentence(feature, lang, head, given_values.get)
                    assert len(text) > 2
                    assert "<it>" not in text
                    assert any("\u4e00" <= letter <= "\u9fff" for letter in text) == (lang == "zh")


ARRAYS = ["item_items.npy", "item_linear.npy", "category_hazard.npy", "needs_window.npy", "names_text.npy"]


@pytest.mark.parametrize("file", [*ARRAYS, "item.txt", "model.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered", "empty", "symlink"])
def test_damaged_files_are_refused(folder, tmp_path, file, damage):
    _copy(folder, tmp_path)
    path = tmp_path / file
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[:-3])
    elif damage == "altered":
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "symlink":
        path.symlink_to(folder / file)
    with pytest.raises(BundleError) as refused:
        InterestModel.load(tmp_path)
    assert file in str(refused.value) or "JSON" in str(refused.value)


def test_an_array_of_objects_is_neither_written_nor_read(folder, parts, tmp_path):
    meta, boosters, statistics, needs, names = parts
    objects = Needs(needs.categories, np.array([None] * 4, dtype=object), needs.window, 3.0)
    with pytest.raises(BundleError, match="array of numbers"):
        write_interest(tmp_path / "a", meta, boosters, statistics, objects, names)
    _copy(folder, tmp_path)
    np.save(tmp_path / "needs_window.npy", np.array([{}], dtype=object), allow_pickle=True)
    document = json.loads((tmp_path / "model.json").read_text())
    from serving.scoring import verified

    document["arrays"]["needs_window"]["sha256"] = verified.sha256((tmp_path / "needs_window.npy").read_bytes())
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="is not an array of numbers"):
        InterestModel.load(tmp_path)


BREAKS = {
    "another kind": lambda m: m.update(kind="users"),
    "shape of an interest model": lambda m: m["heads"].pop("category"),
    "other columns": lambda m: m["features"]["item"].reverse(),
    "interval": lambda m: m["heads"]["item"].update(interval=[[0.0, 0.1, 0.2]]),
    "raw_percentiles": lambda m: m["heads"]["item"]["raw_percentiles"].pop(),
    "calibrator cannot be used": lambda m: m["heads"]["item"]["calibrator"].update(slope=-1.0),
    "leaves its folder": lambda m: m["arrays"]["item_items"].update(file="../item_items.npy"),
    "unknown format": lambda m: m.update(format=9),
    "missing 'heads'": lambda m: m.pop("heads"),
}


@pytest.mark.parametrize("message", BREAKS)
def test_a_model_that_contradicts_itself_is_refused(folder, tmp_path, message):
    _copy(folder, tmp_path)
    document = json.loads((tmp_path / "model.json").read_text())
    BREAKS[message](document)
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=message):
        InterestModel.load(tmp_path)


def test_a_user_model_does_not_read_an_interest_model(folder):
    with pytest.raises(BundleError, match="another kind of model"):
        Model.load(folder)


def test_arrays_are_mapped_not_copied(model):
    statistics = model.statistics["item"]
    for array in (statistics.items, statistics.linear, statistics.together_value):
        base = array
        while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)
        assert not array.flags.writeable


DOCUMENTS = {"policy.json": b'{"version": "p"}', "offers.json": b"[]"}


@pytest.fixture
def released(folder, tmp_path):
    write_release(tmp_path, {"interest": folder}, "sha256:catalogue", CREATED_AT, documents=DOCUMENTS)
    return current(tmp_path)


def test_a_release_carries_the_interest_model_and_documents(released, model, histories):
    bundle = Bundle.load(released, "sha256:catalogue")
    assert bundle.models == {}
    assert bundle.documents == DOCUMENTS
    assert bundle.interest.digest == model.digest
    np.testing.assert_array_equal(
        bundle.interest.score_items(histories[0], NOW, CODES).raw, model.score_items(histories[0], NOW, CODES).raw
    )


@pytest.mark.parametrize("file", ["policy.json", "offers.json", "interest/item_items.npy", "interest/names_text.npy"])
def test_damage_in_a_release_is_found(released, file):
    path = released / file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match="not the file that was released"):
        Bundle.load(released, "sha256:catalogue")
    path.write_bytes(content[:-1])
    with pytest.raises(BundleError, match="not the file that was released"):
        Bundle.load(released, "sha256:catalogue")


@pytest.mark.parametrize("name", ["release.json", "interest", "a/b.json", "../policy.json"])
def test_a_document_cannot_take_another_files_place(folder, tmp_path, name):
    with pytest.raises(BundleError, match="cannot have this name"):
        write_release(tmp_path, {"interest": folder}, "sha256:catalogue", CREATED_AT, documents={name: b"{}"})
    assert list(tmp_path.iterdir()) == []


def _copy(folder, target):
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


@pytest.mark.parametrize("head", HEADS)
def test_pairs_of_features_add_up_to_the_contributions(model, histories, head):
    x = np.concatenate([model.score_items(one, NOW, CODES).x for one in histories[:5]])
    frame = pd.DataFrame(x, columns=FEATURES)
    given = explanation(model, frame, head)
    np.testing.assert_allclose(given.values.sum(axis=1) + given.base_values, model.heads[head].raw(x), atol=1e-9)
    np.testing.assert_allclose(interactions(model, frame, head).sum(axis=2), given.values, atol=1e-10)
