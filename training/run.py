"""One run of MLflow to write to: everything goes in as few calls as its store takes."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "COMMIT",
    "EXPERIMENT_KIND",
    "MODEL_FOLDER",
    "NOTE",
    "PARENT",
    "RUN_NAME",
    "SOURCE",
    "SOURCE_TYPE",
    "USER",
    "Run",
]

# MLflow's own names of tags.
NOTE, PARENT, USER, RUN_NAME = "mlflow.note.content", "mlflow.parentRunId", "mlflow.user", "mlflow.runName"
EXPERIMENT_KIND = "mlflow.experimentKind"
SOURCE, SOURCE_TYPE, COMMIT = "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit"

MODEL_FOLDER = "model"
# It reads text and numbers only: see there.
LOADER = "serving.scoring.pyfunc"
MOST_PARAMETERS, MOST_METRICS, MOST_TAGS = 100, 1000, 100  # of one call of MLflow's `log_batch`


@dataclass(frozen=True)
class Run:
    """An MLflow run to write to, open or long over; everything written here is findable by ``run_id``."""

    client: MlflowClient
    run_id: str

    def parameters(self, values: Mapping[str, object]) -> None:
        """Log parameters; values longer than MLflow's 6,000 characters are cut."""
        from mlflow.entities import Param

        listed = [Param(name, str(value)[:6000]) for name, value in values.items()]
        for start in range(0, len(listed), MOST_PARAMETERS):
            self.client.log_batch(self.run_id, params=listed[start : start + MOST_PARAMETERS])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics; a NaN is left out, because MLflow's SQL store refuses some of them."""
        from mlflow.entities import Metric

        at = int(time.time() * 1000)
        known = [(name.replace("@", "_at_"), float(value)) for name, value in values.items() if value == value]
        listed = [Metric(name, value, at, step) for name, value in known]
        for start in range(0, len(listed), MOST_METRICS):
            self.client.log_batch(self.run_id, metrics=listed[start : start + MOST_METRICS])

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; one that is set already is overwritten."""
        from mlflow.entities import RunTag

        listed = [RunTag(name, value) for name, value in values.items()]
        for start in range(0, len(listed), MOST_TAGS):
            self.client.log_batch(self.run_id, tags=listed[start : start + MOST_TAGS])

    def note(self, markdown: str) -> None:
        """What this run is, in words: MLflow shows it at the top of the run's page."""
        self.tags({NOTE: markdown})

    def dataset(
        self, name: str, context: str, digest: str, columns: Sequence[str], profile: Mapping[str, Any], source: Path
    ) -> None:
        """Say which data went in: ``context`` is ``training`` or ``evaluation``, ``digest`` at most 36 characters.

        Runs with the same ``name`` and ``digest`` used the same data, and MLflow shows them together.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        schema = {"mlflow_colspec": [{"type": "double", "name": column, "required": True} for column in columns]}
        given = Dataset(
            name, digest, "local", json.dumps({"uri": str(source)}), json.dumps(schema), json.dumps(dict(profile))
        )
        self.client.log_inputs(self.run_id, [DatasetInput(given, [InputTag("mlflow.data.context", context)])])

    def model(self, folder: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Store a model's folder so that ``mlflow.pyfunc.load_model`` reads it; what it takes and gives are doubles."""
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, Schema

        taken, given = (Schema([ColSpec("double", name) for name in names]) for names in (inputs, outputs))
        described = Model(run_id=self.run_id, artifact_path=MODEL_FOLDER, signature=ModelSignature(taken, given))
        described.add_flavor("python_function", loader_module=LOADER, python_version=platform.python_version())
        described.save(str(folder / "MLmodel"))
        self.folder(folder, MODEL_FOLDER)

    def json(self, content: Mapping[str, Any], file: str) -> None:
        """Store ``content`` as a JSON artefact."""
        self.client.log_dict(self.run_id, dict(content), file)

    def text(self, content: str, file: str) -> None:
        """Store a text artefact."""
        self.client.log_text(self.run_id, content, file)

    def figure(self, figure: object, file: str) -> None:
        """Store a matplotlib figure as a PNG."""
        self.client.log_figure(self.run_id, figure, file)

    def folder(self, folder: Path, target: str) -> None:
        """Store every file of ``folder`` under ``target``."""
        self.client.log_artifacts(self.run_id, str(folder), target)
