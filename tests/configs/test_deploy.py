"""What configs/deploy tells Docker, Compose and Kubernetes is well-formed, and everything that it names exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import kubernetes_validate
import psycopg
import pytest
import redis
import yaml

from configs import audit, read_yaml
from configs.deploy import entry
from configs.deploy.slim import closure, pinned, slim_lock
from configs.errors import ConfigError, KeysError
from serving.log import DecisionLog
from serving.log.postgres_server import postgres_server

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "deploy"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
MANIFESTS = [
    one for file in sorted((FOLDER / "k8s").glob("*.yaml")) for one in yaml.safe_load_all(file.read_text("utf-8"))
]
README = (FOLDER / "README.md").read_text(encoding="utf-8")
PORT = 3000
OURS = {"service", "follower", "batch", "mlflow"}


def pods():
    """(name, pod spec) of everything that runs."""
    for one in MANIFESTS:
        spec = one.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield one["metadata"]["name"], spec["template"]["spec"]


def containers():
    for name, pod in pods():
        for one in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}/{one['name']}", one


# the set of packages


def test_the_slim_lock_is_what_the_command_makes_of_the_lock():
    assert (FOLDER / "serving.lock").read_text(encoding="utf-8") == slim_lock()


def test_the_slim_lock_names_hashes_and_none_of_the_heavy():
    text = (FOLDER / "serving.lock").read_text(encoding="utf-8")
    blocks = pinned(text)
    names = {name for name, _ in blocks}
    assert {"bentoml", "lightgbm", "redis", "psycopg-binary", "opentelemetry-exporter-otlp-proto-http"} <= names
    assert not names & {"pandas", "scikit-learn", "feast", "mlflow", "shap", "duckdb", "ibis-framework", "pyspark"}
    assert all("--hash=sha256:" in block for _, block in blocks)
    assert len(blocks) == len(re.findall(r"^[a-z]", text, re.MULTILINE)) >= len(names) > 50


def test_what_a_package_needs_is_found_with_its_extras():
    assert "psycopg-binary" in closure(["psycopg[binary]"])
    assert "psycopg-binary" not in closure(["psycopg"])
    # Before Python 3.11.3 alone, so it may not be installed here.
    assert "async-timeout" in closure(["redis"])


# Dockerfile


def test_hadolint_finds_nothing():
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_images_run_without_root_and_are_asked_whether_they_are_ready():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    for name in ("batch", "serving"):
        (stage,) = [one for one in stages if re.match(rf"\S+ AS {name}\n", one)]
        assert re.search(r"^USER 10001:10001$", stage, re.MULTILINE)
    assert stages[-1].split("\n")[0].endswith(" AS serving")
    assert "/readyz" in stages[-1]
    assert f"EXPOSE {PORT}" in stages[-1]


def test_every_file_that_is_copied_is_there():
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        assert all((ROOT / one).exists() for one in sources), line
    kept = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        assert all(f"!{one.split('/')[0]}" in kept for one in line.split()[:-1]), line


def test_packages_come_with_hashes_and_images_with_tags():
    installs = re.findall(r"pip install ([^\n]*)", DOCKERFILE)
    assert all("--require-hashes" in one or "--no-deps" in one for one in installs)
    text = DOCKERFILE + (FOLDER / "compose.yaml").read_text() + json.dumps(MANIFESTS)
    assert ":latest" not in text
    images = [one["image"] for _, one in containers()] + re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.MULTILINE)
    # A name with a tag, and no host before it.
    assert all(re.fullmatch(r"[a-z-]+:(\$\{\w+\}|[\w.-]+)", image) for image in images), images


# Compose


def test_compose_says_nothing_that_compose_does_not_know():
    known = {
        "image", "build", "command", "entrypoint", "environment", "secrets", "configs",
        "volumes", "depends_on", "healthcheck", "networks", "ports", "read_only", "tmpfs",
        "cap_drop", "security_opt", "stop_grace_period", "restart", "profiles", "user",
    }  # fmt: skip
    assert set(COMPOSE) <= {"name", "services", "configs", "secrets", "networks", "volumes", "x-ours", "x-addresses"}
    assert set(COMPOSE["services"]) == {"postgres", "redis", *OURS}
    for name, one in COMPOSE["services"].items():
        assert set(one) <= known, name
        for kind in ("secrets", "networks"):
            assert set(one.get(kind, ())) <= set(COMPOSE[kind]), (name, kind)
        for mount in one.get("volumes", ()):
            source = mount.split(":")[0]
            assert source in COMPOSE["volumes"] or source.startswith("${"), (name, mount)
        for other, how in one.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, (name, other)
            assert "healthcheck" in COMPOSE["services"][other]


def test_only_loopback_reaches_it_and_only_what_people_need():
    ports = {name: one["ports"] for name, one in COMPOSE["services"].items() if one.get("ports")}
    assert ports == {"service": [f"127.0.0.1:{PORT}:{PORT}"], "mlflow": ["127.0.0.1:5000:5000"]}
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_our_containers_write_nothing_but_volumes_and_the_service_not_even_those():
    for name in OURS:
        one = COMPOSE["services"][name]
        assert one["read_only"] is True
        assert one["cap_drop"] == ["ALL"]
        assert any(mount.startswith("/tmp:") for mount in one["tmpfs"])
    assert COMPOSE["services"]["service"]["volumes"] == ["home:/var/lib/userops:ro"]


def test_a_new_volume_belongs_to_whom_it_is_for():
    made = re.findall(r"install --directory --owner=userops .* (/\S+)", DOCKERFILE)
    for name in OURS:
        for mount in COMPOSE["services"][name].get("volumes", ()):
            source, target, *_ = mount.split(":")
            assert source not in COMPOSE["volumes"] or target in made, mount


def test_each_database_belongs_to_whom_it_is_for(tmp_path, postgres_program):
    script = COMPOSE["configs"]["databases"]["content"].replace("/run/secrets", str(tmp_path))
    script = script.replace("userops", "team")  # the superuser of servers for tests has that name
    for name in ("team", "mlflow"):
        (tmp_path / name).write_text(f"it's {name}\n")
    with postgres_server(durable=False, password="s3cret") as server:
        words = ["psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file=-", server.uri()]  # as the image does
        subprocess.run(words, input=script, text=True, check=True, capture_output=True)

        def entered(role, database):
            secret = (tmp_path / role).read_text().strip()
            try:
                psycopg.connect(host="127.0.0.1", port=server.port, user=role, password=secret, dbname=database).close()
            except psycopg.OperationalError as refused:
                return "permission denied" not in str(refused)
            return True

        every = ("decisions", "audit", "registry", "mlflow")
        assert [entered("team", one) for one in every] == [True, True, True, False]
        assert [entered("mlflow", one) for one in every] == [False, False, False, True]
        secret = quote((tmp_path / "team").read_text().strip())
        at = f"postgresql+psycopg://team:{secret}@127.0.0.1:{server.port}"
        DecisionLog.open(f"{at}/decisions").close()  # who owns a database can make all that we keep there
        (row,) = audit.append(f"{at}/audit", audit.Entry("lin", "approved", "churn", "3"))
        assert row.seq == 1
        with psycopg.connect(server.uri()) as connection:
            roles = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname IN ('team', 'mlflow')").fetchall()
    assert roles == [(False,), (False,)]


def test_redis_has_the_password_and_takes_the_place_of_the_shell(tmp_path, redis_program):
    shell, option, script = COMPOSE["services"]["redis"]["entrypoint"]
    (tmp_path / "secret").write_text("s3cret")
    script = script.replace("$$", "$").replace("/run/secrets/redis", str(tmp_path / "secret"))
    script = script.replace("redis-server -", f"redis-server - --port 0 --unixsocket {tmp_path}/socket")
    process = subprocess.Popen([shell, option, script.replace("/data", str(tmp_path))], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        client = redis.Redis(unix_socket_path=f"{tmp_path}/socket", password="s3cret")
        while not _answers(client):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        assert client.info("server")["process_id"] == process.pid
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert not _answers(redis.Redis(unix_socket_path=f"{tmp_path}/socket"))
        client.close()
        process.terminate()
        assert process.wait(30) == 0  # it ended by itself, with everything written
    finally:
        process.kill()
        process.wait()


def _answers(client):
    try:
        return client.ping()
    except redis.RedisError:
        return False


def test_variables_are_explained_and_secrets_are_files():
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    example = (FOLDER / "example.env").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in example if line and line[0] != "#")
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", text)) == set(given)
    assert all(one["file"].startswith("secrets/") for one in COMPOSE["secrets"].values())
    assert "secrets/" in (FOLDER / ".gitignore").read_text()
    for secret in COMPOSE["secrets"].values():
        assert secret["file"] in README
    for one in COMPOSE["services"].values():
        environment = one.get("environment", {})
        named = {name for name in environment if re.search("PASSWORD|SECRET|KEY|TOKEN", name)}
        assert all(name.endswith("_FILE") for name in named - {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION"})
        assert not any(re.search(r"://[^/@]*:[^/@]+@", str(value)) for value in environment.values())
        files = [str(value) for name, value in environment.items() if name.endswith("_FILE")]
        assert {value.rpartition("/")[2] for value in files} <= set(one.get("secrets", []))


# Kubernetes


@pytest.mark.parametrize("one", MANIFESTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_a_manifest_has_the_shape_of_its_kind(one):
    kubernetes_validate.validate(one, "1.33", strict=True)


def test_nobody_is_root_or_writes_outside_volumes_and_everybody_has_limits():
    assert len(list(pods())) == 5
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False
        volumes = {one["name"] for one in pod["volumes"]}
        for one in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in one["volumeMounts"]} <= volumes
            assert {mount["mountPath"] for mount in one["volumeMounts"]} >= {"/tmp", "/var/lib/userops"}
    for name, one in containers():
        context = one["securityContext"]
        assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False), name
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(one["resources"]["requests"]) >= {"cpu", "memory"} <= set(one["resources"]["limits"])


def named(kind, name):
    (found,) = [one for one in MANIFESTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def test_what_refers_to_something_finds_it():
    deployment = named("Deployment", "userops-serving")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for one in (named("Service", "userops"), named("PodDisruptionBudget", "userops-serving")):
        selector = one["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= labels.items()
    target = named("HorizontalPodAutoscaler", "userops-serving")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "userops-serving")
    claims = {one["metadata"]["name"] for one in MANIFESTS if one["kind"] == "PersistentVolumeClaim"}
    for _, pod in pods():
        for volume in pod["volumes"]:
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or claim in claims or claim in README
    (serving,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in serving["ports"]}
    assert ports == {"http": PORT}
    assert named("NetworkPolicy", "userops")["spec"]["ingress"][0]["ports"][0]["port"] == PORT


def test_a_pod_that_ends_has_time_for_all_that_the_service_may_still_answer():
    from serving.errors.middleware import ProblemMiddleware

    answers = ProblemMiddleware(lambda *_: None, 1)
    pod = named("Deployment", "userops-serving")["spec"]["template"]["spec"]
    (serving,) = pod["containers"]
    (asleep,) = [word for word in serving["lifecycle"]["preStop"]["exec"]["command"] if word.isdigit()]
    longest = answers.body_timeout_s + answers.answer_timeout_s
    assert pod["terminationGracePeriodSeconds"] >= int(asleep) + longest + 5
    assert int(COMPOSE["services"]["service"]["stop_grace_period"].removesuffix("s")) >= longest + 5


def test_probes_ask_what_they_should():
    (serving,) = named("Deployment", "userops-serving")["spec"]["template"]["spec"]["containers"]
    probes = {name: serving[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    # A store that is down is down for all of them: whoever asks is to get a fallback, or a refusal with Retry-After.
    assert probes == {"startup": "/readyz", "liveness": "/livez", "readiness": "/livez"}


def test_a_job_is_not_repeated_for_an_answer_that_stays_the_same():
    ends = {"userops-monitor": [3, 4], "userops-retrain": [5, 6]}
    for name, codes in ends.items():
        job = named("CronJob", name)["spec"]["jobTemplate"]["spec"]
        (rule,) = job["podFailurePolicy"]["rules"]
        (container,) = job["template"]["spec"]["containers"]
        asked = {"containerName": container["name"], "operator": "In", "values": codes}
        assert (rule["action"], rule["onExitCodes"]) == ("FailJob", asked)
        assert job["template"]["spec"]["restartPolicy"] == "Never"  # else the policy is refused


# what is named exists


def commands():
    """Every command that a container, the Dockerfile, the alerts or the README run, as words."""
    found = [tuple(one["args"]) for _, one in containers()]
    found += [tuple(one["command"]) for one in COMPOSE["services"].values() if "command" in one]
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    texts = [*README.splitlines(), *(FOLDER / "compose.yaml").read_text("utf-8").splitlines()]
    texts += [text for rule in rules for text in rule["annotations"].values()]
    for text in texts:
        for line in re.findall(r"userops(?: [a-z]+)+(?: [A-Z]\w*)?(?: --[a-z-]+(?: [^\s-]\S*)?)*", text):
            found.append(tuple(line.split()))
    return found


def test_every_command_is_one_of_ours():
    import typer.main

    import userops

    group = typer.main.get_command(userops.app)
    asked = {one for one in commands() if one[0] == "userops"}
    assert len(asked) > 10
    for words in asked:
        command, rest = group, list(words[1:])
        while rest and hasattr(command, "commands"):
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        options = {option for one in command.params for option in one.opts}
        assert {word for word in rest if word.startswith("--")} <= options, words
    others = {one[0] for one in commands()} - {"userops"}
    assert others == {"serve", "follow", "mlflow"}
    assert entry.command(["follow"])[-1] == "serving.follow"
    assert (ROOT / "serving" / "follow.py").exists()


def test_variables_of_ours_are_read_somewhere():
    text = json.dumps([COMPOSE, MANIFESTS]) + DOCKERFILE
    code = "".join(path.read_text("utf-8") for room in ("configs", "serving") for path in (ROOT / room).rglob("*.py"))
    for name in set(re.findall(r"USEROPS_[A-Z]+(?:_FILE)?", text)):
        plain = name.removesuffix("_FILE")
        assert plain in entry.SECRETS or f'"{plain}"' in code or f"``{plain}``" in code, name


# the entry of a container


def test_secrets_are_read_from_files(tmp_path):
    (tmp_path / "online").write_text("redis://:s3cret@redis:6379/0\n")
    environment = {"USEROPS_ONLINE_FILE": str(tmp_path / "online"), "OTHER_FILE": "/nowhere"}
    entry.read_secrets(environment)
    assert environment["USEROPS_ONLINE"] == "redis://:s3cret@redis:6379/0"
    with pytest.raises(ConfigError, match="both"):
        entry.read_secrets(environment)
    for content in (None, "  \n"):
        file = tmp_path / "other"
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigError, match="PGPASSWORD_FILE"):
            entry.read_secrets({"PGPASSWORD_FILE": str(file)})


def test_the_service_is_not_opened_to_everybody_without_a_key(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    monkeypatch.delenv("USEROPS_KEYS", raising=False)
    with pytest.raises(KeysError, match="ask nobody for a key"):
        entry.command(["serve", "--host", "0.0.0.0"])
    # On a host without containers it listens where project.yaml says.
    assert entry.command(["serve"])[-4:] == ["--host", "127.0.0.1", "--port", str(PORT)]
    assert entry.command(["serve", "--port", "3100"])[-1] == "3100"


def test_containers_listen_on_every_address_of_theirs():
    words = ["serve", "--host", "0.0.0.0", "--port", str(PORT)]
    assert json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[-1]) == words
    assert dict(containers())["userops-serving/serving"]["args"] == words
    assert "command" not in COMPOSE["services"]["service"]


def test_the_entry_becomes_the_command(tmp_path):
    (tmp_path / "password").write_text("s3cret")
    said = "import os; print(os.environ['PGPASSWORD'])"
    done = subprocess.run(
        [sys.executable, "-m", "configs.deploy.entry", sys.executable, "-c", said],
        env={**os.environ, "PGPASSWORD_FILE": str(tmp_path / "password")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "s3cret\n"
    absent = [sys.executable, "-m", "configs.deploy.entry", "no-such-command"]
    failed = subprocess.run(absent, cwd=ROOT, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "no-such-command cannot be run" in failed.stderr


def test_project_configuration_is_the_one_the_manifests_assume():
    project = read_yaml(ROOT / "configs" / "project.yaml")
    assert project["serving"]["port"] == PORT
    assert project["serving"]["workers"] == 2  # what the memory of a pod is measured for
