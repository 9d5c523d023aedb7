"""One self-contained HTML page for people: English and Chinese side by side, no script, nothing loaded from elsewhere.

Everything that is no `Markup` is escaped, so names from data cannot become tags. A radio button and one rule of the
stylesheet choose the language: the page works from a file, in a mail, and inside MLflow's frame.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

__all__ = ["Section", "Text", "card", "cards", "code", "note", "page", "spoken", "svg", "table", "tinted"]

#: The same words in ``en`` and ``zh``; a plain string stands for itself in both.
Text = Mapping[str, str] | str
TINTS = ("good", "bad", "warn", "mute")

STYLE = """
:root { --ink: #1c2733; --soft: #5c6b7a; --line: #e3e8ee; --ground: #f6f8fa; --blue: #1f5fa8; --good: #1a7f4b;
  --bad: #b3261e; --warn: #9a6700; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI",
  "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 20px 24px 64px; }
.pick { position: absolute; opacity: 0; }
.langs { text-align: right; margin: 0; max-width: none; }
.langs label { cursor: pointer; padding: 3px 12px; border: 1px solid var(--line); background: #fff;
  color: var(--soft); }
.langs label:first-child { border-radius: 6px 0 0 6px; border-right: 0; }
.langs label:last-child { border-radius: 0 6px 6px 0; }
#in-en:checked ~ main [lang="zh"], #in-zh:checked ~ main [lang="en"] { display: none; }
#in-en:checked ~ main label[for="in-en"], #in-zh:checked ~ main label[for="in-zh"] { color: #fff;
  background: var(--blue); border-color: var(--blue); }
