"""What Prometheus reads: the names that alerts and dashboard use, by convention, from two workers, and no person."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import promql_parser
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from serving.gauges import DRIFT_FILE, Gauges
from serving.metrics import FLUSH_SECONDS, MOST_OFFERS, MOST_PENDING, Metrics, _observe, metrics, route_of

FOLDER = Path(__file__).parents[3] / "configs" / "deploy"
ALERTS = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((FOLDER / "grafana" / "userops.json").read_text(encoding="utf-8"))
EXPRESSIONS = [
    *(rule["expr"] for rule in ALERTS),
    *(one["expr"] for panel in DASHBOARD["panels"] for one in panel.get("targets", [])),
]
DRIFT = [
    {"model": name, "version": "3", "verdict": verdict, "drifted_weight": weight}
    for name, verdict, weight in (("churn", "drift", 0.3), ("value", "quiet", 0.0))
]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def spans(came):
    return [
        (span, {one.key: one.value for one in resource.resource.attributes})
        for _, asked in came
        for resource in asked.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def families(text):
    return {one.name: one for one in text_string_to_metric_families(text)}


def samples(text, name):
    """``labels: value`` of the samples of that name."""
    return {
        tuple(sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name == name
    }


@pytest.fixture(scope="module")
def collector():
    """A collector of spans over OTLP by HTTP; (its address, what came)."""
    came, changed = [], threading.Condition()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["content-length"]))
            with changed:
                came.append((self.path, ExportTraceServiceRequest.FromString(content)))
                changed.notify_all()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", came, changed
        server.shutdown()


@pytest.fixture(scope="module")
def server(collector, start_server, nbo_home):
    """Two workers of the real service on a home with a release, users and a look for drift."""
    home = nbo_home()
    (home / DRIFT_FILE).write_text(json.dumps(DRIFT))
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector[0], "OTEL_BSP_SCHEDULE_DELAY": "100"}
    running = start_server(home, USEROPS_LOG="json", **traces)
    running.wait_ready()
    with httpx.Client(base_url=running.url, timeout=60) as client:
        for _ in range(3):
            client.post("/v1/score/churn", json={"user_ids": ["u17", "u18", "nobody"], "request_id": "r-17"})
            client.get("/v1/users/u17/profile")
        for _ in range(2):  # the second one is told again
            client.post("/v1/next-best-offer", json={"user_id": "u17", "request_id": "r-decided"})
        client.post("/v1/score/churn", json={"user_ids": 7})
        client.get("/v1/decisions/d_none")
    time.sleep(2 * FLUSH_SECONDS)  # the worker that is asked knows its own at once, those of the other one soon
    return running


@pytest.fixture(scope="module")
def text(server):
    return httpx.get(f"{server.url}/metrics").text


def test_names_follow_the_convention(text):
    found = {name: one for name, one in families(text).items() if name.startswith("userops_")}
    assert len(found) > 15
    for name, one in found.items():
        assert re.fullmatch(r"userops(_[a-z]+)+", name), name
        assert one.documentation, name
        assert one.type in ("counter", "gauge", "histogram", "info"), (name, one.type)
        if one.type == "counter":
            assert all(sample.name.endswith("_total") for sample in one.samples)
        assert not re.search(r"_(ms|us|milliseconds|minutes|hours|percent)$", name), name


def test_nobody_is_named(text):
    labels = {value for one in families(text).values() for sample in one.samples for value in sample.labels.values()}
    assert not {"u17", "u18", "nobody", "r-17"} & labels
    assert not re.search(r"\bu1[78]\b", text)


def test_answers_of_all_workers_are_counted(server):
    def scored():
        return samples(httpx.get(f"{server.url}/metrics").text, "userops_scored_users_total")

    key = (("model", "churn"), ("outcome", "known"))
    before = scored()[key]
    for _ in range(8):  # each on a connection of its own, so that both workers get some
        httpx.post(f"{server.url}/v1/score/churn", json={"user_ids": ["u1"]})
    deadline = time.monotonic() + 30  # the worker that is asked knows its own at once, those of the other one soon
    while scored()[key] < before + 8 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert scored()[key] == before + 8


def test_what_is_looked_at(text):
    (release,) = samples(text, "userops_release_info")
    assert dict(release)["release_id"].startswith("2026-11-21")
    models = {dict(one)["model"]: dict(one)["version"] for one in samples(text, "userops_model_info")}
    assert models == {"churn": "3", "repurchase": "3", "value": "3", "interest": "4"}
    (created,) = samples(text, "userops_release_created_timestamp_seconds").values()
    assert created == datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC).timestamp()
    (as_of,) = samples(text, "userops_features_as_of_timestamp_seconds").values()
    assert as_of == datetime(2026, 11, 21, 9, 58, 2, tzinfo=UTC).timestamp()
    parts = {dict(key)["part"]: value for key, value in samples(text, "userops_up").items()}
    assert parts == {"release": 1.0, "online_store": 1.0, "decision_log": 1.0}
    drift = {tuple(dict(key).values()) for key, value in samples(text, "userops_drift").items() if value == 1}
    assert drift == {("churn", "drift"), ("value", "quiet")}
    assert samples(text, "userops_drift_weight")[(("model", "churn"),)] == 0.3


def test_decisions_are_counted_with_their_group_and_their_offers(text):
    status = {dict(one)["status"]: value for one, value in samples(text, "userops_decisions_total").items()}
    assert status == {"decided": 1, "repeated": 1}
    assert sum(samples(text, "userops_decision_groups_total").values()) == 1
    offers = [dict(one) for one in samples(text, "userops_offers_total")]
    assert {one["how"] for one in offers} == {"decided"}
    assert all(re.fullmatch(r"[oc]_\w+", one["offer"]) for one in offers)
    (ages,) = samples(text, "userops_feature_age_seconds_count").values()
    assert ages == 4  # three answers with scores, one decision
    stages = {dict(one)["stage"] for one in samples(text, "userops_stage_seconds_count")}
    assert stages >= {"features", "candidates", "score", "explain", "arbitrate", "log", "write"}


def test_errors_are_counted_by_kind(text):
    kinds = {dict(key)["kind"]: value for key, value in samples(text, "userops_problems_total").items()}
    assert kinds["invalid-request"] == 1
    assert set(kinds) <= {"invalid-request", "unknown-decision", "not-found", "unavailable"}


def test_live_events_wait_until_the_follower_has_them(server):
    def waiting():
        text = httpx.get(f"{server.url}/metrics").text
        names = ("waiting", "undrained", "oldest_waiting_seconds")
        return [next(iter(samples(text, f"userops_live_events_{name}").values())) for name in names]

    assert waiting() == [0, 0, 0]
    event = {"event_id": "e1", "user_id": "u1", "type": "view", "ts": "2026-11-21T10:11:00Z"}
    answer = httpx.post(f"{server.url}/v1/events", json={"events": [event]})
    assert answer.json()["accepted"] == 1, answer.text
    assert waiting() == [1, 1, 0]  # its clock stands still, so nobody has waited


def test_alerts_and_dashboard_ask_only_for_what_there_is(text):
    there = {sample.name for one in families(text).values() for sample in one.samples}
    defined = {f"{name.removesuffix('_total')}_total" for name in _counters()} | {"userops_offers_total"}
    for expression in EXPRESSIONS:
        promql_parser.parse(expression.replace("$__rate_interval", "5m"))
        named = set(re.findall(r"userops_\w+", re.sub(r'"[^"]*"', "", expression)))
        assert named or expression.startswith("absent(up{"), expression
        assert named <= there | defined, expression


def _counters():
    """Counters that nothing has happened to have no sample, but a name."""
    own = metrics()
    made = [one for one in vars(own).values() if hasattr(one, "_metric")]
    return {one._metric._name for one in made if type(one._metric).__name__ == "Counter"}


def test_alerts_say_what_to_do_in_two_languages():
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) > 10
    for rule in ALERTS:
        told = rule["annotations"]
        assert set(told) == {"summary", "summary_zh", "runbook", "runbook_zh"}, rule["alert"]
        assert all(word in told["runbook"] for word in ("Means:", "Look", "Run:")), rule["alert"]
        assert all(word in told["runbook_zh"] for word in ("含义：", "查看：", "执行：")), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_panels_do_not_overlap_and_each_has_its_own_id():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_a_killed_worker_leaves_no_request_in_flight_and_all_its_counts(tmp_path):
    said = (
        "import os; from serving.metrics import metrics as m; m()._now_in_flight = 1; m().problem('gone');"
        "m().flush(); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", said], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    asked = "import sys; from serving.metrics import render; sys.stdout.buffer.write(render())"
    text = subprocess.run(
        [sys.executable, "-c", asked], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert samples(text, "userops_requests_in_flight") in ({}, {(): 0.0})
    assert samples(text, "userops_problems_total") == {(("kind", "gone"),): 1.0}


def test_the_log_is_json_with_ids_and_without_persons(server):
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
    read = [json.loads(line) for line in lines]
    assert all({"time", "level", "logger", "message"} <= set(one) for one in read)
    assert all(datetime.fromisoformat(one["time"]).tzinfo is not None for one in read)
    access = [one for one in read if one["logger"] == "userops.access"]
    scored = [one for one in access if one["route"] == "/v1/score/churn" and one["status"] == 200]
    assert {one["request_id"] for one in scored} >= {"r-17"}
    decided = [one for one in access if one.get("request_id") == "r-decided"]
    assert {one["decision_id"][:2] for one in decided if "decision_id" in one} == {"d_"}
    assert {one["level"] for one in access if one["status"] == 400} == {"WARNING"}
    assert not [one for one in access if one["route"] in ("/metrics", "/livez")]
    assert not re.search(r"\bu1[78]\b", "\n".join(lines))


def test_a_span_of_an_answer_arrives(server, collector):
    _, came, changed = collector
    asked = {"user_id": "u17", "request_id": "r-traced"}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    answer = httpx.post(f"{server.url}/v1/next-best-offer", json=asked, headers=headers)
    assert answer.status_code == 200

    def arrived():
        return [(span, told) for span, told in spans(came) if span.trace_id.hex() == TRACE]

    with changed:
        assert changed.wait_for(arrived, 60)
    ((span, resource),) = arrived()
    assert {path for path, _ in came} == {"/v1/traces"}
    assert (span.name, span.parent_span_id.hex()) == ("POST /v1/next-best-offer", PARENT)
    told = {one.key: one.value for one in span.attributes}
    assert told["userops.request_id"].string_value == "r-traced"
    assert told["userops.decision_id"].string_value == answer.json()["decision_id"]
    assert told["http.response.status_code"].int_value == 200
    assert told["http.route"].string_value == "/v1/next-best-offer"
    assert told["userops.stage.score_ms"].double_value > 0
    assert resource["service.name"].string_value == "userops"
    assert b"u17" not in b"".join(asked.SerializeToString() for _, asked in came)


# without a server


def test_without_a_collector_nothing_of_it_is_imported(tmp_path):
    said = (
        "import sys, serving.traces as t; assert t.open_tracer() is None;"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, env={"PATH": ""})
    assert done.stdout == "[]\n"


def test_offers_beyond_the_policy_are_one_series():
    fresh = {"holdout": False, "explored": True}
    place = {f"o{k}": k for k in range(MOST_OFFERS + 5)}
    own = metrics()

    def told():
        found = own._offers._metric.collect()[0].samples
        return {one.labels["offer"]: one.value for one in found if one.name.endswith("_total")}

    own.flush()
    before = told().get("other", 0)
    own.offered(fresh, ["o1", f"o{MOST_OFFERS}", "<script>"], "decided", place)
    own.flush()
    assert told()["other"] == before + 2
    assert "o1" in told()
    assert not {f"o{MOST_OFFERS}", "<script>"} & set(told())


def test_a_report_of_another_shape_is_no_drift(tmp_path):
    from serving.gauges import _drift

    assert list(_drift(tmp_path / DRIFT_FILE)) == []
    for content in ("", "{", "[1]", '{"a": 1}', '[{"model": "churn"}]', '"text"'):
        (tmp_path / DRIFT_FILE).write_text(content)
        assert list(_drift(tmp_path / DRIFT_FILE)) == []


def test_a_store_that_is_down_is_told_and_nothing_else_is_missing(tmp_path):
    from types import SimpleNamespace

    from configs.errors import LogError

    def broken():
        raise LogError("the decision log cannot be read")

    config = SimpleNamespace(home=tmp_path, online_uri=f"sqlite:///{tmp_path}/absent/online.db")
    live = SimpleNamespace(config=config, log=broken, pickup=SimpleNamespace(live=None), max_age_s=1.0)
    found = {one.name: one for one in Gauges(live).collect()}
    parts = {sample.labels["part"]: sample.value for sample in found["userops_up"].samples}
    assert parts["release"] == parts["decision_log"] == 0.0
    assert "userops_live_events_waiting" not in found
    assert "userops_build" in found


def test_every_route_of_the_service_has_a_name_of_its_own():
    from serving.routes import rest_app

    for route in rest_app().routes:
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        assert route_of(path) != "other", route.path


def test_what_is_written_at_once_is_what_would_be_written_one_by_one():
    registry = CollectorRegistry()
    ours, theirs = (Histogram(name, "Seconds", registry=registry, buckets=(0.1, 1.0)) for name in ("ours", "theirs"))
    amounts = [0.0, 0.1, 0.10001, 1.0, 7.0, float("inf")]
    _observe(ours, amounts)
    for amount in amounts:
        theirs.observe(amount)

    def of(family):
        told = [(one.name.partition("_")[2], one.labels, one.value) for one in family.samples]
        return [one for one in told if one[0] != "created"]

    found = [of(family) for family in registry.collect()]
    assert found[0] == found[1]


def test_counts_that_nobody_asks_for_do_not_grow():
    own = metrics()
    for _ in range(3 * MOST_PENDING):
        own.stage("score", 0.001)
    assert len(own._pending) <= MOST_PENDING


def test_metrics_are_made_once():
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Metrics()
