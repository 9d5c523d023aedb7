"""How MLflow's generic loader reads a model folder: its ``MLmodel`` says ``loader_module: serving.scoring.pyfunc``.

A folder holds text and numbers, and this package is the only code that reads them: nothing is unpickled, and the
probabilities are the service's own, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving.scoring import verified
from serving.scoring.interest.model import KIND as INTEREST
from serving.scoring.interest.model import InterestModel
from serving.scoring.model import Model
from serving.scoring.value.model import ValueModel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Predictor", "load"]

KINDS: dict[str, type[Model] | type[InterestModel]] = {INTEREST: InterestModel, ValueModel.kind: ValueModel}


def load(folder: Path) -> Model | InterestModel:
    """The model in ``folder``, of whatever kind it says to be; every file is verified before it is parsed."""
    kind = verified.read_json(verified.read(folder, "model.json", None), folder / "model.json").get("kind")
    return KINDS.get(str(kind), Model).load(folder)


class Predictor:
    """What ``mlflow.pyfunc.load_model(...)`` asks."""

    def __init__(self, model: Model | InterestModel) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A column per head: its calibrated probability, of a value model its expected spend.

        NaN where a user is outside the head's cohort: of them the service says ``OUT_OF_COHORT``. The interest model
        takes a row per user and item (``item``), or per user and category (``category``).
        """
        import pandas as pd

        columns = {name: self._answer(name, model_input) for name in self.model.heads}
        return pd.DataFrame(columns, index=model_input.index)

    def _answer(self, head: str, frame: pd.DataFrame) -> NDArray[np.float64]:
        model = self.model
        if isinstance(model, InterestModel):
            own = model.heads[head]
            return own.calibrator(own.raw(frame[list(own.features)].to_numpy(np.float64)))
        x = np.ascontiguousarray(frame[list(model.features)].to_numpy(np.float64))
        inside = model.in_cohort(x, head)
        answer = np.full(len(x), np.nan)
        answer[inside] = (
            model.spend(x[inside], [head])[head].expected
            if isinstance(model, ValueModel)
            else model.probability(x[inside], head)
        )
        return answer


def _load_pyfunc(path: str) -> Predictor:
    """The name that MLflow asks for."""
    return Predictor(load(Path(path)))
