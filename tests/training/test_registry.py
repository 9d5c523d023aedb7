"""The registry on a real MLflow database."""

import pytest

from configs import load
from configs.errors import RegistryError
from training.registry import CHALLENGER, CHAMPION, Registry


@pytest.fixture
def registry(tmp_path):
    return Registry(load(tmp_path / "home"))


def train(registry, tmp_path, auroc):
    with registry.run("churn", "train", {"kind": "train"}) as run:
        run.parameters({"seed": 7})
        run.metrics({"auroc": auroc, "recall@10": 0.5, "undefined": float("nan")})
        run.json({"rows": 3}, "evidence/split.json")
        version = registry.new_version("churn", run, {"catalogue": "sha256:0"})
        files = tmp_path / f"files{version}"
        files.mkdir()
        (files / "model.json").write_text(f'{{"version": "{version}"}}')
        run.folder(files, "model")
    return version, run.run_id


def test_versions_aliases_and_files(registry, tmp_path):
    first, run_id = train(registry, tmp_path, 0.7)
    second, _ = train(registry, tmp_path, 0.8)
    registry.alias("churn", CHALLENGER, second)
    registry.alias("churn", CHAMPION, first)
    assert [v.version for v in registry.versions("churn")] == [second, first]
    champion = registry.version("churn", CHAMPION)
    assert (champion.version, champion.run_id, champion.aliases) == (first, run_id, (CHAMPION,))
    assert champion.metrics == {"auroc": 0.7, "recall_at_10": 0.5}
    assert registry.read_json(run_id, "evidence/split.json") == {"rows": 3}
    copied = registry.folder("churn", CHALLENGER, tmp_path / "copy")
    assert (copied / "model.json").read_text() == '{"version": "2"}'


def test_a_missing_version_names_the_command_that_makes_it(registry):
    assert registry.versions("churn") == []
    assert registry.aliased("churn", CHAMPION) is None
    with pytest.raises(RegistryError, match="run: userops train churn"):
        registry.version("churn", CHAMPION)


def test_a_run_that_raises_is_marked_failed(registry):
    with pytest.raises(ZeroDivisionError), registry.run("churn", "train") as run:
        _ = 1 / 0
    assert registry._client.get_run(run.run_id).info.status == "FAILED"


def test_model_names_cannot_carry_a_filter(registry):
    with pytest.raises(RegistryError, match="not a model name"):
        registry.versions("churn' or name like '%")


def test_a_trial_lies_inside_its_search(registry):
    with registry.run("churn", "search") as search, registry.run("churn", "trial 0", parent=search) as trial:
        trial.metrics({"log_loss": 0.4}, step=2)
    inside = registry._client.get_run(trial.run_id)
    assert inside.data.tags["mlflow.parentRunId"] == search.run_id
    assert inside.data.tags["mlflow.user"] == registry._config.user
    assert registry._client.get_metric_history(trial.run_id, "log_loss")[0].step == 2


def test_a_run_that_is_over_takes_more_and_stays_over(registry, tmp_path):
    version, run_id = train(registry, tmp_path, 0.7)
    over = registry._client.get_run(run_id).info
    again = registry.reopen(run_id)
    again.tags({f"check.P{k:03}": "passed" for k in range(250)})
    again.note("**Ten checks**")
    again.json({"codes": 10}, "checks.json")
    registry.set_version_tags("churn", version, {"approved_by": "mei", "catalogue": "sha256:1"})
    run = registry._client.get_run(run_id)
    assert (run.info.status, run.info.end_time) == (over.status, over.end_time)
    assert run.data.tags["check.P249"] == "passed"
    assert run.data.tags["mlflow.note.content"] == "**Ten checks**"
    assert registry.read_json(run_id, "checks.json") == {"codes": 10}
    assert registry.version("churn", version).tags == {"approved_by": "mei", "catalogue": "sha256:1"}
