"""What a container runs: ``python -m configs.deploy.entry COMMAND [WORD ...]``.

``serve`` is the service on every address of the container, refused as long as no key was issued; ``follow`` is the
follower that brings live events online; anything else is run as it stands. A variable ``NAME_FILE`` first becomes
``NAME`` with what that file holds, for those in `SECRETS`: so no secret stands in an image, a manifest or a list of
processes. The command takes this process over, so signals reach it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from configs.errors import ConfigError, UseropsError

__all__ = ["HOST", "PORT", "SECRETS", "command", "read_secrets"]

HOST, PORT = "0.0.0.0", 3000
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
            from configs import load
            from configs.access import check_host

            check_host(load(), HOST)
            serve = ["-m", "bentoml", "serve", "serving.service:UserOps", "--host", HOST, "--port", str(PORT)]
            return [sys.executable, *serve, *more]
        case ["follow"]:
            return [sys.executable, "-m", "serving.follow"]
        case own:
            return own


def main() -> None:
    """Become the command that the arguments name."""
    try:
        read_secrets(os.environ)
        words = command(sys.argv[1:])
        try:
            os.execvp(words[0], words)
        except OSError as error:
            expected = "serve, follow, or a command of this image"
            raise ConfigError(f"{words[0]} cannot be run", got=error.strerror, expected=expected) from None
    except UseropsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
