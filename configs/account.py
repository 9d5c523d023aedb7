"""Under which account of the machine a command runs, whatever ``USEROPS_USER`` says."""

from __future__ import annotations

import os
import pwd

__all__ = ["account"]


def account() -> str:
    """The account that the system knows this process by; no variable of the environment changes it.

    Examples
    --------
    >>> bool(account())
    True
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, most often: the number has no name
        return f"uid {os.getuid()}"
