"""The command line: one verb per step, each of them parse, call, show progress, print."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from configs import Config, load
from configs.errors import UseropsError
from features.periods import as_utc, grid, midnight, now

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
app.add_typer(benchmark_app, name="benchmark")

# A pipe has no width of its own: wide enough for the tables.
WIDTH = None if sys.stdout.isatty() else 120
console = Console(width=WIDTH)
errors = Console(stderr=True, width=WIDTH)


def writable(file: Path | None) -> Path | None:
    """The file, when it can be written: said before the work, not after."""
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.open("a").close()
        except OSError as error:
            raise typer.BadParameter(str(error)) from None
    return file


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="Also write the numbers to this file.", show_default="no file", callback=writable),
]
Models = Annotated[list[str] | None, typer.Argument(help="Which models.", show_default="all of configs/models")]
Lang = Annotated[str, typer.Option(help="Language of the reasons: zh or en.")]
Newest = Annotated[
    str | None, typer.Option(help="Publish the newest snapshot not after this, in UTC.", show_default="now")
]
AsOf = Annotated[
    str | None, typer.Option(help="The inclusive end of knowledge, in UTC.", show_default="the last midnight with data")
]


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


@contextmanager
def showing(title: str) -> Iterator[Any]:
    """A progress bar; the body calls ``show(message, fraction)``."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=not errors.is_terminal) as progress:
        task = progress.add_task(title, total=1.0)

        def show(message: str, fraction: float) -> None:
            progress.update(task, description=f"{title}: {message}", completed=fraction)

        yield show
        progress.update(task, description=title, completed=1.0)


def write_json(file: Path | None, content: object) -> None:
    """Write ``content`` when the user asked for a file."""
    if file is not None:
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def print_table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """A table whose numbers stand right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:,.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def last_midnight(config: Config) -> datetime:
    """The last midnight at which all ingested events are known, never later than the clock."""
    from features.events import span

    return midnight(min(now(config), span(config)[1] + timedelta(days=1)))


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write the shop.", show_default=False)],
    users: Annotated[int, typer.Option(help="How many people.")] = 6000,
    days: Annotated[int, typer.Option(help="How many days of history.")] = 420,
    end: Annotated[str | None, typer.Option(help="The last midnight.", show_default="today")] = None,
) -> None:
    """Make a shop whose true probabilities are known."""
    from features.simulate import Shop
    from features.simulate import simulate as make

    config = load()
    until = as_utc(end) if end else midnight(now(config))
    with showing("simulating") as show:
        make(folder, Shop(users=users, days=days, end=until), show)
    console.print(f"shop of {users:,} people over {days} days until {until:%Y-%m-%d} in {folder}")


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help="A name in configs/sources, or the path of a mapping.")],
    data: Annotated[Path, typer.Option(help="The file or folder to read.", show_default=False)],
    replace_source: Annotated[
        bool,
        typer.Option(
            "--replace", help="Put these events in the place of all earlier ones of this source.", show_default="off"
        ),
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Read a table of behaviour into the event store; twice the same file adds nothing."""
    from features.ingest import ingest as read

    with showing(f"ingesting {source}") as show:
        report = read(load(), source, data, show, replace=replace_source)
    console.print(
        f"read {report.read:,} = accepted {report.accepted:,} + quarantined {report.quarantined:,}"
        f" + duplicates {report.duplicates:,}   ({report.seconds:.1f} s)"
    )
    if report.by_rule:
        print_table("quarantined", ["rule", "lines"], [[rule, n] for rule, n in report.by_rule.items()])
        for example in report.examples.values():
            console.print(f"  {example}", markup=False, highlight=False, soft_wrap=True)
    write_json(json_file, asdict(report))


@features_app.command("build")
def features_build(
    as_of: AsOf = None,
    every_days: Annotated[int, typer.Option(help="Days between snapshots.")] = 7,
    count: Annotated[int, typer.Option(help="How many snapshots, ending at --as-of.")] = 1,
    json_file: JsonFile = None,
) -> None:
    """Compute the features of everybody at one or more instants, in one pass."""
    from features.build import build

    config = load()
    last = as_utc(as_of) if as_of else last_midnight(config)
    with showing("building features") as show:
        report = build(
            config,
            grid(last, every_days, count),
            tables=("user", "user_category", "item", "profile"),
            progress=show,
        )
    for table, made in report.tables.items():
        console.print(f"{table}: {made['rows']:,} rows in {made['files']} files, {made['bytes'] / 1e6:.1f} MB")
    write_json(json_file, asdict(report))


