"""A waterfall whose words stand above its bars, so that it fits a phone and two of them fit side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.console.charts import BLUE, GREY, RED, Figure, figure, plain, table

__all__ = ["Steps", "steps"]

LONGEST, LABEL_PX, ROOM = 52, 17, 0.16


@dataclass(frozen=True)
class Steps:
    """From ``base`` through ``bars``, strongest first, to ``raw``; beyond ``most`` bars the rest is one, ``rest``.

    ``base`` and all bars add up to ``raw``. ``rest`` holds ``{n}``: how many bars it stands for.
    """

    base_said: str
    base: float
    bars: Sequence[tuple[str, float]]
    raw_said: str
    raw: float
    most: int
    rest: str

    @property
    def drawn(self) -> list[tuple[str, float]]:
        """The bars as they are drawn."""
        first, others = list(self.bars[: self.most]), self.bars[self.most :]
        return (
            [*first, (self.rest.replace("{n}", str(len(others))), sum(phi for _, phi in others))] if others else first
        )

    @property
    def ends(self) -> list[float]:
        """Where bars end."""
        found, at = [self.base, self.raw], self.base
        for _, phi in self.drawn:
            found.append(at := at + phi)
        return found

    @property
    def low(self) -> float:
        """The left end of the scale, which holds 0: from there base value and raw score are drawn."""
        return min(0.0, *self.ends)

    @property
    def high(self) -> float:
        """The right end of the scale, 0 or more."""
        return max(0.0, *self.ends)


def steps(of: Steps, scale: tuple[float, float], columns: tuple[str, str]) -> Figure:
    """The chart over ``scale``; its table holds every bar with all digits."""
    labels = [of.base_said, *(label for label, _ in of.drawn), of.raw_said]
    values = [of.base, *(phi for _, phi in of.drawn), of.raw]
    room = ROOM * (scale[1] - scale[0] or 1.0)
    start, ends = scale[0] - room, of.ends
    places = list(range(len(labels)))
    # Bars from where the last one ended; base and raw score from 0, a line: every length is its number.
    begins = [0.0, of.base, *ends[2:-1], 0.0] if of.drawn else [0.0, 0.0]
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": places,
        "base": begins,
        "x": values,
        "width": 0.38,
        "text": [f"{value:+.3f}" for value in values],
        "textposition": "outside",
        "textfont": {"size": 12, "color": "#566472"},
        "cliponaxis": False,
        "customdata": [plain(label) for label in labels],
        "hovertemplate": "%{customdata}<br>%{text}<extra></extra>",
        "marker": {"color": [GREY, *(RED if phi > 0 else BLUE for _, phi in of.drawn), GREY]},
    }
    above = [
        {"xref": "paper", "x": 0, "y": place, "yshift": LABEL_PX, "text": plain(_short(label)), "showarrow": False,
         "xanchor": "left", "align": "left", "font": {"size": 12.5, "color": "#1c2733"},
         "bgcolor": "rgba(255,255,255,0.85)", "borderpad": 0}
        for place, label in enumerate(labels)
    ]  # fmt: skip
    rows = [[of.base_said, repr(of.base)], *([label, repr(phi)] for label, phi in of.bars), [of.raw_said, repr(of.raw)]]
    upwards = {"range": [len(labels) - 0.5, -0.85], "showticklabels": False, "showgrid": False, "zeroline": False}
    zero = {"zeroline": True, "zerolinewidth": 2, "zerolinecolor": "#76828e"}
    return figure([trace], table(columns, rows), annotations=above, yaxis=upwards,
                  xaxis={"range": [start, scale[1] + room], **zero})  # fmt: skip


def _short(label: str) -> str:
    wide = sum(1 for character in label if ord(character) > 0x2E7F)
    most = LONGEST - wide if wide else LONGEST
    return label if len(label) <= most else label[: most - 1] + "…"
