"""The door to MLflow: runs (`training.run`), also nested and reopened, registered models, versions and aliases.

Aliases: ``challenger`` is the newest trained version, ``champion`` the one that serves, ``previous`` the champion
before it.
Artefacts are text (LightGBM's own format and JSON), so nothing that is loaded from here can run code.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import Config
from configs.errors import RegistryError
from training.reachable import check_reachable
from training.revision import commit, revision
from training.run import COMMIT, EXPERIMENT_KIND, MODEL_FOLDER, NOTE, PARENT, SOURCE, SOURCE_TYPE, USER, Run

if TYPE_CHECKING:
    from serving.scoring.interest.model import InterestModel
    from serving.scoring.model import Model

__all__ = ["CHALLENGER", "CHAMPION", "PREVIOUS", "Registry", "Run", "Version", "no_version", "tagged"]


CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

MOST_TOLD = 10  # numbers of versions in an error

_GIVEN: ContextVar[Mapping[str, str] | None] = ContextVar("tags", default=None)


@contextmanager
def tagged(tags: Mapping[str, str]) -> Iterator[None]:
    """Every run that is opened within carries ``tags``, whoever opens it: what a killed process made is found again."""
    before = _GIVEN.set(tags)
    try:
        yield
    finally:
        _GIVEN.reset(before)


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    model: str
    version: str
    run_id: str
    aliases: tuple[str, ...]
    created_at_ms: int
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class Registry:
    """MLflow's tracking store and model registry in the home's database.

    Parameters
    ----------
    config
        Names the home; the database and the artefacts lie in it.
    """

    def __init__(self, config: Config) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        config.home.mkdir(parents=True, exist_ok=True)
        uri = config.tracking_uri
        check_reachable(uri)
        # MLflow takes seconds to import: whoever only reads features or serves never pays for it.
        from mlflow import MlflowClient

        # A server keeps its own artefacts and hands them on; a database, of whatever kind, holds none: they lie here.
        served = uri.startswith(("http://", "https://"))
        self._artifacts = None if served else config.home / "mlartifacts"
        self._config = config
        self._client = MlflowClient(uri, uri)

    @contextmanager
    def run(
        self, experiment: str, name: str, tags: Mapping[str, str] | None = None, parent: Run | None = None
    ) -> Iterator[Run]:
        """Open a run, inside ``parent`` if there is one; it ends FINISHED, FAILED on an error, KILLED on Ctrl-C."""
        found = self._client.get_experiment_by_name(experiment)
        experiment_id = (
            found.experiment_id
            if found
            else self._client.create_experiment(
                experiment,
                (self._artifacts / experiment).as_uri() if self._artifacts else None,
                # Without the kind, MLflow's pages show those of language models.
                {NOTE: self._purpose(experiment), EXPERIMENT_KIND: "custom_model_development"},
            )
        )
        given = {
            **_origin(self._config.user),
            **({PARENT: parent.run_id} if parent else {}),
            **(_GIVEN.get() or {}),
            **(tags or {}),
        }
        run = self._client.create_run(experiment_id, run_name=name, tags=given)
        status = "FAILED"
        try:
            yield Run(self._client, run.info.run_id)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            self._client.set_terminated(run.info.run_id, status)

    def reopen(self, run_id: str) -> Run:
        """A run that may be over, to add metrics, tags and artefacts to; its status and its end stay as they are."""
        return Run(self._client, run_id)

    def new_version(self, model: str, run: Run, tags: Mapping[str, str]) -> str:
        """Reserve the next version of ``model`` for ``run``; its files follow with `Run.folder`."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model, description=self._purpose(model))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{self._client.get_run(run.run_id).info.artifact_uri}/{MODEL_FOLDER}"
        version = self._client.create_model_version(model, source, run.run_id, tags=dict(tags))
        return str(version.version)

    def note_version(self, model: str, version: str, markdown: str) -> None:
        """What this version is, in words: MLflow shows it on the version's page."""
        self._client.update_model_version(model, version, markdown)

    def set_version_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of one version; one that is set already is overwritten."""
        for name, value in tags.items():
            self._client.set_model_version_tag(model, version, name, value)

    def withdraw(self, model: str, version: str) -> None:
        """Delete a version whose training failed before its files were complete."""
        self._client.delete_model_version(model, version)

    def versions(self, model: str) -> list[Version]:
        """All versions of ``model``, newest first; empty when it was never trained."""
        found = self._client.search_model_versions(f"name = '{_checked(model)}'")
        return sorted((self.version(model, str(v.version)) for v in found), key=lambda v: -int(v.version))

    def version(self, model: str, name: str) -> Version:
        """The version that ``name``, a number or an alias, stands for."""
        from mlflow.exceptions import MlflowException

        try:
            found = (
                self._client.get_model_version(_checked(model), name)
                if name.isdigit()
                else self._client.get_model_version_by_alias(_checked(model), name)
            )
        except MlflowException:
            raise no_version(model, name, self._numbers(model)) from None
        run_id = str(found.run_id)
        metrics = self._client.get_run(run_id).data.metrics
        return Version(
            model=model,
            version=str(found.version),
            run_id=run_id,
            # A version found by its number carries its aliases; one found by alias does too.
            aliases=tuple(sorted(found.aliases)),
            created_at_ms=int(found.creation_timestamp),
            tags=dict(found.tags),
            metrics=dict(metrics),
        )

    def _numbers(self, model: str) -> list[str]:
        found = self._client.search_model_versions(f"name = '{_checked(model)}'")
        return [str(number) for number in sorted(int(one.version) for one in found)]

    def folder(self, model: str, name: str, target: Path) -> Path:
        """Copy the files of a version to ``target`` and return it."""
        from mlflow.exceptions import MlflowException

        version = self.version(model, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            try:
                copied = Path(self._client.download_artifacts(version.run_id, MODEL_FOLDER, scratch))
            except (MlflowException, OSError) as error:
                raise RegistryError(
                    f"{model} version {version.version} has no files",
                    got=str(error),
                    because="its training run was interrupted, or they lie on the machine that trained it: a database "
                    "keeps no files, a server does (mlflow/README.md)",
                    run=f"userops train {model}",
                ) from None
            copied.rename(target)
        return target

    def model(self, model: str, name: str) -> Model | InterestModel:
        """A version as serving loads it, verified file by file, of whatever kind it is."""
        from serving.scoring.pyfunc import load

        with tempfile.TemporaryDirectory() as scratch:
            return load(self.folder(model, name, Path(scratch) / model))

    def read_json(self, run_id: str, file: str) -> dict[str, Any]:
        """A JSON artefact of a run."""
        with tempfile.TemporaryDirectory() as scratch:
            text = Path(self._client.download_artifacts(run_id, file, scratch)).read_text(encoding="utf-8")
        content: dict[str, Any] = json.loads(text)
        return content

    def copied(self, run_id: str, path: str, target: Path) -> Path | None:
        """Copy a file, or a folder with all in it, of a run into ``target``; None when there is none of that name."""
        above = str(Path(path).parent) if "/" in path else None
        # Asking MLflow to download what is not there costs seconds and an error of its own.
        if path not in {one.path for one in self._client.list_artifacts(run_id, above)}:
            return None
        return Path(self._client.download_artifacts(run_id, path, str(target)))

    def alias(self, model: str, alias: str, version: str) -> None:
        """Let ``alias`` stand for ``version`` from now on."""
        self._client.set_registered_model_alias(model, alias, version)

    def _purpose(self, name: str) -> str:
        model = self._config.models.get(name)
        return "" if model is None else "\n\n".join(model.purpose.values())

    def aliased(self, model: str, alias: str) -> str | None:
        """The version number behind ``alias``, or None."""
        try:
            return self.version(model, alias).version
        except RegistryError:
            return None


def no_version(model: str, name: str, numbers: Sequence[str]) -> RegistryError:
    """The error about a version that there is not, which says which ones there are.

    Examples
    --------
    >>> print(no_version("churn", "7", ["1", "2"]))
    churn has no version '7'
      got: 7
      expected: version 1 or 2, or an alias such as challenger
      run: userops status
    """
    what = f"{model} has no version {name!r}"
    if not numbers:
        return RegistryError(what, because="it was never trained", run=f"userops train {model}")
    known = numbers if len(numbers) <= MOST_TOLD else ["...", *numbers[-MOST_TOLD:]]
    if name == CHAMPION:
        told = f"version {', '.join(known)}, one of which may become champion"
        return RegistryError(what, expected=told, because="none was promoted yet", run=f"userops promote {model}")
    told = f"version {', '.join(known[:-1])} or {known[-1]}" if len(known) > 1 else f"version {known[0]}"
    return RegistryError(what, got=name, expected=f"{told}, or an alias such as challenger", run="userops status")


def _origin(user: str) -> dict[str, str]:
    """Who started which command with which code, under the names that MLflow's pages know."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:500]
    known = {USER: user, SOURCE: command, SOURCE_TYPE: "LOCAL", "code": revision()}
    return known if (found := commit()) is None else {**known, COMMIT: found}


def _checked(model: str) -> str:
    if not model.replace("_", "").isalnum():
        raise RegistryError("not a model name", got=model, expected="letters, digits and _")
    return model
