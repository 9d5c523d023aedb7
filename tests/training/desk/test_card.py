"""What a training writes on the card of a version, that it is true, and that it can be brought back."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from configs import load
from configs.documents import check_words
from configs.errors import ConfigError
from features.catalog import NAMES
from serving.console.desk import Desk
from serving.scoring.interest.model import FEATURES
from training.checks.run import run_checks
from training.desk.card import kind_of
from training.desk.desk import Told, write_desk
from training.desk.features import features_of_pairs, features_of_users
from training.desk.files import desk_folder, log_desk
from training.desk.rebuild import rebuild
from training.desk.sample import Sample
from training.desk.segments import segments_of
from training.forecasts import Recipe, forecasts
from training.gate.sign import model_digest
from training.registry import Registry
from training.unnamed import unnamed

END = pd.Timestamp("2026-06-01", tz="UTC")


def card_of(config, version):
    return json.loads((desk_folder(config.home, "churn", version) / "card.json").read_text(encoding="utf-8"))


def texts(content):
    """Every text in two languages, wherever it lies."""
    if isinstance(content, dict):
        if "en" in content or "zh" in content:
            yield content
        for one in content.values():
            yield from texts(one)
    elif isinstance(content, list):
        for one in content:
            yield from texts(one)


def test_the_card_says_what_the_training_found(twice):
    config, _, report = twice
    card, model = card_of(config, report.version), config.models["churn"]
    assert (card["model"], card["version"], card["run_id"]) == ("churn", "2", report.run_id)
    assert (card["kind"], card["decides"], card["judged_on"]) == ("users", "log_loss", report.judged_on)
    assert (card["use"], card["limits"], card["purpose"]) == (model.use, model.limits, model.purpose)
    registry = Registry(config)
    assert card["model_json"] == model_digest(registry, registry.version("churn", "2"))
    assert list(card["heads"]) == list(model.heads)
    for head, told in card["heads"].items():
        assert told["meaning"] == model.heads[head]["meaning"]
        assert told["cohort"] == {"name": "active", **model.cohorts["active"]}
        assert told["metrics"] == json.loads(json.dumps(report.metrics[head]))
        assert told["baselines"] == json.loads(json.dumps(report.baselines[head]))
        assert set(told["curves"]) == {"calibration", "gain", "scores"}
        assert told["readiness"]["text"]["zh"]
        assert sum(one["share"] for one in told["weights"]) == pytest.approx(1, abs=1e-4)
        assert [one["share"] for one in told["weights"]] == sorted((w["share"] for w in told["weights"]), reverse=True)
    assert card["lineage"]["lightgbm"] == {"trees": 20, "num_leaves": 4, "feature_fraction": 0.15}
    assert card["lineage"]["trees"]["inactive"] > 0
    assert str(config.home) not in card["lineage"]["tracking"]


def test_everything_said_on_it_is_said_in_both_languages(twice):
    config, _, report = twice
    found = list(texts(card_of(config, report.version)))
    assert len(found) > 100
    for one in found:
        check_words("card", one)


def test_what_was_seen_of_a_feature_lies_in_its_valid_range(twice):
    config, _, report = twice
    card = card_of(config, report.version)
    assert [one["name"] for one in card["features"]] == list(NAMES)
    seen = [one for one in card["features"] if one["seen"]]
    assert len(seen) > 50
    for one in seen:
        low, high = one["seen"]
        assert -np.inf if one["low"] is None else one["low"] <= low + 1e-9
        assert high <= (np.inf if one["high"] is None else one["high"] + 1e-9)


def test_segments_are_parts_of_the_judged_rows_and_count_alike(twice):
    config, _, report = twice
    model = config.models["churn"]
    at = pd.Timestamp(report.judged_on, tz="UTC").to_pydatetime()
    rows = forecasts(config, model, [at], recipe=Recipe(model.lightgbm)).frame
    for head, told in card_of(config, report.version)["heads"].items():
        inside = rows[rows["head"] == head]
        for one in told["segments"]:
            part = inside[inside[f"segment.{one['by']}"] == one["part"]]
            assert one["rows"] == len(part)
            if "too_few" not in one:
                assert one["base_rate"] == pytest.approx(part["y"].mean())
                assert one["mean_prediction"] == pytest.approx(part["p"].mean())
                low, high = one["metrics"]["log_loss"]["ci"]
                assert low <= one["metrics"]["log_loss"]["value"] <= high
        assert {"tenure", "value"} <= {one["by"] for one in told["segments"]}


def test_pairs_are_told_by_category():
    rng = np.random.default_rng(0)
    said = pd.DataFrame({"user_id": [f"u{n % 200}" for n in range(800)], "category": np.repeat(["milk", "tea"], 400)})
    said = said.assign(head="item", p=rng.random(800), raw=0.0, **{"segment.tenure": "unknown"})
    said["item"] = said["category"] + (said.index % 5).astype(str)
    said["y"] = (rng.random(800) < said["p"]).astype(float)
    found = segments_of(said, "probability", 0)
    assert {(one["by"], one["part"], one["rows"]) for one in found["item"]} == {
        ("category", "milk", 400),
        ("category", "tea", 400),
    }
    assert segments_of(said.assign(category=None), "probability", 0) == {}


def test_every_feature_of_every_kind_has_words():
    users, pairs = features_of_users({}), features_of_pairs({})
    assert [one["name"] for one in pairs] == list(FEATURES)
    for one in (*users, *pairs):
        check_words(one["name"], one["meaning"])
        check_words(one["name"], one["absent"])
        assert one["unit"]
    assert [kind_of(name) for name in ("churn", "value", "interest")] == ["users", "value", "interest"]


def test_every_shipped_model_says_what_it_is_for(tmp_path):
    for model in load(tmp_path).models.values():
        check_words(f"{model.name}: use", model.use)
        assert model.limits
        for head, definition in model.heads.items():
            check_words(f"{model.name}: {head}: meaning", definition["meaning"])


def test_a_text_in_one_language_is_refused_by_name(tmp_path, monkeypatch):
    from configs import configs_folder

    folder = tmp_path / "configs"
    shutil.copytree(configs_folder(), folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setenv("USEROPS_CONFIGS", str(folder))
    whole = (folder / "models" / "churn.yaml").read_text(encoding="utf-8")
    for cut in (
        "      zh: 未来14天内没有任何活跃行为\n",
        "  zh: 在用户流失之前选出值得挽留或提醒的人，并决定在每个人身上投入多少\n",
    ):
        assert cut in whole
        (folder / "models" / "churn.yaml").write_text(whole.replace(cut, ""), encoding="utf-8")
        with pytest.raises(ConfigError, match=r"models/churn\.yaml: (use|heads: p_inactive_14d: meaning)"):
            load(tmp_path)


def test_a_desk_that_is_lost_comes_back_from_the_run(twice, tmp_path):
    config, _, report = twice
    home = tmp_path / "home"
    shutil.copytree(config.home, home)
    shutil.rmtree(home / "desk")
    # Its run stands where it stood.
    elsewhere = replace(config, home=home)
    files = rebuild(elsewhere, "churn", report.version)
    told = {path.name for path in files}
    assert {"card.json", "versus-1.json", *(f"{head}.json" for head in config.models["churn"].heads)} <= told
    assert card_of(elsewhere, report.version) == card_of(config, report.version)


def test_a_desk_that_nobody_stored_is_worked_out_again_and_says_the_same(twice, monkeypatch):
    config, _, report = twice
    folder = desk_folder(config.home, "churn", report.version)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    monkeypatch.setattr("training.desk.rebuild._from_run", lambda *arguments: None)
    moved = folder.rename(folder.with_name("moved"))
    try:
        files = rebuild(config, "churn", report.version)
        assert set(files) == set(before)
        for path in files:
            if path.parent.name == "learned":
                # Only the training can grow the model from another seed.
                told, was = json.loads(path.read_text()), json.loads(before[path])
                assert told.pop("stability")["status"] == "not_measured"
                assert was.pop("stability")
                assert told == was
            else:
                assert path.read_bytes() == before[path], path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        moved.rename(folder)


@pytest.fixture
def copied(twice, tmp_path):
    """The second version's desk in another home over the same runs: what is done to it stays there."""
    config, _, report = twice
    shutil.copytree(config.home, tmp_path / "home")
    return replace(config, home=tmp_path / "home"), report


def without_stability(folder):
    told = {path.relative_to(folder).as_posix(): json.loads(path.read_text()) for path in folder.rglob("[!.]*.json")}
    for one in told.values():
        one.pop("stability", None)
        one.pop("users_hashed", None)
    return told


@pytest.mark.parametrize("stopped", ["desk.write_learned", "desk.write_versus", "rebuild.write_card"])
def test_a_desk_whose_writing_was_interrupted_is_no_version_until_it_is_healed(copied, monkeypatch, stopped):
    config, report = copied
    folder = desk_folder(config.home, "churn", report.version)
    whole = without_stability(folder)
    shutil.rmtree(folder)
    monkeypatch.setattr("training.desk.rebuild._from_run", lambda *arguments: None)
    with monkeypatch.context() as patch:
        patch.setattr(f"training.desk.{stopped}", interrupted)
        with pytest.raises(KeyboardInterrupt):
            rebuild(config, "churn", report.version)
    assert Desk(config.home).versions("churn") == ["1"]
    rebuild(config, "churn", report.version)
    assert Desk(config.home).versions("churn") == ["2", "1"]
    assert without_stability(folder) == whole


def test_a_training_writes_the_card_last(copied, monkeypatch):
    config, report = copied
    shutil.rmtree(config.home / "desk")
    registry = Registry(config)
    monkeypatch.setattr("training.desk.desk.write_reasons", interrupted)
    model, told = registry.model("churn", report.version), Told({}, {}, pd.DataFrame())
    with pytest.raises(KeyboardInterrupt):
        write_desk(config, registry, registry.reopen(report.run_id), model, told, Sample(END, {}, {}))
    assert not Desk(config.home).versions("churn")


