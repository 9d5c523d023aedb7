"""What others' code the project stands on: ``python -m configs.deploy.audit sbom FILE | licences | holes``.

``sbom FILE`` writes the bill of materials of ``requirements.lock`` (CycloneDX JSON, validated). ``licences`` lists
those of what runs in production and ends with 1 where one is not allowed by ``licences.yaml``. ``holes`` asks OSV's
database about every pin and ends with 1 where it knows of one, or where the question itself fails; where the database
cannot be reached, or does not know of every pin, it says why and ends with 3.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from configs.deploy.slim import ROOT, TRACES, closure, pinned
from configs.documents import read_yaml
from configs.errors import ConfigError, UseropsError

__all__ = ["bill", "holes", "licences", "refused", "terms"]

LOCK = ROOT / "requirements.lock"
UNREACHABLE = 3
# What pip-audit says when nobody answers; anything else is a fault of ours, and no reason to let a build pass.
_NOBODY = re.compile(r"connect|resolve|unreachable|timed? ?out|proxy|refused|certificate", re.IGNORECASE)


def bill(path: Path) -> int:
    """Write the bill of materials; how many components it names."""
    words = ["-m", "cyclonedx_py", "requirements", str(LOCK), "--pyproject", str(ROOT / "pyproject.toml")]
    words += ["--output-format", "JSON", "--spec-version", "1.6", "--output-reproducible", "--short-PURLs"]
    subprocess.run([sys.executable, *words, "--validate", "--output-file", str(path)], check=True)
    return len(json.loads(path.read_text(encoding="utf-8"))["components"])


def licences() -> dict[str, str]:
    """``package: licence`` as its author wrote it, of everything that the project needs to run; UNKNOWN is one."""
    wanted: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    needed = closure([*wanted, TRACES])
    words = [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed", "--with-system"]
    listed = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    said = {str(canonicalize_name(one["Name"])): str(one["License"]) for one in listed}
    # What only another Python needs is not installed, and so cannot be asked.
    return {name: said[name] for name in sorted(needed) if name in said}


def terms(said: str, same_as: Mapping[str, str]) -> list[list[str]]:
    """The alternatives that a licence offers, each a list of licences that hold together.

    Examples
    --------
    >>> terms("Apache-2.0 OR (BSD License AND MIT)", {})
    [['Apache-2.0'], ['BSD License', 'MIT']]
    >>> terms("ISC License (ISCL)", {"ISC License (ISCL)": "ISC"})
    [['ISC']]
    """
    alternatives = [re.split(r" AND |; ", one) for one in re.split(r" OR ", said)]
    return [[same_as.get(part.strip(), part.strip("() ")) for part in one] for one in alternatives]


def refused(found: Mapping[str, str], rules: Mapping[str, Any]) -> dict[str, str]:
    """The packages under a licence that the rules do not allow, but for the exceptions."""
    allowed = set(rules["allowed"])

    def fine(said: str) -> bool:
        return any(allowed.issuperset(one) for one in terms(said, rules["same_as"]))

    return {name: said for name, said in found.items() if name not in rules["exceptions"] and not fine(said)}


def holes() -> tuple[list[dict[str, Any]], str | None]:
    """Pins with known holes; and why it was not looked for all of them, None where it was.

    Raises
    ------
    ConfigError
        When it was not for want of an answer.
    """
    blocks = [block for _, block in pinned(LOCK.read_text(encoding="utf-8"))]
    # One first: where the database cannot be reached, there is no use in asking hundreds of times.
    found, reason = _ask(blocks[:1])
    if reason is None:
        found, reason = _ask(blocks)
    return [one for one in found if one.get("vulns")], reason


def _ask(blocks: Sequence[str]) -> tuple[list[dict[str, Any]], str | None]:
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("\n".join(blocks) + "\n", encoding="utf-8")
        words = ["--requirement", str(pins), "--require-hashes", "--disable-pip", "--vulnerability-service", "osv"]
        words += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
        done = subprocess.run([sys.executable, "-m", "pip_audit", *words], capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
        if not _NOBODY.search(reason):
            raise ConfigError("the lock cannot be audited", got=reason) from None
        return [], reason
    skipped = [f"{one['name']}: {one['skip_reason']}" for one in found if "skip_reason" in one]
    return found, f"{len(skipped)} pins were not looked up, {skipped[0]}" if skipped else None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main(words: Sequence[str]) -> int:
    """Run one of the three; its exit code."""
    match list(words):
        case ["sbom", file]:
            _say(f"{bill(Path(file))} components in {file}")
            return 0
        case ["licences"]:
            found, rules = licences(), read_yaml(Path(__file__).parent / "licences.yaml")
            for name, said in found.items():
                _say(f"{name}: {said}" + (f"  (allowed: {why})" if (why := rules["exceptions"].get(name)) else ""))
            wrong = refused(found, rules)
            _say(f"{len(found)} packages, not allowed: {', '.join(wrong) or 'none'}")
            return 1 if wrong else 0
        case ["holes"]:
            known, reason = holes()
            for one in known:
                _say(f"{one['name']} {one['version']}: {', '.join(hole['id'] for hole in one['vulns'])}")
            if reason is not None:
                _say(f"not looked for known holes: {reason}")
            if known or reason is None:
                _say(f"{len(known)} packages with known holes")
            return 1 if known else 0 if reason is None else UNREACHABLE
    _say("one of: sbom FILE, licences, holes")
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UseropsError as failed:
        sys.exit(str(failed))
