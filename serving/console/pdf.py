"""HTML to PDF, by a browser of the Chromium family that is on the machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from configs.errors import UseropsError

__all__ = ["BROWSERS", "browser", "write_pdf"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
SECONDS = 120


def browser() -> str:
    """The path of a browser that can print.

    Raises
    ------
    UseropsError
        When there is none; it names what to install.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise UseropsError(
            "a PDF needs a browser to print it",
            got=f"none of {', '.join(BROWSERS)}",
            run="apt-get install chromium fonts-noto-cjk, or write the report as .html",
        )
    return found


def write_pdf(html: str, file: Path) -> None:
    """Print a self-contained page, its scripts not packed, into ``file``; written whole or not at all."""
    program = browser()
    with tempfile.TemporaryDirectory(prefix="userops-pdf-") as scratch:
        page, made = Path(scratch) / "page.html", Path(scratch) / "page.pdf"
        page.write_text(html, encoding="utf-8")
        command = [program, "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        command += ["--disable-extensions", "--disable-background-networking", f"--user-data-dir={scratch}/profile"]
        # Virtual time: everything that waits for idle moments, such as charts far below, is drawn before the print.
        command += ["--hide-scrollbars", "--window-size=1180,1600", "--virtual-time-budget=60000"]
        command += ["--no-pdf-header-footer", f"--print-to-pdf={made}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # the browser refuses to run as root with one; the page is our own
        said = _run([*command, page.as_uri()])
        if not made.exists() or not made.read_bytes().startswith(b"%PDF"):
            raise UseropsError(f"{program} printed no PDF", because=said[-500:] or None, run="write it as .html")
        shutil.copyfile(made, file)


def _run(command: list[str]) -> str:
    """What the browser said; whatever it started ends with it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        said, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise UseropsError(f"{command[0]} printed nothing within {SECONDS} s", run="write it as .html") from None
    return said.decode("utf-8", "replace")
