"""The command line: one verb per step, each of them parse, call, show progress, print."""

from __future__ import annotations

import functools
import gc
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import configs.verbs_keys
import features.verbs
import features.verbs_benchmark
import serving.forget.verbs
import serving.verbs
import serving.verbs_benchmark
import serving.verbs_bulk
import serving.verbs_chaos
import serving.verbs_decisions
import serving.verbs_report
import training.backtest.verbs
import training.checks.verbs
import training.compare.verbs
import training.gate.verbs
import training.monitor.verbs
import training.readiness.verbs
import training.retrain.verbs
import training.revision
import training.status
import training.verbs
import training.verbs_benchmark
from configs import Config, load
from configs.databases import begun
from configs.errors import UseropsError
from configs.room import no_room
from configs.terminal import JsonFile, console, errors, step, write_json
from features.demo import at_the_end_of_the_data, demo_home
from serving.demo import ask_around

if TYPE_CHECKING:
    from training.report import TrainReport
    from training.retrain.steps import Serving

# Nothing of this project calls home, and every clock in it is UTC.
os.environ.update(TZ="UTC", BENTOML_DO_NOT_TRACK="True", MLFLOW_DISABLE_TELEMETRY="true", GIT_PYTHON_REFRESH="quiet")
# LightGBM's threads otherwise spin while they wait: three times the processor time on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
time.tzset()

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a table of behaviour to a served, explained score.",
)
features_app = typer.Typer(no_args_is_help=True, help="Compute, publish and look at features.")
benchmark_app = typer.Typer(no_args_is_help=True, help="Measure: every number with its baseline, in one run.")
app.add_typer(features_app, name="features")
decisions_app = typer.Typer(no_args_is_help=True, help="Look at what was decided.")
app.add_typer(benchmark_app, name="benchmark")
app.add_typer(decisions_app, name="decisions")
app.add_typer(configs.verbs_keys.app, name="keys")