@features_app.command("publish")
def features_publish(as_of: Newest = None, json_file: JsonFile = None) -> None:
    """Put the newest snapshot where the service reads it; readers see the old or the new one, whole."""
    from features.store import Store

    config = load()
    store = Store(config)
    store.apply()
    with showing("publishing") as show:
        report = store.publish(as_utc(as_of) if as_of else None, show)
    console.print(f"published {report.users:,} users as of {report.as_of:%Y-%m-%d %H:%M} UTC in {report.seconds:.1f} s")
    write_json(json_file, asdict(report))


@features_app.command("inspect")
def features_inspect(
    user: Annotated[str, typer.Argument(help="A user id.")],
    json_file: JsonFile = None,
) -> None:
    """Show one user as training and as serving see him; the two must be equal."""
    from features.catalog import USER_FEATURES
    from features.store import Store

    seen = Store(load()).inspect(user)
    online = seen.online or {}
    rows: list[list[object]] = [
        [f.name, plain(seen.offline.get(f.name)), plain(online.get(f.name)), f.unit, f.meaning["en"]]
        for f in USER_FEATURES
    ]
    print_table(f"{user} as of {seen.as_of}", ["feature", "offline", "online", "unit", "meaning"], rows)
    console.print("offline and online differ in: " + ", ".join(seen.differing) if seen.differing else "no difference")
    write_json(json_file, asdict(seen))


def plain(value: float | None) -> str:
    """A number without needless digits; nothing where it is absent."""
    return "" if value is None else f"{value:,.6g}"


@app.command()
def train(models: Models = None, json_file: JsonFile = None) -> None:
    """Train, judge on later periods, and register a challenger in MLflow."""
    from training.train import train as fit

    config = load()
    reports = []
    for model in models or list(config.models):
        with showing(f"training {model}") as show:
            report = fit(config, model, show)
        title = f"{model} version {report.version}, judged on what followed {report.judged_on}"
        print_metrics(title, report.metrics, report.baselines)
        for label, reason in report.left_out.items():
            console.print(f"left out {label}: {reason}", markup=False, highlight=False, soft_wrap=True)
        reports.append(asdict(report))
    write_json(json_file, reports)


def print_metrics(title: str, metrics: dict[str, dict[str, Any]], baselines: dict[str, dict[str, Any]]) -> None:
    """Metrics of each head with intervals, its baselines below."""
    rows: list[list[object]] = []
    rest = ("ece", "mean_prediction", "base_rate")
    for head, values in metrics.items():
        ranked = [f"{values[name]['value']:.4f} {bracket(values[name]['ci'])}" for name in ("auroc", "log_loss")]
        rows.append([head, *ranked, *(f"{values[name]['value']:.4f}" for name in rest)])
        for name, others in baselines.get(head, {}).items():
            rows.append([f"  {name}", *(f"{others[metric]:.4f}" for metric in ("auroc", "log_loss", *rest))])
    print_table(title, ["", "AUROC [95 %]", "log-loss [95 %]", "ECE", "mean", "base"], rows)


def bracket(interval: list[float] | None) -> str:
    """An interval as people write it."""
    return "" if interval is None else f"[{interval[0]:.3f}, {interval[1]:.3f}]"


@app.command()
def promote(
    models: Models = None,
    version: Annotated[str, typer.Option(help="A version number or an alias.")] = "challenger",
) -> None:
    """Let a version be the champion that the next release serves."""
    from training.release import promote as move

    config = load()
    for model in models or list(config.models):
        chosen, before = move(config, model, version)
        console.print(f"{model}: champion is version {chosen}" + (f" (before: {before})" if before else ""))


@app.command()
def release(json_file: JsonFile = None) -> None:
    """Bundle the champions for serving and make the bundle current, atomically."""
    from training.release import release as bundle

    made = bundle(load())
    console.print(f"released {made.release_id}: " + ", ".join(f"{m} version {v}" for m, v in made.versions.items()))
    write_json(json_file, asdict(made))


