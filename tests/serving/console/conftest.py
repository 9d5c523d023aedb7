"""The console over a small home: a release, published users, a decision log, an audit table and a desk by hand.

``console`` is what most tests want. The desk holds churn 3 (in force, signed) and churn 4 (newer, with words from
outside that try to be HTML); nothing is there for the other models of the release.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

import configs
from configs.audit import Entry, append
from features.catalog import NAMES, USER_FEATURES
from features.catalog import digest as digest_of_catalogue
from serving import service
from serving.scoring import write_release

#: A name that does harm wherever it is not escaped.
HOSTILE = "<script>alert('x')</script>/\"><img src=x onerror=alert(1)>"
CREATED_AT = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
HEADS = ("p_inactive_14d", "p_inactive_30d", "p_inactive_60d")
TENURES = ("up to 30 d", "31-90 d", "91-365 d")


def text(en: str, zh: str) -> dict[str, str]:
    return {"en": en, "zh": zh}


def interval(value: float, half: float) -> dict[str, Any]:
    return {"value": value, "ci": [value - half, value + half]}


def head_of_card(place: int) -> dict[str, Any]:
    share = np.linspace(0.05, 1.0, 20)
    means = np.linspace(0.05, 0.9, 10)
    days = (14, 30, 60)[place]
    metrics = {"auroc": interval(0.82, 0.02), "log_loss": interval(0.44, 0.02), "brier": interval(0.139, 0.007)}
    metrics |= {"ece": interval(0.0099, 0.004), "base_rate": interval(0.28, 0.01), "lift@10": interval(3.07, 0.2)}
    metrics |= {"lift@20": interval(2.58, 0.1)}
    worse = {"auroc": 0.80, "log_loss": 0.47, "brier": 0.15, "ece": 0.05, "base_rate": 0.28, "lift@10": 2.97}
    return {
        "meaning": text(f"does nothing within {days} days", f"{days}天内没有任何行为"),
        "cohort": {"name": "active", "meaning": text("active in the last 90 days", "近90天有活动")},
        "horizon_days": float(days),
        "unit": "probability",
        "metrics": metrics,
        "baselines": {"recency": worse, "rfm": {**worse, "auroc": 0.808, "log_loss": 0.463}},
        "curves": {
            "calibration": [{"mean_prediction": x, "rate": x + 0.01, "rows": 326.0} for x in means.tolist()],
            "gain": {
                "share": share.tolist(),
                "model": np.sqrt(share).tolist(),
                "recency": (share**0.7).tolist(),
            },
            "scores": {"edges": np.linspace(0, 1, 6).tolist(), "with": [1, 2, 4, 8, 9], "without": [20, 9, 5, 2, 1]},
        },
        "calibrator": {"kind": "sigmoid", "slope": 1.05, "intercept": -0.03},
        "readiness": {
            "channel": "all", "use": "model", "baseline": "rfm", "rows": 3254, "users": 3254, "positives": 916,
            "until": None,
            "text": text("use the model: surely better than rfm", "使用模型：确定优于 rfm"),
            "channels": [{"channel": "app", "use": "wait", "until": None, "text": text("wait", "等待")}],
        },
        "segments": [
            {"by": "tenure", "part": part, "rows": 100 * (k + 1), "base_rate": 0.3, "mean_prediction": 0.29,
             "metrics": {"auroc": interval(0.8 + 0.01 * k, 0.03), "log_loss": interval(0.45, 0.03)}}
            for k, part in enumerate(TENURES)
        ],
        "weights": [
            {"feature": name, "share": 0.5 ** (k + 1), "mean_abs": 0.5**k} for k, name in enumerate(NAMES[:8])
        ],
    }  # fmt: skip


def card_of(version: str, model_json: str, trained_by: str = "chen") -> dict[str, Any]:
    """``card.json`` of a churn version as the plan of the desk says it."""
    features = [
        {"name": one.name, "group": one.group, "unit": one.unit, "window_days": one.window_days,
         "meaning": dict(one.meaning), "absent": one.absent, "low": one.low, "high": one.high, "seen": [0.0, 90.0]}
        for one in USER_FEATURES
    ]  # fmt: skip
    return {
        "schema": 1,
        "model": "churn",
        "version": version,
        "run_id": f"run{version}",
        "kind": "users",
        "created_at": f"2026-11-2{int(version) - 3}T00:00:00+00:00",
        "trained_by": trained_by,
        "trained_by_account": "trainer",
        "model_json": model_json,
        "purpose": text("who will fall silent", "哪些用户会沉默"),
        "use": text("choose whom to write to", "选择联系哪些用户"),
        "limits": [text("says nothing of people without consent", "不适用于未同意的用户")],
        "judged_on": "2026-09-14T00:00:00+00:00",
        "known_until": "2026-11-21T00:00:00+00:00",
        "decides": "log_loss",
        "heads": {name: head_of_card(place) for place, name in enumerate(HEADS)},
        "features": features,
        "data": {
            "rows": 104078, "users": 5985, "data_hash": "sha256:da7a", "catalogue_digest": digest_of_catalogue(),
            "first_event_at": "2025-09-28T08:02:16+00:00", "known_until": "2026-11-21T23:12:05+00:00",
        },
        "split": {
            "origins": 24, "first_origin": "2025-12-08T00:00:00+00:00", "last_origin": "2026-10-26T00:00:00+00:00",
            "judged_at": "2026-09-14T00:00:00+00:00", "labels_known_until": "2026-11-21T00:00:00+00:00",
        },
        "left_out": {},
        "search": None,
        "lineage": {
            "run_id": f"run{version}", "code": "userops 0.1.0, commit c0ffee", "data_hash": "sha256:da7a",
            "catalogue_digest": digest_of_catalogue(), "seed": 7, "lightgbm": {}, "trees": {"inactive": 400},
            "tracking": "http://mlflow.example/#/runs",
        },
    }  # fmt: skip


def learned_of(version: str, head: str, seed: int = 1) -> dict[str, Any]:
    """``learned/<head>.json``: 60 sample users of whom five features move the score."""
    rng, n, names = np.random.default_rng(seed), 60, list(NAMES[:5])
    values = {name: np.round(rng.gamma(1.5, 10.0, n), 3).tolist() for name in names}
    values[names[4]][:6] = [None] * 6
    moves = {name: np.round(rng.normal(0.0, 1.0 / (k + 1), n), 5) for k, name in enumerate(names)}
    sizes = {name: float(np.abs(phi).mean()) for name, phi in moves.items()}
    bars = [
        {"feature": name, "mean_abs": size, "share": size / sum(sizes.values()), "direction": 0.5, "group": None}
        for name, size in sorted(sizes.items(), key=lambda one: -one[1])
    ]
    bars[0]["group"] = bars[1]["group"] = "g1"
    parts = [TENURES[k % 3] for k in range(n)]
    top = [{key: bar[key] for key in ("feature", "mean_abs", "share")} for bar in bars]
    return {
        "schema": 1,
        "model": "churn",
        "version": version,
        "head": head,
        "unit": "log_odds",
        "sample": {"rows": n, "of": 3254, "as_of": "2026-09-14T00:00:00+00:00",
                   "words": text("60 of the users who were judged", "评估用户中的60名")},
        "base": -1.1,
        "bars": bars,
        "features": names,
        "values": values,
        "contributions": {name: phi.tolist() for name, phi in moves.items()},
        "parts": {"tenure": parts, "channel": ["app"] * n, "value": ["low"] * n, "store": ["s1"] * n},
        "by_segment": {"tenure": [{"part": part, "rows": 20, "top": top} for part in TENURES]},
        "interactions": [{"a": names[0], "b": names[1], "mean_abs": 0.1, "share": 0.05}],
        "groups": [{"id": "g1", "features": [bars[0]["feature"], bars[1]["feature"]],
                    "least_correlation": 0.86, "share": bars[0]["share"] + bars[1]["share"]}],
        "stability": {"seeds": [1, 2, 3], "top": 3, "agreement": 0.81, "rank_correlation": 0.93,
                      "features": dict.fromkeys(names, 1.0)},
        "flips": {"against": "3" if version == "4" else None,
                  "features": [{"feature": names[2], "was": 0.6, "now": -0.5, "share": 0.1}] if version == "4" else []},
    }  # fmt: skip


def versus_of(first: str, second: str) -> dict[str, Any]:
    """``versus-<first>.json`` of ``second``: two example users, one with a hostile id."""
    a, b = NAMES[0], NAMES[1]
    people = [
        {"user_id": "u1", "percentile": [40.0, 75.0], "p": [0.2, 0.4]},
        {"user_id": HOSTILE, "percentile": [30.0, 60.0], "p": [0.1, 0.3]},
    ]
    side = {"p": 0.2, "base": -1.0, "raw": -1.25, "contributions": {a: -0.5, b: 0.25}}
    examples = [
        {"user_id": one["user_id"], "values": {a: 3.0, b: None}, "first": side,
         "second": {"p": 0.4, "base": -1.0, "raw": -0.25, "contributions": {a: 0.5, b: 0.25}}}
        for one in people
    ]  # fmt: skip
    head = {
        "users": 3000, "rank_correlation": 0.93, "mean_move": 4.2, "far": 210, "far_points": 10,
        "points": [[0.1 * k, 0.09 * k + 0.02] for k in range(10)],
        "moves": {"edges": [-20.0, -10.0, 0.0, 10.0, 20.0], "counts": [10, 1500, 1400, 90]},
        "up": people, "down": people[:1], "examples": examples,
        "changed": [{"feature": a, "first": 0.2, "second": 0.4, "change": 0.2, "flipped": 0.3}],
    }  # fmt: skip
    return {
        "schema": 1, "model": "churn", "first": first, "second": second, "as_of": "2026-11-21T00:00:00+00:00",
        "kind": "users", "heads": {HEADS[1]: head}, "paired": {HEADS[1]: {"log_loss": interval(-0.01, 0.004)}},
        "verdict": text("surely better", "确定更好"),
    }  # fmt: skip


def checks_of(model_json: str, status: str) -> dict[str, Any]:
    def outcome(code: str, title: dict[str, str], severity: str, status: str) -> dict[str, Any]:
        said = text(f"{code} looked at 5323 users {HOSTILE}", f"{code} 检查了5323名用户")
        step = text("Run: userops backtest churn", "请运行：userops backtest churn")
        evidence = {"users": 5323, "worst": {"feature": HOSTILE, "auroc": 0.7355818114795644}}
        return {"code": code, "title": title, "severity": severity, "status": status, "evidence": evidence,
                "explanation": said, "next_step": step}  # fmt: skip

    outcomes = [
        outcome("P001", text("a feature knows the label", "特征泄露了标签"), "blocker", "passed"),
        outcome("P004", text("not better than a baseline", "不优于基线"), "blocker", status),
        outcome("P005", text("calibration off in a segment", "某客群的概率失准"), "warning", "issue"),
        outcome("P008", text("unstable between origins", "不同起点间表现不稳定"), "warning", "skipped"),
    ]
    digests = {"data_hash": "sha256:da7a", "catalogue_digest": digest_of_catalogue(), "model_json": model_json}
    return {"at": "2026-11-21T09:00:00+00:00", **digests, "thorough": False, "seconds": {}, "outcomes": outcomes}


def write_desk(home: Path, version: str, files: dict[str, dict[str, Any]]) -> None:
    """Lay files where the console reads those of a churn version."""
    for name, content in files.items():
        path = home / "desk" / "churn" / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


@dataclass(frozen=True)
class Users:
    """An online store in memory: u0 ... u49 of `published`, and `HOSTILE` with the vector of u3."""

    published: Any

    def online(self, user_ids: list[str]) -> Any:
        return self.published.online([self._own(user_id) for user_id in user_ids])

    def profiles(self, user_ids: list[str]) -> list[dict[str, Any] | None]:
        return self.published.profiles([self._own(user_id) for user_id in user_ids])

    def decision_row(self, user_id: str) -> Any:
        return self.published.decision_row(self._own(user_id))

    def assortment_stamp(self) -> None:
        return None

    def _own(self, user_id: str) -> str:
        return "u3" if user_id == HOSTILE else user_id


@dataclass(frozen=True)
class Client:
    """Asks the service over one home: the app is one per process, what it serves is put in place for each request."""

    client: Any
    live: Any

    def request(self, method: str, url: str, **how: Any) -> httpx.Response:
        service._rest.state.live = self.live
        return self.client.request(method, url, **how)

    def get(self, url: str, **how: Any) -> httpx.Response:
        return self.request("GET", url, **how)

    def post(self, url: str, **how: Any) -> httpx.Response:
        return self.request("POST", url, **how)


@dataclass(frozen=True)
class Console:
    """The service in this process; ``get`` asks for a page below ``/console`` as an English browser, by cookie."""

    client: Client
    home: Path

    def get(self, path: str, lang: str = "en", **how: Any) -> httpx.Response:
        headers = {"cookie": f"userops_lang={lang}", **how.pop("headers", {})}
        return self.client.get(f"/console{path}", headers=headers, **how)

    def post(self, path: str, data: dict[str, str], lang: str = "en", **how: Any) -> httpx.Response:
        headers = {"cookie": f"userops_lang={lang}", **how.pop("headers", {})}
        return self.client.post(f"/console{path}", data=data, headers=headers, **how)

    def read(self, path: str, lang: str = "en") -> Seen:
        """A page that is there, parsed."""
        answer = self.get(path, lang)
        assert answer.status_code == 200, answer.text
        return Seen(answer.text)


class Seen(HTMLParser):
    """A page as a browser takes it: ``tags`` in order as (name, attributes), ``words`` outside of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html, self.tags, self.figures = html, [], {}
        self._words: list[str] = []
        self._inside: dict[str, str | None] | None = None
        self.feed(html)
        self.close()
        self.words = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is None:
            self._words.append(data)
        elif self._inside.get("type") == "application/json":
            self.figures[self._inside.get("id")] = json.loads(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of that name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def hrefs(self) -> list[str]:
        """Where the page's links lead."""
        return [str(one["href"]) for one in self.all("a") if "href" in one]

    def charts(self) -> dict[str, Any]:
        """Every chart of the page by name: ``{"data", "layout"}`` as plotly gets it."""
        return {str(name).removesuffix("-data"): figure for name, figure in self.figures.items()}


@pytest.fixture(scope="session")
def hostile() -> str:
    """A name that does harm wherever it is not escaped."""
    return HOSTILE


@pytest.fixture(scope="session")
def desk_files() -> Any:
    """Makers of desk files: ``.card(version, model_json)``, ``.learned``, ``.versus``, ``.checks``, ``.write``."""
    return SimpleNamespace(card=card_of, learned=learned_of, versus=versus_of, checks=checks_of, write=write_desk)


@pytest.fixture(scope="session")
def seen() -> type[Seen]:
    """Parses a page: ``seen(html).words``, ``.charts()``, ``.hrefs()``, ``.all("form")``."""
    return Seen


def make_home(home: Path, models: dict[str, Path]) -> None:
    """A release of churn 3, repurchase 3 and value 3; the desk of churn 3 and 4; what people did and said."""
    write_release(home / "releases", models, digest_of_catalogue(), CREATED_AT, {"alias": "champion"})
    content = (home / "releases" / "current" / "churn" / "model.json").read_bytes()
    champion, challenger = "sha256:" + hashlib.sha256(content).hexdigest(), "sha256:" + "4" * 64
    for version, digest in (("3", champion), ("4", challenger)):
        own = {"card.json": card_of(version, digest, HOSTILE if version == "4" else "chen")}
        own |= {f"learned/{head}.json": learned_of(version, head, place) for place, head in enumerate(HEADS)}
        own["checks.json"] = checks_of(digest, "issue" if version == "4" else "passed")
        write_desk(home, version, own)
    write_desk(home, "4", {"versus-3.json": versus_of("3", "4")})
    config = configs.load(home)
    about = {"model_json": champion, "account": "lin", "trained_by_account": "trainer"}
    append(
        config.audit_uri,
        Entry("lin", "approved", "churn", "3", "run3", "reads well", about),
        Entry("chen", "promoting", "churn", "3", "run3", "", {"before": None}),
        Entry("chen", "promoted", "churn", "3", "run3", "", {"before": None}),
        Entry("chen", "released", "churn", "3", "run3", "", {"release_id": "r1"}),
        Entry(HOSTILE, "asked", "churn", "4", "run4", f"why? {HOSTILE}", {"model_json": challenger}),
        Entry("wu", "rejected", "churn", "4", "run4", "the older files", {"model_json": "sha256:older"}),
    )


@pytest.fixture(scope="module")
def console(
    tmp_path_factory: pytest.TempPathFactory, catalogue_models: dict[str, Path], published: Any, in_process: Any
) -> Iterator[Console]:
    """The BentoML service, middleware and all, with everything real but the online store and the socket."""
    home = tmp_path_factory.mktemp("console")
    make_home(home, catalogue_models)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("USEROPS_AUDIT", raising=False)
        patch.setattr(service, "CONFIG", dataclasses.replace(service.CONFIG, home=home, now=CREATED_AT))
        patch.setattr(service, "open_reader", lambda config: Users(published))
        with in_process(service.UserOps.to_asgi()) as client:
            yield Console(Client(client, service._rest.state.live), home)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, published: Any, in_process: Any) -> Iterator[Console]:
    """The service over a home in which there is nothing: no release, no desk, no audit table."""
    home = tmp_path_factory.mktemp("bare")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("USEROPS_AUDIT", raising=False)
        patch.setattr(service, "CONFIG", dataclasses.replace(service.CONFIG, home=home, now=CREATED_AT))
        patch.setattr(service, "open_reader", lambda config: Users(published))
        with in_process(service.UserOps.to_asgi()) as client:
            yield Console(Client(client, service._rest.state.live), home)