def main() -> None:
    """Run the command line; a `UseropsError`, or a full disk, prints a sentence and ends with 1, Ctrl-C with 130."""
    gc.set_threshold(20_000, 20, 20)  # a query is compiled from hundreds of thousands of objects, none of them garbage
    try:
        app()
    except Exception as error:
        told = error if isinstance(error, UseropsError) else no_room(error)
        if told is None:
            raise
        errors.print(f"error: {told}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except SystemExit as end:
        # Typer makes of Ctrl-C an exit of its own.
        if end.code == 130:
            errors.print("interrupted: finished steps are kept, the same command goes on", style="yellow")
        raise


def after_live_events(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb, once the event store holds what the service has heard: a snapshot without it would forget it again."""

    @functools.wraps(verb)
    def heard(*values: object, **named: object) -> None:
        from serving.follow import hand_over
        from serving.log import DecisionLog

        config = load()
        if begun(config.decisions_uri):
            hand_over(config, DecisionLog.open(config.decisions_uri))
        verb(*values, **named)

    return heard


def mirrored(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb, which serves, with a process beside it that shows signatures of the console in MLflow, too."""

    @functools.wraps(verb)
    def beside(*values: object, **named: object) -> None:
        import subprocess

        from configs.beside import environment
        from training.gate.mirror import command

        # Ends with this process, or with the service that it becomes.
        process = subprocess.Popen(command(), env=environment())
        try:
            verb(*values, **named)
        finally:
            process.terminate()
            process.wait(timeout=60)

    return beside


def release(json_file: JsonFile = None) -> None:
    """Bundle champions, policy and offers for serving, and make the bundle current, atomically."""
    from training.release import release as bundle

    config = load()
    made = bundle(config, documents(config))
    console.print(f"released {made.release_id}: " + ", ".join(f"{m} version {v}" for m, v in made.versions.items()))
    write_json(json_file, asdict(made))


def documents(config: Config) -> dict[str, bytes]:
    """The policy and the offers of a release, compiled and checked."""
    from serving.decision.source import compile_policy

    policy, offers = compile_policy(config)
    return {"policy.json": policy, "offers.json": offers}


def for_retraining() -> Serving:
    """What a retraining needs of the service: logged decisions, and the documents of a release."""
    from serving.log import DecisionLog
    from training.retrain.steps import Serving

    def export(config: Config, file: Path, since_us: int, until_us: int) -> int:
        if not begun(config.decisions_uri):
            return 0
        log = DecisionLog.open(config.decisions_uri)
        try:
            return log.export(file, since_us, until_us)
        finally:
            log.close()

    return Serving(export, documents, log_report)


def log_report(config: Config, trained: TrainReport) -> None:
    """Store what reviewers read of a version with its run, in both languages, users named by digits."""
    from serving.console.report import opened, report
    from training.registry import Registry
    from training.unnamed import unnamed

    with opened(config) as live:
        html = report(live, trained.model, trained.version, ("en", "zh"), told=unnamed)
    Registry(config).reopen(trained.run_id).text(html, "report.html")


def what_training_keeps() -> object:
    """What `forget` must know of the room of training."""
    from serving.forget.forget import Training
    from training import forget as kept

    return Training(kept.forget_forecasts, kept.forget_desk, kept.forget_reports, kept.artefacts, kept.seen_by)


train = training.verbs.training(log_report)


def rebuild(config: Config, model: str, version: str) -> None:
    """Write what reviewers read of a version that was trained before there was a desk, or in another home."""
    from training.desk.rebuild import rebuild as write_desk

    write_desk(config, model, version)


def demo(
    source: Annotated[str, typer.Option(help="A name in configs/sources, or the path of a mapping.")] = "shop",
    data: Annotated[
        Path | None, typer.Option(help="The file or folder to read.", show_default="a shop simulated until today")
    ] = None,
    keep_serving: Annotated[
        bool, typer.Option("--keep-serving", help="Leave the service running until Ctrl-C.", show_default="off")
    ] = False,
) -> None:
    """Go the whole way: events, features, models, registry, release, service, one customer's scores with reasons."""
    from features.store import Store

    if data is None and source != "shop":
        raise UseropsError(
            f"demo needs the data of source {source!r}", run=f"userops demo --source {source} --data FILE"
        )
    config = demo_home(load(), source)
    os.environ["USEROPS_HOME"] = str(config.home)
    if keep_serving and (config.home / "releases" / "current").exists() and Store(config).is_published():
        console.print(f"{config.home} holds a release and published features: serving them")
        config = at_the_end_of_the_data(config)
    else:
        config = whole_way(config, source, data)
    (mirrored(ask_around) if keep_serving else ask_around)(config, 6, keep_serving)


def whole_way(config: Config, source: str, data: Path | None) -> Config:
    """Everything before the service."""
    simulated = data is None
    data = data or config.home / "shop"
    if simulated:
        step(1, "simulate a shop")
        features.verbs.simulate(data)
    step(2, f"ingest {source}")
    # A shop simulated on another day is another shop: its events take the place of the old ones.
    features.verbs.ingest(source, data, replace_source=simulated)
    config = at_the_end_of_the_data(config)
    step(3, "train, judge and register the models")
    train()
    step(4, "promote and release them")
    training.gate.verbs.promote()
    release()
    step(5, "compute and publish today's features")
    after_live_events(features.verbs.build)()
    features.verbs.publish()
    return config


verb: Callable[..., None]
for verb in (
    features.verbs.simulate,
    features.verbs.ingest,
    train,
    training.backtest.verbs.backtest,
    training.compare.verbs.compare,
    training.gate.verbs.promote,
    training.gate.verbs.rollback,
    training.gate.verbs.sign,
    training.gate.verbs.audit,
    training.checks.verbs.check,
    training.readiness.verbs.readiness,
    training.monitor.verbs.monitor,
    training.retrain.verbs.retraining(for_retraining),
    release,
    training.status.status,
    mirrored(serving.verbs.serve),
    serving.verbs.score,
    serving.verbs_bulk.audience,
    serving.verbs.explain,
    serving.verbs.tiers,
    serving.verbs.decide,
    serving.verbs_decisions.identify,
    serving.verbs_report.reporting(rebuild),
    serving.forget.verbs.forgetting(what_training_keeps),
    serving.verbs_chaos.chaos,
    demo,
):
    app.command()(verb)
for verb in (after_live_events(features.verbs.build), features.verbs.publish, features.verbs.inspect):
    features_app.command()(verb)
log = serving.verbs_decisions
for verb in (log.export, log.replay, log.migrate, log.prune):
    decisions_app.command()(verb)
benchmarks: dict[str, Callable[..., None]] = {
    "repurchase": training.verbs_benchmark.benchmark_repurchase,
    "features": features.verbs_benchmark.benchmark_features,
    "pit": features.verbs_benchmark.benchmark_pit,
    "publish": features.verbs_benchmark.benchmark_publish,
    "online": features.verbs_benchmark.benchmark_online,
    "growth": features.verbs_benchmark.benchmark_growth,
    "train": training.verbs_benchmark.benchmark_train,
    "bgnbd": training.verbs_benchmark.benchmark_bgnbd,
    "predict": serving.verbs_benchmark.benchmark_predict,
    "interest": training.verbs_benchmark.benchmark_interest,
    "value": training.verbs_benchmark.benchmark_value,
    "nextbasket": training.verbs_benchmark.benchmark_nextbasket,
    "uplift": training.verbs_benchmark.benchmark_uplift,
    "explain": serving.verbs_benchmark.benchmark_explain,
    "bulk": serving.verbs_benchmark.benchmark_bulk,
    "serving": serving.verbs.benchmark_serving,
    "console": serving.verbs.benchmark_console,
    "all": serving.verbs_benchmark.collecting(training.revision.revision),
}
for name, benchmark in benchmarks.items():
    benchmark_app.command(name)(benchmark)

if __name__ == "__main__":
    main()
