"""The command line: one verb per step, each of them parse, call, show progress, print."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import features.verbs
import serving.verbs
import training.backtest.verbs
import training.checks.verbs
import training.compare.verbs
import training.gate.verbs
import training.monitor.verbs
import training.readiness.verbs
import training.retrain.verbs
import training.verbs
import training.verbs_benchmark
from configs import Config, load
from configs.errors import UseropsError
from configs.terminal import JsonFile, console, errors, print_table, showing, write_json

if TYPE_CHECKING:
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


def main() -> None:
    """Run the command line; a `UseropsError` prints without a traceback and ends with 1, Ctrl-C with 130."""
    try:
        app()
    except UseropsError as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
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
        if config.decisions_uri.startswith("postgresql") or (config.home / "decisions.db").exists():
            hand_over(config, DecisionLog.open(config.decisions_uri))
        verb(*values, **named)

    return heard


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
        if not config.decisions_uri.startswith("postgresql") and not (config.home / "decisions.db").exists():
            return 0
        log = DecisionLog.open(config.decisions_uri)
        try:
            return log.export(file, since_us, until_us)
        finally:
            log.close()

    return Serving(export, documents)


def status(json_file: JsonFile = None) -> None:
    """Say what the home holds: events, features, models, the release in force."""
    from features.events import content_hash, span
    from features.periods import now
    from training.registry import CHALLENGER, CHAMPION, Registry

    config = load()
    found: dict[str, object] = {"home": str(config.home), "clock": now(config).isoformat()}
    try:
        first, last = span(config)
        found["events"] = f"{first:%Y-%m-%d} .. {last:%Y-%m-%d}  ({content_hash(config)[:19]})"
    except UseropsError as error:
        found["events"] = error.what
    snapshots = sorted((config.home / "features" / "user").glob("*.parquet"))
    found["feature snapshots"] = f"{len(snapshots)}, newest {snapshots[-1].stem}" if snapshots else "none"
    if (config.home / "mlflow.db").exists():
        registry = Registry(config)
        for model in config.models:
            named = {alias: registry.aliased(model, alias) for alias in (CHAMPION, CHALLENGER)}
            found[model] = ", ".join(f"{alias} {version or 'none'}" for alias, version in named.items())
    current = config.home / "releases" / "current"
    found["release"] = current.resolve().name if current.exists() else "none"
    print_table("userops", ["", ""], [[key, value] for key, value in found.items()])
    write_json(json_file, found)


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
    from serving.local import post, running

    if data is None and source != "shop":
        raise UseropsError(
            f"demo needs the data of source {source!r}", run=f"userops demo --source {source} --data FILE"
        )
    config = demo_home(load(), source)
    os.environ["USEROPS_HOME"] = str(config.home)
    if keep_serving and (config.home / "releases" / "current").exists() and (config.home / "online.db").exists():
        console.print(f"{config.home} holds a release and published features: serving them")
        config = at_the_end_of_the_data(config)
    else:
        config = whole_way(config, source, data)
    step(6, "start the service and ask it")
    with ExitStack() as stack:
        with showing("starting the service") as show:
            address = stack.enter_context(running(config, show))
        user = at_risk(config)
        body = json.dumps({"user_ids": [user], "explain": {"lang": "en"}})
        for model in released(config):
            command = f"curl -s {address}/v1/score/{model} -H 'content-type: application/json' -d '{body}'"
            console.print(f"\n{command}", style="bold", markup=False, highlight=False, soft_wrap=True)
            serving.verbs.print_answer(post(f"{address}/v1/score/{model}", body))
        next_best_offer(address, user)
        print_addresses(config, address, user, keep_serving)
        if keep_serving:
            signal_wait()


def released(config: Config) -> list[str]:
    """The models that the release in force serves: a source without amounts or categories has no value or interest."""
    from serving.scoring import current, verified

    manifest = current(config.home / "releases") / "release.json"
    served = verified.read_json(manifest.read_bytes(), manifest)["models"]
    return [name for name in config.models if name in served]


def next_best_offer(address: str, user: str) -> None:
    """Ask what to offer, say that the first of it is unwanted, and ask again."""
    import uuid

    from serving.local import post

    where = {"channel": "app", "placement": "home"}
    question = {"user_id": user, "context": where, "limit": 3, "explain": {"level": "full", "top_n": 3, "lang": "en"}}

    def call(path: str, body: dict[str, object]) -> dict[str, Any]:
        text = json.dumps(body)
        command = f"curl -s {address}{path} -H 'content-type: application/json' -d '{text}'"
        console.print(f"\n{command}", style="bold", markup=False, highlight=False, soft_wrap=True)
        return post(f"{address}{path}", text)

    step(7, "ask for the next best offer, refuse it, ask again")
    first = call("/v1/next-best-offer", question)
    serving.verbs.print_offers(first)
    if not first["offers"]:
        return
    refused = {
        "event_id": uuid.uuid4().hex,
        "decision_id": first["decision_id"],
        "offer_id": first["offers"][0]["offer_id"],
        "rank": 1,
        "type": "not_interested",
        "ts": first["decided_at"],
    }
    console.print(call("/v1/feedback", {"events": [refused]}), highlight=False)
    serving.verbs.print_offers(call("/v1/next-best-offer", question))


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
    training.verbs.train()
    step(4, "promote and release them")
    training.gate.verbs.promote()
    release()
    step(5, "compute and publish today's features")
    after_live_events(features.verbs.build)()
    features.verbs.publish()
    return config


def step(number: int, what: str) -> None:
    """Head one step of the demo."""
    console.print(f"\n[bold cyan]{number} · {what}")


def demo_home(config: Config, source: str) -> Config:
    """The home of a demo: the given one, or a folder in it when that holds events which this demo did not bring."""
    name = Path(source).stem
    from features.ledger import Ledger

    marker = config.home / "demo-source"
    ours = marker.exists() and marker.read_text(encoding="utf-8") == name
    if not ours and Ledger(config).batches():
        config = replace(config, home=config.home / f"demo-{name}")
        marker = config.home / "demo-source"
        console.print(f"this demo lives in {config.home}: go on with  export USEROPS_HOME={config.home}")
    config.home.mkdir(parents=True, exist_ok=True)
    marker.write_text(name, encoding="utf-8")
    return config


def at_the_end_of_the_data(config: Config) -> Config:
    """Hold the clock at the end of data that ended long ago: asked today, every feature would be stale."""
    from features.events import span
    from features.periods import midnight, now

    end = midnight(span(config)[1]) + timedelta(days=1)
    if config.now is None and now(config) - end > timedelta(days=7):
        os.environ["USEROPS_NOW"] = end.isoformat()
        console.print(f"these data end on {span(config)[1]:%Y-%m-%d}: the clock is held at {end:%Y-%m-%d %H:%M} UTC")
    return load(config.home)


def at_risk(config: Config) -> str:
    """A customer worth a call: he may leave, may stay, and has spent much."""
    import numpy as np
    import pyarrow.parquet as parquet

    from features.catalog import NAMES
    from serving.scoring import Bundle, current

    newest = max((config.home / "features" / "user").glob("*.parquet"))
    table = parquet.read_table(newest, columns=["user_id", *NAMES]).to_pandas()
    model = Bundle.load(current(config.home / "releases")).models["churn"]
    x = table[list(model.features)].to_numpy(float)
    p = model.probability(x, "p_inactive_30d")
    spent = np.log1p(np.nan_to_num(table["spend_365d"].to_numpy(float)))
    worth = spent * (table["orders_life"].to_numpy(float) >= 5)
    # Neither safe nor lost: p (1 - p) is largest where it is open whether he stays.
    open_and_worth = np.where(model.in_cohort(x, "p_inactive_30d"), p * (1 - p) * worth, -1)
    return str(table["user_id"][int(np.argmax(open_and_worth))])


def print_addresses(config: Config, address: str, user: str, running: bool) -> None:
    """Where to look next."""
    console.print("\n[bold]look next" + ("" if running else "  (start the service again with: make serve)"))
    for path, what in (
        (f"/v1/users/{user}/profile", "everything known about this customer"),
        ("/v1/models/churn/card", "what the model is, and how good"),
        ("/docs.json", "OpenAPI"),
        ("/metrics", "Prometheus"),
    ):
        console.print(f"  {address}{path}   {what}", soft_wrap=True)
    uri = config.tracking_uri
    console.print(f"  {Path(sys.executable).parent}/mlflow ui --backend-store-uri {uri}   the runs", soft_wrap=True)


def signal_wait() -> None:
    """Serve until Ctrl-C."""
    import signal

    console.print("\nserving until Ctrl-C")
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("stopping")


verb: Callable[..., None]
for verb in (
    features.verbs.simulate,
    features.verbs.ingest,
    training.verbs.train,
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
    status,
    serving.verbs.serve,
    serving.verbs.score,
    serving.verbs.explain,
    serving.verbs.tiers,
    serving.verbs.decide,
    serving.verbs.identify,
    demo,
):
    app.command()(verb)
for verb in (after_live_events(features.verbs.build), features.verbs.publish, features.verbs.inspect):
    features_app.command()(verb)
for verb in (serving.verbs.export, serving.verbs.replay):
    decisions_app.command()(verb)
benchmarks: dict[str, Callable[..., None]] = {
    "repurchase": training.verbs_benchmark.benchmark_repurchase,
    "features": features.verbs.benchmark_features,
    "pit": features.verbs.benchmark_pit,
    "publish": features.verbs.benchmark_publish,
    "interest": training.verbs_benchmark.benchmark_interest,
    "value": training.verbs_benchmark.benchmark_value,
    "nextbasket": training.verbs_benchmark.benchmark_nextbasket,
    "uplift": training.verbs_benchmark.benchmark_uplift,
    "explain": serving.verbs.benchmark_explain,
    "serving": serving.verbs.benchmark_serving,
}
for name, benchmark in benchmarks.items():
    benchmark_app.command(name)(benchmark)

if __name__ == "__main__":
    main()
