"""Faults of a release: cut off, altered, of another catalogue, while a service runs and where one starts."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.chaos.asking import decide, refused
from serving.chaos.fault import Fault, require, until
from serving.chaos.service import Service
from serving.chaos.stage import Stage
from serving.scoring import current
from serving.scoring.bundle import release_digest
from serving.scoring.release import make_current

__all__ = ["FAULTS", "damaged"]

PICKED_SECONDS = 30.0
_REFUSED = re.compile(r'^userops_releases\w*\{[^}]*outcome="refused"[^}]*\} (\S+)$', re.MULTILINE)
DAMAGED = "2000-01-01T000000Z-damaged"


def truncated(stage: Stage) -> str:
    """A booster is cut in the middle."""

    def cut(folder: Path) -> None:
        file = max(folder.glob("churn/*.txt"))
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return _kept(stage, cut)


def tampered(stage: Stage) -> str:
    """One digit of a booster is another one."""

    def alter(folder: Path) -> None:
        file = max(folder.glob("churn/*.txt"))
        content = file.read_bytes()
        place = content.rindex(b"0", 0, content.index(b"end of trees"))
        file.write_bytes(content[:place] + b"1" + content[place + 1 :])

    return _kept(stage, alter)


def another_catalogue(stage: Stage) -> str:
    """The release says, consistently, that it was made for another catalogue."""

    def rewrite(folder: Path) -> None:
        meta = json.loads((folder / "release.json").read_bytes())
        meta["catalogue_digest"] = "sha256:" + "0" * 64
        meta["release_id"] = f"2000-01-01T000000Z-{release_digest(meta)}"
        (folder / "release.json").write_text(json.dumps(meta), encoding="utf-8")

    return _kept(stage, rewrite)


def at_start(stage: Stage) -> str:
    """A service starts on a release that was tampered with."""
    good = current(stage.home / "releases").name
    service = Service(stage.folder, stage.environment())
    with damaged(stage.home / "releases", lambda folder: (folder / "policy.json").write_bytes(b"{}")):
        try:
            service.start(wait=False)
            until(lambda: service.get("/livez").status == 200, 120, "no /livez")
            body = {"user_ids": [stage.users[0]], "explain": {"level": "none"}}
            seen = [refused("scores", service.post("/v1/score/churn", body))]
            seen.append(refused("offers", decide(service, stage.users[-1])))
            require(service.get("/readyz").status == 503, "/readyz is not 503")
            make_current(stage.home / "releases", good)
            back = until(lambda: stage.witness.differs(service) is None, PICKED_SECONDS, "not picked up")
        finally:
            service.stop()
    return f"{', '.join(seen)}, /readyz 503; right answers {back:.1f} s after a good release"


def _kept(stage: Stage, damage: Callable[[Path], object]) -> str:
    """Require that a damaged release in force changes no answer, and that a good one is picked up after it."""
    service, witness = stage.service, stage.witness
    require((otherwise := witness.differs(service)) is None, f"before: {otherwise}")
    before, workers = _refusals(service), len(service.workers())
    with damaged(stage.home / "releases", damage):
        took = until(lambda: _refusals(service) >= before + workers, PICKED_SECONDS, "not every worker refused it")
        require((otherwise := witness.differs(service)) is None, str(otherwise))
        require(service.get("/readyz").status == 200, "/readyz is not 200")
        offer = decide(service, stage.users[-1])
        require(offer.status == 200 and offer.told["status"] != "fallback", f"offers: {offer.refusal}")
    require((otherwise := witness.differs(service)) is None, f"after: {otherwise}")
    return f"refused by every worker in {took:.1f} s and said so; the old release answers as before, /readyz 200"


@contextmanager
def damaged(releases: Path, damage: Callable[[Path], object]) -> Iterator[Path]:
    """A damaged copy of the release in force is in force; then the good one again."""
    good = current(releases)
    # A name of its own each time: a worker that has refused one by that name would not look again for a while.
    folder = releases / f"{DAMAGED}-{secrets.token_hex(4)}"
    shutil.copytree(good, folder)
    damage(folder)
    make_current(releases, folder.name)
    try:
        yield folder
    finally:
        make_current(releases, good.name)
        shutil.rmtree(folder)


def _refusals(service: Service) -> float:
    told = service.get("/metrics").content.decode("utf-8", "replace")
    return sum(float(number) for number in _REFUSED.findall(told))


FAULTS = (
    Fault(
        "bundle-truncated",
        "a release with a booster cut in the middle put in force",
        truncated,
        ("tests/serving/test_pickup.py::test_a_broken_release_is_refused_and_the_old_one_kept",),
    ),
    Fault(
        "bundle-tampered",
        "a release with one digit altered put in force",
        tampered,
        ("tests/serving/test_release.py::test_damage_is_found_and_named",),
    ),
    Fault(
        "bundle-of-another-catalogue",
        "a release for other features put in force",
        another_catalogue,
        ("tests/serving/test_release.py::test_another_catalogue_is_refused_with_both_digests",),
    ),
    Fault(
        "bundle-tampered-at-start",
        "a service started on such a release, then given a good one",
        at_start,
        (
            "tests/serving/chaos/test_at_start.py::"
            "test_nothing_is_answered_from_a_tampered_release_and_a_good_one_is_picked_up",
        ),
    ),
)
