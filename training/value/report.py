"""What the training of a value model found, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.terminal import bracket, print_table
from training.value.measures import MEASURES

__all__ = ["print_spend"]


def print_spend(
    title: str, metrics: Mapping[str, Mapping[str, Any]], baselines: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> None:
    """Measures of each head with intervals, its baselines below; AUROC is that of a purchase within the horizon."""
    rows: list[list[object]] = []
    for head, values in metrics.items():
        shown = [f"{values[name]['value']:.4g} {bracket(values[name]['ci'])}" for name in MEASURES]
        rows.append([head, *shown, f"{values['auroc']['value']:.4f}" if "auroc" in values else ""])
        for name, numbers in baselines.get(head, {}).items():
            rows.append([f"  {name}", *(f"{numbers[measure]:.4g}" for measure in MEASURES), ""])
    print_table(title, ["", "MAE [95 %]", "bias [95 %]", "Spearman [95 %]", "capture@10 [95 %]", "AUROC"], rows)