@benchmark_app.command("repurchase")
def benchmark_repurchase(
    source: Annotated[str, typer.Option(help="A name in configs/sources, or the path of a mapping.")],
    data: Annotated[Path, typer.Option(help="The file or folder to read.")],
    observe_until: Annotated[str, typer.Option(help="The last known instant, in UTC.")],
    horizon_days: Annotated[float, typer.Option(help="Days after it in which a purchase counts.")] = 90,
    json_file: JsonFile = None,
) -> None:
    """Judge the repurchase pipeline on a data set of yours, beside recency, frequency, RFM and BG/NBD."""
    from training.benchmark import benchmark_repurchase as run

    with showing("benchmark repurchase") as show:
        found = run(load(), source, data, as_utc(observe_until), horizon_days, show)
    title = (
        f"{source} until {observe_until}, {horizon_days:g} days, {found['n']:,} customers ({found['seconds']:.0f} s)"
    )
    print_metrics(title, {"ours": found["metrics"]}, {"ours": found["baselines"]})
    write_json(json_file, found)


@benchmark_app.command("features")
def benchmark_features(
    events: Annotated[int, typer.Option(help="How many events to make and to measure on.")] = 20_000_000,
    json_file: JsonFile = None,
) -> None:
    """Measure how fast features are computed: one snapshot, and 52 in one pass."""
    from features.benchmark_features import benchmark_features as run

    print_benchmark(run(load(), events), json_file)


@benchmark_app.command("pit")
def benchmark_pit(json_file: JsonFile = None) -> None:
    """Measure the point-in-time join beside Feast's own DuckDB store; both must agree with the oracle."""
    from features.benchmark_store import benchmark_pit as run

    print_benchmark(run(load()), json_file)


@benchmark_app.command("publish")
def benchmark_publish(json_file: JsonFile = None) -> None:
    """Measure publication and the one-user read beside Feast's own."""
    from features.benchmark_store import benchmark_publish as run

    print_benchmark(run(load()), json_file)


def print_benchmark(found: dict[str, Any], json_file: Path | None) -> None:
    """Metrics, baselines and ratios of one benchmark."""
    rows: list[list[object]] = [[name, plain(metric["value"])] for name, metric in found["metrics"].items()]
    rows += [[f"{name}: {m}", plain(v)] for name, values in found["baselines"].items() for m, v in values.items()]
    rows += [[name, f"{ratio:.1f} x"] for name, ratio in found["ratios"].items()]
    print_table(f"{found['benchmark']} ({found['seconds']:.0f} s, {found['peak_mb']:.0f} MB)", ["", ""], rows)
    write_json(json_file, found)


@app.command()
def compare(
    model: Annotated[str, typer.Argument(help="Which model.")],
    first: Annotated[str, typer.Argument(help="A version number or an alias.")] = "champion",
    second: Annotated[str, typer.Argument(help="A version number or an alias.")] = "challenger",
    json_file: JsonFile = None,
) -> None:
    """Put two versions side by side; every metric with its interval."""
    from training.registry import Registry

    registry = Registry(load())
    pair = [registry.version(model, name) for name in (first, second)]
    judged = [version.tags.get("judged_on", "?") for version in pair]
    if judged[0] != judged[1]:
        errors.print(f"judged on different periods ({judged[0]} and {judged[1]}): differences mix model and period")
    names = sorted(name for name in pair[0].metrics.keys() & pair[1].metrics.keys() if name.count(".") == 1)
    rows: list[list[object]] = []
    for name in names:
        values = [version.metrics[name] for version in pair]
        bounds = [[version.metrics.get(f"{name}.{end}", float("nan")) for end in ("low", "high")] for version in pair]
        cells = [f"{v:.4f} [{low:.4f}, {high:.4f}]" for v, (low, high) in zip(values, bounds, strict=True)]
        rows.append([name, *cells, f"{values[1] - values[0]:+.4f}"])
    titles = [f"{name} (version {v.version})" for name, v in zip((first, second), pair, strict=True)]
    print_table(f"{model}", ["metric", *titles, "difference"], rows)
    write_json(json_file, {"model": model, "versions": [asdict(v) for v in pair]})


@app.command()
def status(json_file: JsonFile = None) -> None:
    """Say what the home holds: events, features, models, the release in force."""
    from features.events import content_hash, span
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


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="configs/project.yaml")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="configs/project.yaml")] = None,
) -> None:
    """Serve the release in force until Ctrl-C."""
    from serving.local import command

    config = load()
    os.execvp(sys.executable, command(config, host, port))


