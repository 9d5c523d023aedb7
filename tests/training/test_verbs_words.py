"""What the verbs of training print exists in both languages, with the same fields and as many columns."""

from string import Formatter

import pytest
from typer.testing import CliRunner

import training.backtest.verbs
import training.checks.verbs
import training.monitor.verbs
import training.readiness.verbs
import training.verbs
import userops
from training.monitor.report import COLUMNS

SENTENCES = [
    *training.verbs.SAID.values(),
    *training.backtest.verbs.SAID.values(),
    training.monitor.verbs.TITLE,
    training.monitor.verbs.PAGE,
    training.readiness.verbs.TITLE,
    training.readiness.verbs.UNTIL,
]


@pytest.mark.parametrize("text", SENTENCES, ids=lambda text: text["en"])
def test_a_sentence_has_the_same_fields_in_both_languages(text):
    fields = [sorted(name for _, name, _, _ in Formatter().parse(text[lang]) if name) for lang in ("en", "zh")]
    assert set(text) == {"en", "zh"}
    assert fields[0] == fields[1]


def test_a_table_has_as_many_columns_in_both():
    for columns in (training.verbs.COLUMNS, training.readiness.verbs.COLUMNS, training.checks.verbs.COLUMNS):
        assert len(columns["en"]) == len(columns["zh"])
    assert len(COLUMNS) == len(training.monitor.verbs.COLUMNS_ZH)


@pytest.mark.parametrize("verb", ["train", "backtest", "monitor", "readiness", "check"])
def test_another_language_is_refused_before_any_work(verb, tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    done = CliRunner().invoke(userops.app, [verb, "churn", "--lang", "fr"])
    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []
