"""Booster + calibrator + exact reasons: the code that judged a model is the code that serves it.

Imports ``configs`` only, and needs numpy and lightgbm. A *model* is a folder of JSON and LightGBM text
(``model.py``), a *release* is a folder of models that serving loads as one (``bundle.py``). No pickle anywhere;
every file is verified by its SHA-256 before a byte of it is used.
"""

from serving.scoring.bundle import Bundle, current
from serving.scoring.model import Model, write_model
from serving.scoring.release import write_release

__all__ = ["Bundle", "Model", "current", "write_model", "write_release"]