@app.command()
def score(
    model: Annotated[str, typer.Argument(help="Which model.")],
    users: Annotated[list[str], typer.Argument(help="User ids, 500 at most.")],
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Answer as the service would: probabilities and reasons from the release in force."""
    from serving.local import ask

    answer = ask(load(), model, users, {"level": "reason_codes", "top_n": 3, "lang": lang})
    print_answer(answer)
    write_json(json_file, answer)


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="A user id.")],
    model: Annotated[str, typer.Option(help="Which model.")] = "churn",
    lang: Lang = "en",
    top: Annotated[int, typer.Option(help="How many reasons, 20 at most.")] = 10,
    json_file: JsonFile = None,
) -> None:
    """Add up one user's score: base value, every strong feature's share in log-odds, raw score, probability."""
    from serving.local import ask

    answer = ask(load(), model, [user], {"level": "full", "top_n": top, "lang": lang})
    for name, head in answer["users"][0]["scores"].items():
        if head["explanation"] is None:
            console.print(f"{name}: {head['status_reason']}")
            continue
        shares = head["explanation"]
        rows: list[list[object]] = [["base value", f"{shares['base_value']:+.4f}"]]
        rows += [[reason["text"], f"{reason['contribution']:+.4f}"] for reason in head["reason_codes"]]
        rest = shares["raw_score"] - shares["base_value"] - sum(r["contribution"] for r in head["reason_codes"])
        rows += [["all other features", f"{rest:+.4f}"], ["raw score", f"{shares['raw_score']:+.4f}"]]
        rows += [["calibrated probability", f"{head['p']:.4f}"]]
        print_table(name, ["", "log-odds"], rows)
    write_json(json_file, answer)


def print_answer(answer: dict[str, Any]) -> None:
    """One table per user: each head, its probability, its reasons."""
    for user in answer["users"]:
        rows: list[list[object]] = []
        for name, head in user["scores"].items():
            shown = "-" if head["p"] is None else f"{head['p']:.3f}"
            rank = "-" if head["percentile"] is None else f"{head['percentile']:.0f}"
            why = [f"{r['direction']} {r['text']}" for r in head["reason_codes"]] or [head["status_reason"] or ""]
            rows.append([name, shown, rank, "\n".join(why)])
        basis = f"features as of {user['as_of']}" if user["known"] else "unknown: the base rates of everybody"
        table = Table(title=f"{user['user_id']}   ({basis})", title_justify="left")
        for title, side in (("score", "left"), ("p", "right"), ("percentile", "right"), ("because", "left")):
            table.add_column(title, justify=side)  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)
        if user.get("expected_next_order"):
            console.print(next_order(user), highlight=False)


def next_order(user: dict[str, Any]) -> str:
    """When the next order is expected, as a sentence."""
    expected = user["expected_next_order"]
    if user["expected_next_order_at"] is None:
        return f"next order: {expected['text'] or expected['status_reason']}"
    until = (
        expected["high_at"][:10] if expected["high_at"] else f"later than {expected['horizon_days']:g} days from then"
    )
    low = expected["low_at"][:10] if expected["low_at"] else "then"
    return f"next order expected {user['expected_next_order_at'][:10]} (80 %: {low} to {until})"


@app.command()
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
        for model in config.models:
            command = f"curl -s {address}/v1/score/{model} -H 'content-type: application/json' -d '{body}'"
            console.print(f"\n{command}", style="bold", markup=False, highlight=False, soft_wrap=True)
            print_answer(post(f"{address}/v1/score/{model}", body))
        print_addresses(config, address, user, keep_serving)
        if keep_serving:
            signal_wait()


def whole_way(config: Config, source: str, data: Path | None) -> Config:
    """Everything before the service."""
    simulated = data is None
    data = data or config.home / "shop"
    if simulated:
        step(1, "simulate a shop")
        simulate(data)
    step(2, f"ingest {source}")
    # A shop simulated on another day is another shop: its events take the place of the old ones.
    ingest(source, data, replace_source=simulated)
    config = at_the_end_of_the_data(config)
    step(3, "train, judge and register the models")
    train()
    step(4, "promote and release them")
    promote()
    release()
    step(5, "compute and publish today's features")
    features_build()
    features_publish()
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


if __name__ == "__main__":
    main()
