"""What reviewers said, from the audit table to the tags of MLflow's versions, where whoever looks at MLflow sees it.

The audit table is what counts; tags follow it. The console writes rows and never MLflow, so a process beside the
service brings the tags up to date every few seconds; `userops sign`, `audit` and `promote` do, too. In a home the
registry is a file, and one transaction takes milliseconds; where it is not, MLflow's client is asked, and imported only
when there is something to write.

    python -m training.gate.mirror        # ends with the process that started it, with SIGTERM or with SIGINT
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable, Sequence

from configs import Config, load
from configs.audit import Row, entries
from configs.beside import until_told
from configs.reviews import WORDS, counted
from training.version_tags import set_tags, tags_of

__all__ = ["command", "main", "mirror", "tags_of_word", "watch"]

POLL_SECONDS = 2.0
MOST_SECONDS_BETWEEN_TRIES = 60.0
AUDIT = "review.audit"

_log = logging.getLogger("userops.mirror")


def command() -> list[str]:
    """How the process that brings tags up to date is started; it ends with whoever started it."""
    return [sys.executable, "-m", "training.gate.mirror"]


def tags_of_word(row: Row) -> dict[str, str]:
    """The tags of a version of which ``row`` is the word that shows."""
    named = {"review": row.action, "review.by": row.who, "review.at": row.at, "review.comment": row.comment}
    return {**named, AUDIT: row.digest}


def mirror(config: Config) -> int:
    """Let the tags of every reviewed version say its newest word; return how many versions were changed, often none.

    While a rejection stands, the newest one shows instead: whoever reads tags alone must not miss it. A version whose
    tags name a row that the audit table does not hold is left alone: the gate will miss that row.
    """
    return _bring(config, entries(config.audit_uri))


def _bring(config: Config, rows: Iterable[Row]) -> int:
    words: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.action in WORDS:
            words.setdefault((row.model, row.version), []).append(row)
    if not words:
        return 0
    there = tags_of(config, list(words))
    owed = {}
    for one, tags in there.items():
        said, known = tags_of_word(_showing(words[one])), {row.digest for row in words[one]}
        if tags.get(AUDIT, said[AUDIT]) in known and any(tags.get(name) != value for name, value in said.items()):
            owed[one] = said
    set_tags(config, owed)
    return len(owed)


def _showing(words: Sequence[Row]) -> Row:
    rejections = [row for row in counted(words) if row.action == "rejected"]
    return rejections[-1] if rejections else words[-1]


def watch(config: Config, stop: threading.Event, every: float = POLL_SECONDS) -> None:
    """Mirror whenever the audit table has grown, until ``stop`` is set; what fails is said, and tried again later."""
    seen, wait = -1, every
    while not stop.is_set():
        try:
            fresh = entries(config.audit_uri, after=max(seen, 0))
            if seen < 0 or fresh:
                if seen < 0 or any(row.action in WORDS for row in fresh):
                    mirror(config)
                seen = max([seen, 0, *(row.seq for row in fresh)])
            wait = every
        except Exception as error:  # the table, the registry or the disk: nobody restarts us
            wait = min(wait * 2, MOST_SECONDS_BETWEEN_TRIES)
            _log.warning("tags of MLflow's versions wait %.0f s: %s", wait, error)
        stop.wait(wait)


def main() -> None:
    """Mirror the home of the environment until told to stop, or until the process that started this one is gone."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    watch(load(), until_told())


if __name__ == "__main__":
    main()
