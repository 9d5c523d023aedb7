"""The whole way, by the commands a user types: what comes out is consistent, and near the best possible score."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pyarrow.parquet as parquet
import pytest
from nbclient import NotebookClient

from configs import load
from features.events import span
from features.periods import as_utc
from features.simulate import true_probability
from features.store import Store
from serving.scoring import Bundle, current
from training.evaluate import metrics_of
from training.forecasts import forecasts
from training.judge import horizons_of
from training.splits import split_at
from training.stack import families
from training.train import train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (userops .*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)
# What the fixture has already run, by the very same words, or what ends only with Ctrl-C (tests/serving starts it).
DONE_BY_FIXTURE = ("userops simulate", "userops ingest", "userops train", "userops promote", "userops release")
ENDLESS = ("userops serve",)
BESIDE = {
    "interest": {"personal_frequency", "popularity"},
    "value": {"bg_nbd_gamma_gamma", "repeat_last_period"},
}
NOW = "2026-06-01T00:00:00+00:00"


def read(walked, name):
    return json.loads((walked.home / name).read_text())


def test_ingest_accounts_for_every_line_and_adds_nothing_twice(walked):
    report = read(walked, "ingest.json")
    assert report["accepted"] + report["quarantined"] + report["duplicates"] == report["read"] > 50_000
    again = walked.run("ingest", "shop", "--data", str(walked.shop), "--json", str(walked.home / "again.json"))
    assert "accepted 0 " in again.stdout
    assert read(walked, "again.json")["accepted"] == 0


def test_training_reports_every_head_beside_its_baselines(walked):
    for report, config in zip(read(walked, "train.json"), load().models.values(), strict=True):
        assert report["model"] == config.name
        assert set(report["metrics"]) == {head for head in config.heads if head != "spend_365d"}  # 300 days of history
        decides, slack = ("mae", 5.0) if config.name == "value" else ("log_loss", 0.01)
        for head, metrics in report["metrics"].items():
            low, high = metrics["auroc"]["ci"]
            assert low <= metrics["auroc"]["value"] <= high
            assert BESIDE.get(config.name, {"recency", "frequency", "rfm"}) <= set(report["baselines"][head])
            best = min(numbers[decides] for numbers in report["baselines"][head].values())
            assert metrics[decides]["value"] < best + slack, head


def expected_auroc(truth, score):
    """The AUROC of ``score`` in expectation over outcomes drawn from ``truth``: free of the noise of one draw."""
    order = np.argsort(score, kind="stable")
    p, q = truth[order], 1 - truth[order]
    below = np.cumsum(q) - q
    return float((p * below).sum() / (p.sum() * q.sum() - (p * q).sum()))


@pytest.mark.parametrize("name", ["churn", "repurchase"])
def test_the_model_ranks_almost_as_well_as_the_true_probabilities(walked, name):
    config = load(walked.home, as_utc(NOW))
    model = config.models[name]
    judge = split_at(model.origins, horizons_of(model), *span(config)).judge
    said = forecasts(config, model, [judge])
    assert said.log["origins"][0]["cached"], "training kept what it said on the judged day"
    family = families(model)[0]
    for head in family.heads:
        judged = said.of(head)
        truth = true_probability(walked.shop, judge, family.label, model.heads[head]["horizon_days"])
        best = truth.set_index("user_id")["p"].reindex(judged["user_id"]).to_numpy()
        gap = expected_auroc(best, best) - expected_auroc(best, judged["raw"].to_numpy())
        # A third of the users and 300 days of history: 0.01 with the demo's shop, some more room here.
        assert 0 <= gap < 0.02, (head, gap)
        assert metrics_of(judged["y"], best)["auroc"] > 0.7


def test_offline_online_and_served_vectors_are_equal(walked):
    parity = Store(load(walked.home, as_utc(NOW))).parity(50)
    assert parity.users == 50
    assert parity.equal, parity.differing


def test_the_release_holds_the_promoted_versions(walked):
    bundle = Bundle.load(current(walked.home / "releases"))
    versions = {name: model.version for name, model in bundle.models.items()}
    assert versions == dict.fromkeys(("churn", "repurchase", "value"), "1")
    assert bundle.interest is not None
    assert bundle.interest.version == "1"
    assert set(bundle.documents) == {"policy.json", "offers.json"}
    assert "champion 1" in walked.run("status").stdout


def test_score_explain_and_inspect_tell_one_story(walked):
    user = "u000010"
    walked.run("score", "churn", user, "--json", str(walked.home / "score.json"))
    walked.run("explain", user, "--lang", "zh", "--json", str(walked.home / "explain.json"))
    scored, explained = (read(walked, f"{verb}.json")["users"][0]["scores"] for verb in ("score", "explain"))
    for head, score in scored.items():
        assert explained[head]["p"] == score["p"]
        if score["p"] is None:
            continue
        shares = explained[head]["explanation"]
        total = shares["base_value"] + sum(one["contribution"] for one in shares["contributions"])
        assert total == pytest.approx(shares["raw_score"], abs=1e-9)
    assert "no difference" in walked.run("features", "inspect", user).stdout


def test_an_offer_is_decided_explained_and_decided_again(walked):
    for user in ("u000010", "u000011", "u000012"):
        walked.run("decide", user, "--lang", "zh", "--json", str(walked.home / "decided.json"))
        decided = read(walked, "decided.json")
        if decided["offers"]:
            break
    for offer in decided["offers"]:
        parts = offer["components"]
        priority = parts["propensity"] * parts["context_weight"] * parts["value"] * parts["lever"]
        assert offer["priority"] == pytest.approx(priority, abs=1e-12)
        assert 0 < offer["action_probability"] <= 1
        assert len(offer["reason_codes"]) >= 3
        shares = offer["explanation"]
        total = shares["base_value"] + sum(one["contribution"] for one in shares["contributions"])
        assert total == pytest.approx(shares["raw_score"], abs=1e-9)
    assert decided["offers"]
    assert decided["filtered"]
    walked.run("decisions", "replay", "--json", str(walked.home / "replayed.json"))
    replayed = read(walked, "replayed.json")
    assert replayed["decisions"] == replayed["identical"] >= 1
    walked.run("decisions", "export", str(walked.home / "decisions.parquet"))
    logged = parquet.read_table(walked.home / "decisions.parquet").to_pandas()
    assert {"context", "action", "position", "reward", "pscore"} <= set(logged.columns)
    assert set(logged[logged["decision_id"] == decided["decision_id"]]["pscore"]) == {
        offer["action_probability"] for offer in decided["offers"]
    }


def test_an_unknown_model_and_a_broken_command_end_with_one_sentence(walked):
    done = walked.run("score", "nothing", "u1", check=False)
    assert done.returncode == 1
    assert "error: the release in force has no such model" in done.stderr
    assert "Traceback" not in done.stderr
    assert walked.run("train", "--trials", check=False).returncode == 2


def test_the_same_data_and_seed_give_the_same_model(walked, tmp_path, monkeypatch):
    bundle = current(walked.home / "releases")
    copy = tmp_path / "home"
    shutil.copytree(walked.home / "events", copy / "events")
    monkeypatch.setattr("training.train.log_training", lambda *told: None)  # what is drawn of it is not compared
    again = train(load(copy, as_utc(NOW)), "churn")
    files = list((copy / "mlartifacts").rglob("inactive.txt"))
    assert again.version == "1"
    assert [file.read_bytes() for file in files] == [(bundle / "churn" / "inactive.txt").read_bytes()]


@pytest.mark.parametrize("command", [one for one in COMMANDS if not one.startswith(DONE_BY_FIXTURE)])
def test_each_command_of_the_readme_runs(walked, command):
    done = walked.run(*shlex.split(command)[1:], *(["--help"] if command.startswith(ENDLESS) else []))
    assert done.stdout


def test_the_notebooks_run_on_this_home(walked):
    # One kernel for all of them, emptied in between: each of its own would import the same libraries for seconds.
    cells = [
        cell
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in [nbformat.v4.new_code_cell("%reset -f"), *nbformat.read(path, as_version=4).cells]
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    env = {**os.environ, "USEROPS_HOME": str(walked.home), "USEROPS_NOW": NOW}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute(
        env=env
    )
    drawn = [out for cell in notebook.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
    assert len(drawn) >= 4
