"""All benchmarks in one run: tiny parts that end well, fail, hang and say nonsense; what is kept, and what is shown."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

import userops
from configs import load
from serving import benchmark_all as collector
from serving import benchmark_machine
from serving.benchmark_all import Run, benchmark_all, failed, unfinished
from serving.benchmark_machine import Watch, machine
from serving.benchmark_parts import PARTS, Part, Row
from serving.benchmark_table import cells, lines_of, markdown_of, remarks, times
from serving.benchmark_yardsticks import FILES, yardsticks

ROOT = Path(__file__).parents[2]
FOUND = {
    "benchmark": "tiny",
    "metrics": {"seconds": {"value": 2.0, "ci": None}},
    "baselines": {"slow": {"seconds": 20.0}},
    "ratios": {"ours_vs_slow": 10.0},
    "settings": {},
    "versions": {"tiny": "1"},
    "seconds": 0.1,
    "peak_mb": 12.0,
}
ROWS = (
    Row("a thing", "seconds", "{:.1f} s", "slow", "the slow | way", "ours_vs_slow", 8),
    Row("… in all", "seconds", "{:,.0f} ms", goal=1.5, goal_of="ours", at_most=True, scale=1000),
    Row("what is not there", "gone", "{:.1f} s", goal=1),
)


@dataclass(frozen=True)
class Script(Part):
    """A part that runs ``code``; ``F`` is its file, ``HOME`` its home."""

    code: str = f"open(F, 'w').write(json.dumps({FOUND!r}))"

    def command(self, quick):
        head = f"import json, os, sys; F, HOME, QUICK = sys.argv[-1], os.environ['USEROPS_HOME'], {quick}; "
        return [sys.executable, "-c", head + self.code]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(collector, "busy_before", lambda: 0.0)


def counted(name, folder, **more):
    """A part that leaves a line behind each time it runs."""
    code = f"open({str(folder / name)!r}, 'a').write('ran '); " + Script(name, 1, ROWS).code
    return Script(name, 1, ROWS, code=code, **more)


def test_parts_run_one_after_the_other_and_make_one_table(tmp_path):
    said, shown = [], []
    run = Run([counted("one", tmp_path), counted("two", tmp_path)], tmp_path / "all.json", "code 1", say=said.append)
    whole = benchmark_all(load(tmp_path), run, lambda *step: shown.append(step))
    assert json.loads(run.file.read_text()) == json.loads(json.dumps(whole))
    assert set(FOUND) <= set(whole)
    assert list(whole["parts"]) == ["one", "two"]
    assert whole["parts"]["one"] | FOUND == whole["parts"]["one"]
    assert whole["versions"] == {"tiny": "1"}
    assert whole["ratios"] == {"one.ours_vs_slow": 10.0, "two.ours_vs_slow": 10.0}
    assert whole["peak_mb"] == 12.0
    assert {"cores", "cpu", "memory_gb"} <= set(whole["settings"]["machine"])
    about = whole["parts"]["two"]["run"]
    assert {"started", "load_average", "others_cores"} <= set(about)
    assert about["seconds"] < 30
    assert [line.split(":")[0] for line in said] == ["one", "two"]
    assert all(0 <= fraction <= 1 for _, fraction in shown)
    assert not unfinished(run.file).exists()
    again = benchmark_all(load(tmp_path), run)  # what is whole is not gone on with: everything is measured again
    assert (tmp_path / "one").read_text() == "ran ran "
    assert list(again["parts"]) == ["one", "two"]


@pytest.mark.parametrize(
    "code", ["sys.exit('no luck')", "open(F, 'w').write('{')", "pass", "open(F, 'w').write('{}'); sys.exit(3)"]
)
def test_a_part_that_fails_is_named_and_measured_again(tmp_path, code):
    parts = [counted("good", tmp_path), Script("bad", 1, ROWS, code=code), counted("last", tmp_path)]
    run = Run(parts, tmp_path / "all.json", "code 1")
    whole = benchmark_all(load(tmp_path), run)
    assert failed(whole) == ["bad"]
    assert "exit code" in whole["parts"]["bad"]["error"]
    assert ("no luck" in whole["parts"]["bad"]["error"]) == ("no luck" in code)
    assert whole["parts"]["last"]["metrics"] == FOUND["metrics"]
    assert [line[1] for line in cells(whole)[3:6]] == ["not measured"] * 3
    assert any(one.startswith("bad failed: ") for one in remarks(whole))
    mended = Run([parts[0], counted("bad", tmp_path), parts[2]], run.file, "code 1")
    assert not failed(benchmark_all(load(tmp_path), mended))
    assert [(tmp_path / name).read_text() for name in ("good", "bad", "last")] == ["ran "] * 3


@pytest.mark.parametrize("other", [{"code": "code 2"}, {"quick": True}])
def test_numbers_of_other_code_or_size_are_not_mixed(tmp_path, other):
    parts = [counted("good", tmp_path), Script("bad", 1, ROWS, code="sys.exit(1)")]
    asked = {"parts": parts, "file": tmp_path / "all.json", "code": "code 1"}
    benchmark_all(load(tmp_path), Run(**asked))
    benchmark_all(load(tmp_path), Run(**asked | other))
    assert (tmp_path / "good").read_text() == "ran ran "


def test_ctrl_c_ends_the_part_and_keeps_the_others(tmp_path):
    lines = f"""
        import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
        from pathlib import Path
        from configs import load
        from serving import benchmark_all as collector
        from test_benchmark_all import Script, ROWS, counted
        collector.busy_before = lambda: 0.0
        folder = Path({str(tmp_path)!r})
        hang = Script("hang", 1, ROWS, code="import time; open({str(tmp_path / "pid")!r}, 'w').write(str(os.getpid()));"
                      " time.sleep(600)")
        run = collector.Run([counted("good", folder), hang], folder / "all.json", "code 1")
        collector.benchmark_all(load(folder), run)
    """
    code = "\n".join(line.strip() for line in lines.splitlines())
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    kept = json.loads(unfinished(tmp_path / "all.json").read_text())
    assert list(kept["parts"]) == ["good"]
    assert kept["settings"]["missing"] == ["hang"]
    whole = benchmark_all(load(tmp_path), Run([counted("good", tmp_path), Script("hang", 1, ROWS)],
                                              tmp_path / "all.json", "code 1"))  # fmt: skip
    assert list(whole["parts"]) == ["good", "hang"]
    assert (tmp_path / "good").read_text() == "ran "


def test_what_asks_a_release_gets_the_home_that_has_one(tmp_path, monkeypatch):
    walked = []

    def walk(config):
        walked.append(config.home)
        config.home.mkdir(parents=True)

    monkeypatch.setattr("serving.benchmark_stage.demo_shop", walk)
    code = f"open(F, 'w').write(json.dumps({FOUND!r} | dict(home=HOME)))"
    asked = {"a": True, "b": True, "c": False}
    parts = [Script(name, 1, ROWS, asks_release=asks, code=code) for name, asks in asked.items()]
    run = Run(parts, tmp_path / "all.json", "code 1")
    (tmp_path / "home").mkdir()
    homes = [one["home"] for one in benchmark_all(load(tmp_path / "home"), run)["parts"].values()]
    assert len(walked) == 1
    assert homes == [str(walked[0]), str(walked[0]), str(tmp_path / "home")]
    assert not walked[0].exists()
    (tmp_path / "home" / "releases" / "current").mkdir(parents=True)
    homes = [one["home"] for one in benchmark_all(load(tmp_path / "home"), run)["parts"].values()]
    assert homes == [str(tmp_path / "home")] * 3
    assert len(walked) == 1


def test_a_shop_walked_for_a_benchmark_knows_no_servers_of_ours(tmp_path, monkeypatch):
    from serving import benchmark_stage

    seen = []

    def run(command, env, **_):
        seen.append((command[2:], env))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setenv("USEROPS_TRACKING", "http://team:5000")
    monkeypatch.setenv("USEROPS_NOW", "2011-12-10")
    monkeypatch.setattr(benchmark_stage.subprocess, "run", run)
    benchmark_stage.demo_shop(load(tmp_path))
    assert {"train", "promote", "release"} <= {words[0] for words, _ in seen}
    places = {f"USEROPS_{one}" for one in ("DECISIONS", "AUDIT", "REGISTRY", "TRACKING", "ONLINE")}
    for words, environment in seen:
        assert {environment[one] for one in places} == {"sqlite"}, words
        assert environment["USEROPS_HOME"] == str(tmp_path)
        assert environment["USEROPS_NOW"] == ""


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"settings": 1}'])
def test_a_file_of_something_else_is_begun_anew(tmp_path, content):
    run = Run([Script("tiny", 1, ROWS)], tmp_path / "all.json", "code 1")
    unfinished(run.file).write_text(content)
    assert not failed(benchmark_all(load(tmp_path), run))


def test_lines_show_what_was_met():
    found = {"tiny": FOUND}
    part = Part("tiny", 1, ROWS)
    first, second, third = (line.shown for line in lines_of([part], found))
    assert first == ("a thing", "2.0 s", "20.0 s, the slow | way", "10 ×", "≥ 8 ×", "yes")
    assert second == ("… in all", "2,000 ms", "", "", "≤ 1,500 ms", "no")
    assert third == ("what is not there", "not measured", "", "", "≥ 1 ×", "")
    assert [line.met for line in lines_of([part], found, quick=True)] == [None] * 3
    assert [times(ratio) for ratio in (123.4, 9.96, 1.999, 0.5)] == ["123", "10.0", "2.00", "0.50"]


def test_markdown_is_a_table_with_machine_and_date(tmp_path):
    whole = benchmark_all(load(tmp_path), Run([Script("tiny-two", 1, ROWS)], tmp_path / "all.json", "code 1"))
    lines = markdown_of(whole).splitlines()
    assert all(line.replace("\\|", "").count("|") == 8 for line in lines[:5])
    assert "| `userops benchmark tiny-two` |" in lines[2]
    assert whole["settings"]["date"] in lines[6]
    assert f"{machine()['cores']} cores" in lines[6]


def test_company_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(collector, "busy_before", lambda: 1.7)
    monkeypatch.setattr(Watch, "others", lambda watch: 0.3)
    said = []
    run = Run([Script("tiny", 1, ROWS)], tmp_path / "all.json", "code 1", say=said.append)
    whole = benchmark_all(load(tmp_path), run)
    assert "while others used 1.7 cores" in said[0]
    assert "tiny: others used 1.7 cores meanwhile" in remarks(whole)


def test_others_are_everybody_but_us(monkeypatch):
    clock, busy, own = [0.0], [100.0], [7.0]
    monkeypatch.setattr(benchmark_machine.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(benchmark_machine, "_busy_seconds", lambda: busy[0])
    monkeypatch.setattr(benchmark_machine, "_own_seconds", lambda: own[0])
    watch = Watch()
    clock[0], busy[0], own[0] = 10.0, 118.0, 20.0
    assert watch.others() == 0.5
    busy[0] = None
    assert watch.others() is None


def test_every_part_is_a_verb_and_its_words_are_understood(tmp_path):
    for name in FILES.values():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    parts = [*PARTS, *yardsticks(tmp_path)]
    assert len(parts) == len(PARTS) + 9
    assert not [part.typed for part in parts if str(tmp_path) in part.typed]
    typed = next(part.typed for part in parts if part.name == "serving-real")
    assert typed.startswith("userops benchmark serving --stores real")
    assert not yardsticks(tmp_path / "nowhere")
    assert len({part.name for part in parts}) == len(parts)
    assert sum(part.seconds for part in PARTS) <= 25 * 60
    for part in parts:
        words = part.command(quick=True)[4:]
        assert words[0] == "benchmark"
        done = CliRunner().invoke(userops.app, [*words, "--json", "/nowhere/at/all.json"])  # refused before any work
        assert done.exit_code == 2, (words, done.output)
        assert "there is no folder /nowhere/at" in done.output, done.output


def test_unknown_parts_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    done = CliRunner().invoke(userops.app, ["benchmark", "all", "--only", "nothing"])
    assert done.exit_code == 1
    assert "there is no such part" in str(done.exception)
