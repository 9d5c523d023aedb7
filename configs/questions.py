"""What each check asks of a version, for whoever reads the answers: the command line, the console, reports."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["QUESTIONS"]

#: By code, in ``en`` and ``zh``. A check's title names what it finds; this is what it looks for.
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "P001": {"en": "Does a feature know the label?", "zh": "有特征泄露标签吗？"},
    "P002": {"en": "Has training seen the test period?", "zh": "训练用到评估期了吗？"},
    "P003": {"en": "Would one feature alone do?", "zh": "只用一个特征就够了吗？"},
    "P004": {"en": "Is it better than every free baseline?", "zh": "优于所有免费基线吗？"},
    "P005": {"en": "Does what it says come true in every part of the customers?", "zh": "在每类客群中预测都准吗？"},
    "P006": {"en": "Have data moved since training?", "zh": "训练以来数据漂移了吗？"},
    "P007": {"en": "Are there labels enough for what is claimed?", "zh": "标签足以支撑所称精度吗？"},
    "P008": {"en": "Is it as good at every origin?", "zh": "各时点表现稳定吗？"},
    "P009": {"en": "Is any feature useless?", "zh": "有无用的特征吗？"},
    "P010": {"en": "Does serving read the same features?", "zh": "线上读到的特征一致吗？"},
}