def interrupted(*arguments, **named):
    raise KeyboardInterrupt


@pytest.mark.parametrize("content", [None, "", '{"half": ', "[]"])
def test_each_missing_or_broken_file_comes_back_and_the_others_stay(copied, monkeypatch, content):
    config, report = copied
    folder = desk_folder(config.home, "churn", report.version)
    whole = without_stability(folder)
    lost = sorted(path for path in folder.rglob("*.json") if path.name in ("card.json", "p_inactive_30d.json"))
    assert len(lost) == 2
    kept = {path: path.read_bytes() for path in folder.rglob("*.json") if path not in lost}
    for path in lost:
        path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    assert not Desk(config.home).whole("churn", report.version)
    monkeypatch.setattr("training.desk.rebuild._from_run", lambda *arguments: None)
    rebuild(config, "churn", report.version)
    assert Desk(config.home).whole("churn", report.version)
    assert without_stability(folder) == whole
    assert {path: path.read_bytes() for path in kept} == kept


def test_users_brought_back_are_digits_and_stay_the_same_digits(copied):
    config, report = copied
    folder = desk_folder(config.home, "churn", report.version)
    named = json.loads((folder / "versus-1.json").read_text())
    digits = None
    for _ in range(2):
        shutil.rmtree(folder)
        rebuild(config, "churn", report.version)
        told = json.loads((folder / "versus-1.json").read_text())
        assert told.pop("users_hashed") is True
        assert told == unnamed(named)
        assert digits in (None, told)
        digits = told
        log_desk(config.home, Registry(config).reopen(report.run_id), "churn", report.version)


def test_a_desk_worked_out_on_other_events_says_so(copied, monkeypatch):
    config, report = copied
    folder = desk_folder(config.home, "churn", report.version)
    shutil.rmtree(folder)
    monkeypatch.setattr("training.desk.rebuild._from_run", lambda *arguments: None)
    monkeypatch.setattr("training.desk.rebuild.log_desk", lambda *arguments: None)
    monkeypatch.setattr("training.desk.rebuild.content_hash", lambda config: "sha256:other")
    read = Registry.read_json

    def before_segments(self, run_id, file):
        return {name: one for name, one in read(self, run_id, file).items() if name != "segments"}

    monkeypatch.setattr(Registry, "read_json", before_segments)
    rebuild(config, "churn", report.version)
    for head, told in card_of(config, report.version)["heads"].items():
        said = json.loads((folder / "learned" / f"{head}.json").read_text())["sample"]["words"]
        assert said["en"].endswith("from other events than those of training")
        assert said["zh"].endswith("所用事件与训练时不同")
        assert told["segments"]["words"]["en"].startswith("Not measured then, and cannot be now")
        check_words("segments", told["segments"]["words"])


def test_checks_come_back_as_they_were_run_last(copied):
    config, report = copied
    run_checks(config, config.models["churn"], report.version, only=["P007"])
    rebuild(config, "churn", report.version)
    log_desk(config.home, Registry(config).reopen(report.run_id), "churn", report.version)
    run_checks(config, config.models["churn"], report.version, only=["P001"])
    shutil.rmtree(desk_folder(config.home, "churn", report.version))
    rebuild(config, "churn", report.version)
    told = json.loads((desk_folder(config.home, "churn", report.version) / "checks.json").read_text())
    assert {"P001", "P007"} <= {one["code"] for one in told["outcomes"]}
    assert told == Registry(config).read_json(report.run_id, "checks.json")


def test_what_checks_found_lies_on_the_desk(twice):
    config, report, _ = twice
    run_checks(config, config.models["churn"], report.version, only=["P007"])
    told = json.loads((desk_folder(config.home, "churn", report.version) / "checks.json").read_text(encoding="utf-8"))
    assert [one["code"] for one in told["outcomes"]] == ["P007"]
    assert told == Registry(config).read_json(report.run_id, "checks.json")
