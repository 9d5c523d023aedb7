"""What a container runs: ``python -m configs.deploy.entry COMMAND [WORD ...]``.

``serve [--host HOST] [--port PORT]`` is the service, where ``serving`` of project.yaml says unless told otherwise, and
beyond loopback not before a key was issued; ``follow`` is the follower that brings live events online; anything else is
run as it stands. A variable ``NAME_FILE`` first becomes
``NAME`` with what that file holds, for those in `SECRETS`: so no secret stands in an image, a manifest or a list of
processes. The command takes this process over, so signals reach it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from configs.errors import ConfigError, UseropsError

__all__ = ["SECRETS", "command", "read_secrets"]

SECRETS = (
    *("USEROPS_DECISIONS", "USEROPS_AUDIT", "USEROPS_REGISTRY", "USEROPS_TRACKING", "USEROPS_ONLINE", "USEROPS_KEY"),
    *("PGPASSWORD", "OTEL_EXPORTER_OTLP_HEADERS"),
)


def read_secrets(environment: MutableMapping[str, str]) -> None:
    """Set every secret whose file is named.

    Raises
    ------
    ConfigError
        When a file cannot be read, holds nothing, or the variable is set besides.
    """
    for name in SECRETS:
        file = environment.get(f"{name}_FILE")
        if not file:
            continue
        if environment.get(name):
            raise ConfigError(f"{name} and {name}_FILE", got="both", expected="one of them")
        try:
            secret = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{name}_FILE cannot be read", got=type(error).__name__, expected=file) from None
        if not secret:
            raise ConfigError(f"{name}_FILE holds nothing", expected=file)
        environment[name] = secret


def command(words: Sequence[str]) -> list[str]:
    """The words of the process that takes over.

    Examples
    --------
    >>> command(["userops", "status"])
    ['userops', 'status']
    >>> command(["follow"])[1:]
    ['-m', 'serving.follow']
    """
    match list(words):
        case []:
            raise ConfigError("nothing to run", expected="serve, follow, or a command")
        case ["serve", *more]:
            return _serve(more)
        case ["follow"]:
            return [sys.executable, "-m", "serving.follow"]
        case own:
            return own


def _serve(words: Sequence[str]) -> list[str]:
    from configs import load
    from configs.access import check_host

    config = load()
    asked = argparse.ArgumentParser("python -m configs.deploy.entry serve")
    asked.add_argument("--host", default=config.serving.host, help="address to listen on (%(default)s)")
    asked.add_argument("--port", type=int, default=config.serving.port, help="port to listen on (%(default)s)")
    where = asked.parse_args(words)
    check_host(config, where.host)
    serve = ["-m", "bentoml", "serve", "serving.service:UserOps", "--host", where.host, "--port", str(where.port)]
    return [sys.executable, *serve]


def main() -> None:
    """Become the command that the arguments name."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        sys.stdout.write(__doc__ or "")
        return
    try:
        read_secrets(os.environ)
        words = command(sys.argv[1:])
        if sys.argv[1:2] == ["serve"]:
            from configs import load
            from configs.counters import own_counters

            os.environ.update(own_counters(load().home))
        try:
            os.execvp(words[0], words)
        except OSError as error:
            expected = "serve, follow, or a command of this image"
            raise ConfigError(f"{words[0]} cannot be run", got=error.strerror, expected=expected) from None
    except UseropsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
