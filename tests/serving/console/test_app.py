"""The frame of the console: what every page has, what goes wrong as a page, and that nothing else gets in."""

from __future__ import annotations


def test_the_console_opens(console):
    answer = console.client.get("/console/", follow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")

