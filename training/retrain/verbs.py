"""``userops retrain``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs import load
from configs.errors import UseropsError
from configs.terminal import JsonFile, Models, console, errors, showing, write_json

if TYPE_CHECKING:
    from training.retrain.steps import Serving
    from training.retrain.work import Work

__all__ = ["BUSY", "ERROR", "REFUSED", "retraining"]

ERROR, REFUSED, BUSY = 1, 5, 6


def retraining(serving: Callable[[], Serving]) -> Callable[..., None]:
    """The verb, with what it needs of the service."""

    def retrain(
        models: Models = None,
        if_needed: Annotated[
            bool, typer.Option("--if-needed", help="Only where `userops monitor` sees drift.", show_default="always")
        ] = False,
        fresh: Annotated[
            bool, typer.Option("--fresh", help="Give up what was begun and begin anew.", show_default="go on with it")
        ] = False,
        json_file: JsonFile = None,
    ) -> None:
        """Drift, train, back-test, checks, shadow, gate, release: each a run in MLflow; made for cron.

        One at a time; the same command goes on where a killed one stood, and says so when it gives that up: after a
        week, or when its version was deleted. Ends with 0 when nothing was needed, the new version is released, or the
        data hold nothing to learn this model from (left_out), 1 on an error, 5 when the gate refused (the champion
        stays) or somebody rolled the new version back meanwhile, 6 when another retraining is at work.
        """
        from training.retrain.retrain import retrain as run
        from training.retrain.steps import OUTCOMES
        from training.retrain.work import Busy

        config = load()
        reports: list[dict[str, Any]] = []
        code = 0
        for model in models or list(config.models):
            try:
                with showing(f"retraining {model}") as show:
                    work = run(config, model, serving(), if_needed=if_needed, fresh=fresh, progress=show)
            except Busy as busy:
                errors.print(str(busy), style="yellow", markup=False, highlight=False)
                raise typer.Exit(BUSY) from None
            except UseropsError as error:
                # The other models have nothing to do with it.
                errors.print(f"{model}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
                reports.append({"model": model, "outcome": "error", "error": str(error)})
                code = ERROR
                continue
            print_work(work)
            kept = {"outcome": work.outcome, "gave_up": work.gave_up, "run_id": work.run_id, "steps": work.done}
            reports.append({"model": model, **kept})
            code = code or OUTCOMES[work.outcome]
        write_json(json_file, reports)
        if code:
            raise typer.Exit(code)

    return retrain


def print_work(work: Work) -> None:
    """How it ended, and why."""
    done = work.done
    if work.gave_up:
        console.print(f"{work.model}: gave up {work.gave_up}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{work.model}: {work.outcome}   ({' → '.join(done)})", highlight=False)
    for reason in done.get("drift", {}).get("reasons", []):
        console.print(f"  {reason['code']}: {reason['en']}", markup=False, highlight=False, soft_wrap=True)
    for step in done.values():
        if "refused" in step:
            console.print(f"  {step['refused']}", markup=False, highlight=False, soft_wrap=True)
    if work.outcome == "released" and "release" in done:
        release_id, version = done["release"]["release_id"], done["train"]["version"]
        console.print(f"  version {version} is in release {release_id}", highlight=False)
