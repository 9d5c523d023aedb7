"""A retraining killed at any point goes on, and ends as one that was never killed."""

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from configs import load
from configs.errors import TrainingError
from features.catalog import digest
from features.periods import now
from training.registry import Registry
from training.retrain.retrain import begin, folder_of, followed
from training.retrain.work import Busy, Step, Unreadable, Work, alone, carry_on

NAMES = ("drift", "train", "backtest", "checks", "shadow", "gate", "release")
POINTS = ("before", "middle", "after", "saved")
ROOT = Path(__file__).parents[3]


def steps(folder, kill=None):
    """Seven steps that leave a file each, whole or not at all; ``kill`` is a step and a point at which we die."""

    def die(step, point):
        if kill == (step, point):
            os.kill(os.getpid(), signal.SIGKILL)

    def do(name):
        def step(work):
            die(name, "before")
            began = work.note("files", len(list(folder.glob("*.txt"))))
            die(name, "middle")
            (folder / f"{name}.txt").write_text(f"{began} before {name}")
            die(name, "after")
            return {"files": began}

        return Step(name, step)

    return [do(name) for name in NAMES]


def new(folder):
    return Work(folder / "m.json", "m-1", "m", "2026-06-01", "sha256:0")


def killed_at(folder, kill):
    """Work in a child process until it dies as told."""
    child = os.fork()
    if child == 0:
        work = new(folder)
        if kill[1] == "saved":
            save = work.save

            def and_die():
                save()
                if kill[0] in work.done:
                    os.kill(os.getpid(), signal.SIGKILL)

            work.save = and_die
        carry_on(work, steps(folder, kill), "released")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def left(folder):
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert carry_on(new(folder), steps(folder), "released").outcome == "released"
    return left(folder)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", NAMES)
def test_killed_anywhere_the_same_is_left(tmp_path, undisturbed, name, point):
    killed_at(tmp_path, (name, point))
    work = Work.read(tmp_path / "m.json") or new(tmp_path)
    assert not work.outcome
    done = NAMES[: NAMES.index(name) + (point == "saved")]
    assert tuple(work.done) == done
    carry_on(work, steps(tmp_path), "released")
    assert left(tmp_path) == undisturbed


def test_a_step_can_end_it(tmp_path):
    quiet = [Step("drift", lambda work: {"verdict": "quiet", "end": "quiet"}), *steps(tmp_path)[1:]]
    work = carry_on(new(tmp_path), quiet, "released")
    assert (work.outcome, list(work.done)) == ("quiet", ["drift"])
    assert Work.read(work.file) == work


def test_only_one_at_a_time_and_a_dead_one_does_not_count(tmp_path):
    hold = "import sys; from pathlib import Path; from training.retrain.work import alone\n"
    hold += "with alone(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", hold, str(tmp_path)]
    other = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "in\n"
    with pytest.raises(Busy, match=f"process {other.pid}"), alone(tmp_path):
        pass
    other.kill()
    other.communicate()
    with alone(tmp_path):
        pass


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return Registry(load(tmp_path_factory.mktemp("home")))


def test_a_run_per_step_under_one_and_what_a_kill_left_open_is_closed(registry, tmp_path):
    config = load(registry._artifacts.parent)
    work = begin(config, "churn", registry)
    failing = True

    def steps_under(parent):
        def step(name):
            def do(work):
                with registry.run("retrain", name, {"step": name}, parent):
                    if name == "train" and failing:
                        raise TrainingError("no labels")
                return {}

            return Step(name, do)

        return [step(name) for name in NAMES]

    with pytest.raises(TrainingError):
        followed(work, registry, steps_under)
    again = begin(config, "churn", registry)
    assert (again.id, again.run_id, list(again.done)) == (work.id, work.run_id, ["drift"])
    # As if the process had been killed within the step: nobody ended its run.
    client = registry._client
    experiment = client.get_run(work.run_id).info.experiment_id
    open_run = client.create_run(experiment, tags={"mlflow.parentRunId": work.run_id})
    failing = False
    assert followed(again, registry, steps_under).outcome == "released"

    assert client.get_run(open_run.info.run_id).info.status == "KILLED"
    assert client.get_run(work.run_id).info.status == "FINISHED"
    assert client.get_run(work.run_id).data.tags["outcome"] == "released"
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{work.run_id}'")
    finished = sorted(one.info.run_name for one in children if one.info.status == "FINISHED")
    assert finished == sorted(NAMES)
    assert registry.read_json(work.run_id, "retrain.json")["outcome"] == "released"
    assert begin(config, "churn", registry).id != work.id


def test_work_of_another_catalogue_is_given_up(registry):
    config = load(registry._artifacts.parent)
    before = Work(folder_of(config) / "interest.json", "interest-0", "interest", "2026-06-01", "sha256:0")
    before.save()
    assert begin(config, "interest", registry).id != "interest-0"
    before.catalogue, before.began_at = digest(), f"{now(config) - timedelta(days=6):%Y-%m-%dT%H:%M:%S+00:00}"
    before.save()
    assert begin(config, "interest", registry).id == "interest-0"
    assert json.loads(before.file.read_text())["catalogue"] == digest()


@pytest.mark.parametrize(
    ("days", "version", "why"), [(8, None, "older than 7 days"), (0, "3", "version 3 is no longer registered")]
)
def test_work_that_cannot_end_well_is_given_up(registry, days, version, why):
    config = load(registry._artifacts.parent)
    done = {"drift": {}} | ({"train": {"version": version}} if version else {})
    began = (now(config) - timedelta(days=days)).isoformat()
    before = Work(folder_of(config) / "value.json", "value-0", "value", began, digest(), "no run", done)
    before.save()
    work = begin(config, "value", registry)
    assert (work.id == "value-0", work.done) == (False, {})
    assert work.gave_up.startswith("value-0, begun 2")
    assert why in work.gave_up


def test_whoever_asks_for_a_fresh_start_gets_it_and_is_told_what_was_open(registry):
    config = load(registry._artifacts.parent)
    with registry.run("retrain", "open") as run:
        open_run = run.run_id
    file = folder_of(config) / "churn.json"
    Work(file, "churn-0", "churn", now(config).isoformat(), digest(), open_run, {"drift": {}}).save()
    assert begin(config, "churn", registry).id == "churn-0"
    assert begin(config, "churn", registry, fresh=True).gave_up.endswith("after drift: --fresh")
    ended = registry._client.get_run(open_run)
    assert (ended.info.status, ended.data.tags["outcome"]) == ("KILLED", "given up")


@pytest.mark.parametrize("damage", ['{"field_of_tomorrow": 1}', "[]", "{"])
def test_a_state_that_is_none_is_named_with_the_way_out(registry, damage):
    config = load(registry._artifacts.parent)
    file = folder_of(config) / "repurchase.json"
    file.write_text(damage)
    with pytest.raises(Unreadable, match=r"repurchase\.json is no state(.|\n)*retrain repurchase --fresh"):
        begin(config, "repurchase", registry)
    assert "repurchase.json" in begin(config, "repurchase", registry, fresh=True).gave_up
