"""Two versions before the same people: the moves are theirs, the reasons add up, and MLflow is told no name."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

import userops
from features.periods import as_utc
from training.compare.sides import Side
from training.compare.today import moves
from training.desk.desk import before
from training.desk.files import as_json, desk_folder
from training.desk.sample import Sample, sample_of
from training.desk.versus import versus_of
from training.registry import Registry
from training.unnamed import digits_of


@pytest.fixture(scope="module")
def both(twice):
    """The two versions, and whom they are asked about."""
    config, first, second = twice
    registry = Registry(config)
    models = [registry.model("churn", one.version) for one in (first, second)]
    return *models, sample_of(config, models[1])


@pytest.fixture(scope="module")
def told(both):
    first, second, sample = both
    return versus_of(first, second, sample)


def test_training_put_the_new_version_beside_the_champion(twice, told):
    config, first, second = twice
    folder = desk_folder(config.home, "churn", second.version)
    stored = json.loads((folder / f"versus-{first.version}.json").read_text(encoding="utf-8"))
    assert stored == as_json(told)
    assert not list(desk_folder(config.home, "churn", first.version).glob("versus-*"))


def test_who_moves_is_who_moves_in_a_comparison(twice, both, told):
    first, second, sample = both
    for head, one in told["heads"].items():
        x, users = sample.x[head], sample.users[head]
        sides = tuple(Side(None, {}, None, model) for model in (first, second))
        found = moves(sides, x, users)[head]
        assert {name: one[name] for name in ("users", "mean_move", "far", "rank_correlation")} == {
            name: found[name] for name in ("users", "mean_move", "far", "rank_correlation")
        }
        assert one["users"] == sum(one["moves"]["counts"]) == len(users)
        assert len(one["points"]) == min(500, len(users))
        place = {user: k for k, user in enumerate(users)}
        for listed, sign in ((one["up"], 1), (one["down"], -1)):
            moved = [sign * (row["percentile"][1] - row["percentile"][0]) for row in listed]
            assert moved == sorted(moved, reverse=True)
            assert all(step > 0 for step in moved)
            for row in listed:
                rows = x[[place[row["user_id"]]]]
                assert row["p"] == [float(model.probability(rows, head)[0]) for model in (first, second)]


def test_the_contributions_of_an_example_add_up_to_its_raw_score(both, told):
    first, second, sample = both
    for head, one in told["heads"].items():
        place = {user: k for k, user in enumerate(sample.users[head])}
        assert 0 < len(one["examples"]) <= 4
        for example in one["examples"]:
            row = sample.x[head][[place[example["user_id"]]]]
            for side, model in (("first", first), ("second", second)):
                said = example[side]
                assert said["base"] + sum(said["contributions"].values()) == pytest.approx(said["raw"], abs=1e-12)
                assert said["raw"] == pytest.approx(float(model.raw(row, head)[0]), abs=1e-9)
                assert set(said["contributions"]) <= set(example["values"])


def test_the_other_way_round_everybody_moves_back(both, told):
    first, second, sample = both
    back = versus_of(second, first, sample)
    for head, one in told["heads"].items():
        other = back["heads"][head]
        assert other["mean_move"] == pytest.approx(one["mean_move"])
        assert other["points"] == [point[::-1] for point in one["points"]]
        assert sorted(row["percentile"] for row in other["down"]) == sorted(
            row["percentile"][::-1] for row in one["up"]
        )
        changes = {row["feature"]: row["change"] for row in other["changed"]}
        assert all(changes[row["feature"]] == pytest.approx(-row["change"]) for row in one["changed"])


def test_a_version_beside_itself_moves_nobody(both):
    first, _, sample = both
    for one in versus_of(first, first, sample)["heads"].values():
        assert (one["mean_move"], one["far"], one["up"], one["down"], one["examples"]) == (0, 0, [], [], [])
        assert all(row["change"] == 0 and row["flipped"] == 0 for row in one["changed"])


def test_a_head_that_nobody_is_there_for_is_left_out(both):
    first, second, sample = both
    nobody = Sample(as_utc("2026-06-01"), {head: x[:0] for head, x in sample.x.items()}, dict(sample.users))
    nobody.users.update({head: users[:0] for head, users in sample.users.items()})
    assert versus_of(first, second, nobody)["heads"] == {}


def test_a_new_version_is_put_beside_the_champion_or_the_one_before(twice):
    config, first, second = twice
    registry = Registry(config)
    assert before(registry, registry.model("churn", second.version)).version == first.version
    assert before(registry, registry.model("churn", first.version)) is None


@pytest.fixture
def here(twice, monkeypatch):
    """The command line in the home of both."""
    config, *reports = twice
    monkeypatch.setenv("USEROPS_HOME", str(config.home))
    monkeypatch.setenv("USEROPS_NOW", config.now.isoformat())
    for module in ("configs.terminal", "training.compare.tables", "training.compare.verbs"):
        monkeypatch.setattr(f"{module}.console", Console(width=200))
    monkeypatch.setattr("training.compare.verbs.load", lambda: config)
    path = desk_folder(config.home, "churn", reports[1].version) / "versus-1.json"
    before_it = path.read_bytes()
    yield config, *reports
    path.write_bytes(before_it)


def test_compare_tells_reviewers_and_names_nobody_to_mlflow(here):
    config, first, second = here
    run = CliRunner().invoke(
        userops.app, ["compare", "churn", first.version, second.version, "--origins", "1", "--lang", "zh"]
    )
    assert run.exit_code == 0, run.output
    written = ("desk/versus-1.json", "comparison_with_1.html", "comparison_with_1.json")
    for part in ("第 1 版", "今日百分位", "改进", *written):
        assert part in run.output
    path = desk_folder(config.home, "churn", second.version) / "versus-1.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    assert set(told["paired"]) == set(told["heads"])
    assert {"first", "second", "better", "verdict"} == set(told["paired"]["p_inactive_14d"]["log_loss"])
    assert "未来14天内没有任何活跃行为：" in told["verdict"]["zh"]  # words, and not the code of a head
    users = {row["user_id"] for one in told["heads"].values() for row in (*one["up"], *one["down"])}
    assert users
    registry = Registry(config)
    for name in written:
        copied = registry.copied(second.run_id, name, config.home / "copied")
        text = copied.read_text(encoding="utf-8")
        assert not [user for user in users if f'"{user}"' in text or f">{user}<" in text], name
        assert name.endswith("html") or any(digits_of(user) in text for user in users)


def test_a_version_is_not_compared_with_itself(here, monkeypatch):
    config, first, second = here
    monkeypatch.setattr("training.compare.comparison.compare", None)  # nothing is worked out
    for asked in ([first.version, first.version], ["champion", first.version]):
        run = CliRunner().invoke(userops.app, ["compare", "churn", *asked])
        assert run.exit_code != 0
        assert "is the same version, 1" in str(run.exception) + run.output
    registry = Registry(config)
    registry.alias("churn", "challenger", first.version)
    run = CliRunner().invoke(userops.app, ["compare", "churn"])
    registry.alias("churn", "challenger", second.version)
    assert run.exit_code == 0, "where nobody named two, there is no challenger yet"
    assert "is the same version, 1" in run.output
    run = CliRunner().invoke(userops.app, ["compare", "churn", "--lang", "fr"])
    assert run.exit_code == 2
