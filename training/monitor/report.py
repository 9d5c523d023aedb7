"""What `monitor` found as a page, as lines for a terminal, and as an MLflow run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from configs import Config
from training.monitor.monitor import Monitoring
from training.monitor.shifts import Shift
from training.page import Section, Text, card, cards, note, page, table, tinted
from training.registry import Registry, Run

__all__ = ["EXPERIMENT", "as_page", "log_monitoring", "rows_of", "write_to"]

EXPERIMENT = "monitor"
TINTS = {"drifted": "bad", "chance": "warn", "moved": "warn", "usual": "mute", "steady": "good", "calendar": "mute"}
VERDICTS = {
    "drift": {"en": "drift", "zh": "已漂移"},
    "stale": {"en": "features are old", "zh": "特征过期"},
    "quiet": {"en": "quiet", "zh": "正常"},
}
COLUMNS = ["feature", "status", "PSI", "usual", "KS", "weight", "absent before", "absent now"]


def rows_of(found: Sequence[Shift], most: int = 12) -> list[list[object]]:
    """Lines of a table under `COLUMNS`: whatever drifted, then the strongest."""
    shown = [one for one in found if one.status != "calendar"]
    return [
        [
            one.name,
            one.status,
            f"{one.psi:.3f}",
            f"{one.usual_psi:.3f}",
            f"{one.ks:.3f}",
            f"{one.weight:.1%}" if one.kind == "feature" else one.kind,
            f"{one.missing_before:.1%}",
            f"{one.missing_now:.1%}",
        ]
        for one in shown[:most]
    ]


def as_page(found: Monitoring) -> str:
    """One self-contained HTML page, in English and Chinese."""
    verdict = VERDICTS[found.verdict]
    tint = {"drift": "bad", "stale": "warn", "quiet": "good"}[found.verdict]
    title = {
        "en": f"{found.model} version {found.version}: {verdict['en']}",
        "zh": f"{found.model} 版本 {found.version}：{verdict['zh']}",
    }
    lead = {
        "en": f"Learned from what was known until {found.trained_until[:10]}, looked at on {found.as_of[:10]}.",
        "zh": f"训练数据截至 {found.trained_until[:10]}，本次检查日期 {found.as_of[:10]}。",
    }
    head = cards(
        [
            card(tinted(verdict["en"], tint), {"en": "verdict", "zh": "结论"}),
            card(f"{found.age_days:.0f}", {"en": "days since training", "zh": "距训练天数"}),
            card(f"{found.drifted_weight:.1%}", {"en": "of the model's weight has drifted", "zh": "已漂移的权重"}),
            card(f"{found.rows:,}", {"en": "users looked at", "zh": "检查的用户数"}),
        ]
    )
    why: list[Text | Markup] = [{"en": one["en"], "zh": one["zh"]} for one in found.reasons] or [
        {"en": "Nothing moved further than time and chance move it.", "zh": "未超出正常波动。"}
    ]
    sections: list[Section] = [
        Section({"en": "Why", "zh": "原因"}, why),
        Section({"en": "Scores and features", "zh": "得分与特征"}, [_shift_table(found.shifts), note(MEANING)]),
        Section({"en": "Calibration since training", "zh": "训练后的校准"}, [_calibration(found)]),
    ]
    if found.served is not None:
        words = {
            "en": f"The last vectors of {found.served.users:,} users in the decision log, beside the same offline.",
            "zh": f"决策日志中 {found.served.users:,} 位用户的最近特征，与其离线值对照。",
        }
        body: list[Text | Markup] = [words, _shift_table(found.served.to_offline)]
        asks = {
            "en": "Beside the training: who asks is not who was learned from.",
            "zh": "与训练总体对照：请求者构成不同。",
        }
        sections.append(Section({"en": "Served", "zh": "线上"}, [*body, asks, _shift_table(found.served.to_training)]))
    fresh: list[list[object]] = [[name, value] for name, value in found.freshness.as_json().items()]
    sections.append(Section({"en": "Freshness", "zh": "新鲜度"}, [table(["", ""], fresh)]))
    return page(title, lead, sections, [head])


MEANING = {
    "en": "usual: the largest PSI between two instants of the training that lie as far apart. Drifted: PSI above 0.25"
    " and KS above 0.1 (or KS above 0.2), above 1.5 times the usual, and beyond chance over all features together.",
    "zh": "usual：训练期内相隔同样时间的最大 PSI。漂移：PSI 超过 0.25 且 KS 超过 0.1（或 KS 超过 0.2）、"
    "超过平常的 1.5 倍，且非偶然。",
}


def _shift_table(found: Sequence[Shift]) -> Markup:
    rows = [[row[0], tinted(row[1], TINTS[str(row[1])]), *row[2:]] for row in rows_of(found, 30)]
    return table(COLUMNS, rows)


def _calibration(found: Monitoring) -> Markup:
    rows: list[list[object]] = []
    for one in found.calibration:
        told = one.status if one.matures_at is None else f"{one.status} ({one.matures_at[:10]})"
        loss = "" if one.loss is None else f"{one.loss[0]:.4f} [{one.loss[1]:.4f}, {one.loss[2]:.4f}]"
        order = "" if one.auroc is None else f"{one.auroc[0]:.3f} [{one.auroc[1]:.3f}, {one.auroc[2]:.3f}]"
        rows.append([one.head, told, one.rows, one.mean_prediction, one.observed, loss, order])
    return table(["head", "status", "rows", "predicted", "observed", "to win by calibration", "AUROC"], rows)


def write_to(run: Run, found: Monitoring) -> None:
    """Leave everything in an open run: numbers as metrics, ``monitor.json``, ``monitor.html``, a note in words."""
    run.tags({"model": found.model, "version": found.version, "verdict": found.verdict})
    numbers = {"drifted_weight": found.drifted_weight, "age_days": found.age_days, "rows": float(found.rows)}
    numbers |= {f"psi.{one.name}": one.psi for one in found.shifts if math.isfinite(one.psi)}
    numbers |= {f"ks.{one.name}": one.ks for one in found.shifts}
    numbers |= {f"calibration.{one.head}": one.loss[0] for one in found.calibration if one.loss}
    run.metrics(numbers)
    run.json(found.as_json(), "monitor.json")
    run.text(as_page(found), "monitor.html")
    why = "\n".join(f"* {one['en']}" for one in found.reasons) or "* nothing moved further than time and chance move it"
    run.note(f"**{found.model} version {found.version}: {found.verdict}** on {found.as_of[:10]}\n\n{why}")


def log_monitoring(config: Config, found: Monitoring) -> str:
    """An MLflow run in the experiment ``monitor``; its id."""
    with Registry(config).run(EXPERIMENT, f"{found.model} {found.as_of[:10]}") as run:
        write_to(run, found)
    return run.run_id
