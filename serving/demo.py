"""The end of a demo: the service started and asked about one customer, and where a person looks next."""

from __future__ import annotations

import json
import signal
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from configs import Config
from configs.databases import shown
from configs.terminal import console, showing, step
from serving.tables import print_answer, print_offers

__all__ = ["ask_around"]


def ask_around(config: Config, first_step: int, keep_serving: bool) -> None:
    """Start the service, ask it for one customer's scores and offers, say where to look; it ends unless it is kept."""
    from serving.local import post, running

    step(first_step, "start the service and ask it")
    with ExitStack() as stack:
        with showing("starting the service") as show:
            address = stack.enter_context(running(config, show))
        user = at_risk(config)
        body = json.dumps({"user_ids": [user], "explain": {"lang": "en"}})
        models = released(config)
        for model in models:
            _say(address, f"/v1/score/{model}", body)
            print_answer(post(f"{address}/v1/score/{model}", body))
        step(first_step + 1, "ask for the next best offer, refuse it, ask again")
        decision = next_best_offer(address, user)
        print_addresses(config, address, models[0], user, decision, keep_serving)
        if keep_serving:
            console.print("\nserving until Ctrl-C")
            try:
                signal.pause()
            except KeyboardInterrupt:
                console.print("stopping")


def released(config: Config) -> list[str]:
    """The models that the release in force serves: a source without amounts or categories has no value or interest."""
    from serving.scoring import current, verified

    manifest = current(config.home / "releases") / "release.json"
    served = verified.read_json(manifest.read_bytes(), manifest)["models"]
    return [name for name in config.models if name in served]


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


def next_best_offer(address: str, user: str) -> str:
    """Ask what to offer, say that the first of it is unwanted, and ask again; the id of the last decision."""
    from serving.local import post

    where = {"channel": "app", "placement": "home"}
    question = {"user_id": user, "context": where, "limit": 3, "explain": {"level": "full", "top_n": 3, "lang": "en"}}

    def call(path: str, body: dict[str, object]) -> dict[str, Any]:
        text = json.dumps(body)
        _say(address, path, text)
        return post(f"{address}{path}", text)

    answer = call("/v1/next-best-offer", question)
    print_offers(answer)
    if answer["offers"]:
        refused = {
            "event_id": uuid.uuid4().hex,
            "decision_id": answer["decision_id"],
            "offer_id": answer["offers"][0]["offer_id"],
            "rank": 1,
            "type": "not_interested",
            "ts": answer["decided_at"],
        }
        console.print(call("/v1/feedback", {"events": [refused]}), highlight=False)
        answer = call("/v1/next-best-offer", question)
        print_offers(answer)
    return str(answer["decision_id"])


def print_addresses(config: Config, address: str, model: str, user: str, decision: str, running: bool) -> None:
    """Where to look next: pages for people first."""
    console.print("\n[bold]look next" + ("" if running else "  (start the service again with: make serve)"))
    for path, what in (
        ("/console", "the reviewers' desk: pages in English and 中文"),
        (f"/console/models/{model}/champion", f"what {model} is, and how good"),
        (f"/console/user?id={quote(user, safe='')}&model={model}", "why this customer has this score"),
        (f"/console/decision?id={quote(decision, safe='')}", "why this offer, why not the others"),
        (f"/v1/users/{quote(user, safe='')}/profile", "everything known about this customer"),
        ("/docs.json", "OpenAPI"),
        ("/metrics", "Prometheus"),
    ):
        console.print(f"  {address}{path}   {what}", soft_wrap=True, markup=False)
    uri = shown(config.tracking_uri)  # without a password
    told = uri if uri.startswith("http") else f"{Path(sys.executable).parent}/mlflow ui --backend-store-uri {uri}"
    console.print(f"  {told}   the runs", soft_wrap=True)


def _say(address: str, path: str, body: str) -> None:
    command = f"curl -s {address}{path} -H 'content-type: application/json' -d '{body}'"
    console.print(f"\n{command}", style="bold", markup=False, highlight=False, soft_wrap=True)