.pick:focus-visible ~ main .langs { outline: 2px solid var(--blue); outline-offset: 4px; }
h1 { font-size: 27px; line-height: 1.25; margin: 6px 0 6px; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 0 0 8px; }
.lead { color: var(--soft); max-width: 76ch; margin: 0 0 18px; font-size: 16px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px; margin: 16px 0; }
p { margin: 6px 0 10px; max-width: 86ch; }
p.note { color: var(--soft); font-size: 13.5px; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 14px 0; }
.card { flex: 1 1 170px; background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.card b { display: block; font-size: 24px; font-weight: 650; font-variant-numeric: tabular-nums; }
.card i { display: block; font-style: normal; color: var(--soft); font-size: 13px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; margin: 8px 0; }
th { text-align: right; font-weight: 600; color: var(--soft); border-bottom: 2px solid var(--line); }
td { text-align: right; border-bottom: 1px solid var(--line); }
th, td { padding: 5px 8px; vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th.words, td.words { text-align: left; white-space: normal; min-width: 16em; }
tr.strong td { font-weight: 650; background: #eef4fb; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); } .mute { color: var(--soft); }
.small { font-size: 11.5px; color: var(--soft); font-weight: 400; }
code { font: 13px ui-monospace, "SFMono-Regular", Consolas, monospace; background: var(--ground); border-radius: 4px;
  padding: 1px 5px; }
figure { margin: 10px 0; } figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 4px; }
@media print { body { background: #fff; } section { break-inside: avoid; } .langs { display: none; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ heading }}</title>
<style>{{ style }}</style>
</head>
<body>
<input class="pick" type="radio" name="language" id="in-en" checked>
<input class="pick" type="radio" name="language" id="in-zh">
<main>
<p class="langs"><label for="in-en">English</label><label for="in-zh">中文</label></p>
<h1>{{ spoken(title) }}</h1>
<p class="lead">{{ spoken(lead) }}</p>
{% for part in before %}{{ part }}
{% endfor %}{% for section in sections %}<section>
<h2>{{ spoken(section.title) }}</h2>
{% for part in section.body %}{% if part.__html__ is defined %}{{ part }}{% else %}<p>{{ spoken(part) }}</p>{% endif %}
{% endfor %}</section>
{% endfor %}</main>
</body>
</html>
"""

TABLE = """<div class="wide"><table><thead><tr>
{% for name in columns %}<th{% if loop.index0 in words %} class="words"{% endif %}>{{ cell(name) }}</th>{% endfor %}
</tr></thead><tbody>
{% for row in rows %}<tr{% if loop.index0 in strong %} class="strong"{% endif %}>
{%- for value in row %}<td{% if loop.index0 in words %} class="words"{% endif %}>{{ cell(value) }}</td>{% endfor -%}
</tr>
{% endfor %}</tbody></table></div>"""

_ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)


@dataclass(frozen=True)
class Section:
    """A framed part of a page; each piece of ``body`` is a paragraph in both languages, or finished `Markup`."""

    title: Text
    body: Sequence[Text | Markup]


def page(title: Text, lead: Text, sections: Sequence[Section], before: Sequence[Markup] = ()) -> str:
    """The whole page; ``before`` stands between the lead and the first section (`cards`).

    Examples
    --------
    >>> whole = page({"en": "A <b>", "zh": "甲"}, "lead", [Section("one", [{"en": "yes", "zh": "是"}])])
    >>> "A &lt;b&gt;" in whole, "甲" in whole, "<script" in whole
    (True, True, False)
    """
    heading = title if isinstance(title, str) else f"{title['en']} · {title['zh']}"
    template = _ENVIRONMENT.from_string(PAGE)
    style = Markup(STYLE)
    return template.render(
        title=title, heading=heading, lead=lead, sections=sections, before=before, style=style, spoken=spoken
    )


def spoken(words: Text) -> Markup:
    """``words`` in both languages, of which the stylesheet shows one."""
    if isinstance(words, str):
        return Markup("{}").format(words)
    return Markup('<span lang="en">{}</span><span lang="zh">{}</span>').format(words["en"], words["zh"])


def note(words: Text) -> Markup:
    """A paragraph in small print."""
    return Markup('<p class="note">{}</p>').format(spoken(words))


def code(command: str) -> Markup:
    """A command to type."""
    return Markup("<code>{}</code>").format(command)


def tinted(content: object, tint: str) -> Markup:
    """``content`` in the colour of a judgement: ``good``, ``bad``, ``warn`` or ``mute``."""
    if tint not in TINTS:
        raise ValueError(f"tint: got {tint!r}, expected one of {TINTS}")
    return Markup('<span class="{}">{}</span>').format(tint, _cell(content))


def card(value: object, words: Text, below: Text = "") -> Markup:
    """One number large, what it is, and a line below it."""
    lines = Markup("<b>{}</b><i>{}</i>").format(_cell(value), spoken(words))
    return Markup('<div class="card">{}{}</div>').format(
        lines, Markup('<i class="small">{}</i>').format(spoken(below)) if below else ""
    )


def cards(several: Sequence[Markup]) -> Markup:
    """Cards side by side."""
    return Markup('<div class="cards">{}</div>').format(Markup("").join(several))


def table(
    columns: Sequence[Text],
    rows: Sequence[Sequence[object]],
    words: Sequence[int] = (),
    strong: Sequence[int] = (),
) -> Markup:
    """A table whose numbers stand right; a cell is text, a number, a mapping of languages, or `Markup`.

    Parameters
    ----------
    words
        Which columns hold sentences: they stand left and may break.
    strong
        Which rows are the ones that matter.

    Examples
    --------
    >>> str(table(["name", "value"], [["a<b", 0.5], [{"en": "two", "zh": "二"}, None]])).count("<td>")
    4
    """
    template = _ENVIRONMENT.from_string(TABLE)
    return Markup(template.render(columns=columns, rows=rows, words=words, strong=strong, cell=_cell))


def svg(figure: Figure, caption: Text = "") -> Markup:
    """A matplotlib figure as inline SVG with real text; the same figure gives the same bytes.

    Its words are read in both languages: let them be names, numbers and dates, and put sentences in ``caption``.
    """
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "userops", "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    drawn = file.getvalue()[file.getvalue().index("<svg") :]
    # Groups are named alike in every figure; nothing refers to them.
    drawn = re.sub(r'<g id="[^"]*">', "<g>", drawn)
    drawn = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn, flags=re.DOTALL)
    below = Markup("<figcaption>{}</figcaption>").format(spoken(caption)) if caption else ""
    return Markup("<figure>{}{}</figure>").format(Markup(drawn), below)


def _cell(value: object) -> Markup:
    if hasattr(value, "__html__"):
        return Markup("{}").format(value)
    if isinstance(value, Mapping):
        return spoken(value)
    if value is None or value != value:
        return Markup("")
    return Markup("{}").format(f"{value:,.4g}" if isinstance(value, float) else str(value))
