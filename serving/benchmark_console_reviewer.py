"""A reviewer in a process of his own: opens the next page every second, and says at the end how long each took.

``python -m serving.benchmark_console_reviewer PORT SECONDS < pages.json``: a line of JSON, milliseconds by page.
"""

from __future__ import annotations

import http.client
import json
import sys
import time

__all__ = ["click", "main"]


def click(port: int, path: str) -> tuple[int, float, int]:
    """The status of one page, milliseconds from asking to the last byte, and how many bytes came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        began = time.perf_counter()
        connection.request("GET", path, headers={"accept-encoding": "gzip", "accept-language": "en"})
        answer = connection.getresponse()
        size = len(answer.read())
        return answer.status, 1e3 * (time.perf_counter() - began), size
    finally:
        connection.close()


def main(port: int, seconds: float) -> None:
    """Click until the time is over."""
    pages: dict[str, list[str]] = json.load(sys.stdin)
    asked = [
        (name, path) for turn in range(100) for name, paths in pages.items() for path in [paths[turn % len(paths)]]
    ]
    told: dict[str, list[float]] = {name: [] for name in pages}
    began = time.monotonic()
    for number, (name, path) in enumerate(asked):
        if number >= seconds:
            break
        time.sleep(max(0.0, began + number - time.monotonic()))
        told[name].append(click(port, path)[1])
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
