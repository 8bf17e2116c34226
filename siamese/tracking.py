"""Runs kept by a tracker too: MLflow, in a database beside the run folders."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from siamese.errors import DiskError, MissingPackage
from siamese.files import write_atomically
from siamese.pipeline import Listener, train
from siamese.run_folder import METRICS, SETTINGS, flat_settings, locked
from siamese.runs import HISTORY, numbers_of
from siamese.settings import Settings
from siamese.training_state import Record

STORE = ".mlflow"  # hidden, so that it is no folder of a run
LINK = "mlflow_run.txt"  # in the run folder: the id of its MLflow run
EXPERIMENT = "siamese"
STORE_SECONDS = 60  # making the tables took 4; two runs that make them at once fail
MOST_PARAMS, LONGEST_PARAM = 100, 6000  # MLflow's limits of one request, `mlflow.utils.validation`


class Tracker(Protocol):
    """What keeps runs beside the run folders."""

    def start(self, settings: Mapping[str, Any]) -> None:
        """Is told the settings by dotted name, once, before the first round."""

    def round(self, record: Mapping[str, Any]) -> None:
        """Is told the numbers of a round; a run that goes on tells its earlier rounds again."""

    def end(self, metrics: Mapping[str, Any], artefacts: Sequence[Path]) -> None:
        """Is told the metrics of the report and the files worth keeping."""

    def abandon(self) -> None:
        """Is told that the run stopped before its end."""


def tracked_training(
    source: Path, settings: Settings, folder: Path, listener: Listener, trackers: Sequence[Tracker]
) -> dict[str, Any]:
    """Runs the main job as `pipeline.train` does, and tells trackers of it from the first finished round on.

    Args:
        source: manifest CSV or photo folder.
        settings: all stages.
        folder: the run folder.
        listener: shows the progress.
        trackers: keep the run.

    Returns:
        The metrics.

    Raises:
        SiameseError: the input cannot be trained on, or a tracker's store cannot be written.
    """
    told = _Told(listener, trackers, settings)
    try:
        metrics = train(source, settings, folder, told)
        artefacts = [folder / SETTINGS, folder / HISTORY, *sorted((folder / METRICS).parent.iterdir())]
        for tracker in told.started:
            tracker.end(metrics, artefacts)
    except BaseException:
        for tracker in told.started:
            with suppress(DiskError):  # the first error is the one to tell
                tracker.abandon()
        raise
    return metrics


class _Told:
    """Passes on what a run tells, its rounds to the trackers too."""

    def __init__(self, listener: Listener, trackers: Sequence[Tracker], settings: Settings) -> None:
        self.stage, self.say = listener.stage, listener.say
        self._listener, self._trackers, self._settings = listener, trackers, settings
        self.started: list[Tracker] = []

    def round(self, record: Record, num_rounds: int) -> None:
        self._listener.round(record, num_rounds)
        for tracker in self._trackers:
            if tracker not in self.started:  # not earlier: a folder of another training is refused before its rounds
                tracker.start(flat_settings(self._settings.model_dump(mode="json")))
                self.started.append(tracker)
            tracker.round(asdict(record))


class MLflowTracker:
    """Keeps a run in MLflow: parameters, a metric for each number of a round, the report.

    Nothing leaves the machine: the store is a database in the folder of the run folders, unless the variable
    MLFLOW_TRACKING_URI of the environment names another, and MLflow's reports of its own use are switched off.

    Attributes:
        tracking_uri: the store; `mlflow ui --backend-store-uri` shows it.
    """

    def __init__(self, folder: Path) -> None:
        self._mlflow = _mlflow()
        self.folder, self._store = folder, folder.absolute().parent / STORE
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self.tracking_uri = given or f"sqlite:///{self._store / 'mlflow.db'}"
        self._is_local = not given
        self._run_id, self._last_round = "", 0

    def start(self, settings: Mapping[str, Any]) -> None:
        """Goes on with the run that the folder is linked to, or makes one with the settings as its parameters."""
        if self._is_local:
            self._store.mkdir(exist_ok=True)
            with locked(self._store / "store.lock", seconds=STORE_SECONDS):
                self._open(settings)
        else:
            self._open(settings)

    def _open(self, settings: Mapping[str, Any]) -> None:
        with self._told():
            self._client = self._mlflow.MlflowClient(self.tracking_uri)
            if not self._found():
                self._make(settings)
            self._client.update_run(self._run_id, status="RUNNING")

    def _found(self) -> bool:
        link = self.folder / LINK
        if not link.is_file():
            return False
        run_id = link.read_text(encoding="utf-8").strip()
        runs = self._client.search_runs([self._experiment()], f"attributes.run_id = '{run_id}'")
        for run in runs:
            self._run_id, self._last_round = run_id, int(run.data.metrics.get("round", 0))
        return bool(runs)

    def _make(self, settings: Mapping[str, Any]) -> None:
        self._run_id = self._client.create_run(self._experiment(), run_name=self.folder.absolute().name).info.run_id
        params = [self._mlflow.entities.Param(name, str(value)[:LONGEST_PARAM]) for name, value in settings.items()]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._run_id, params=params[first : first + MOST_PARAMS])
        write_atomically(self.folder / LINK, lambda path: path.write_text(self._run_id, encoding="utf-8"))

    def _experiment(self) -> str:
        """Finds the experiment, or makes it; a local one keeps its files beside the database."""
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found:
            return found.experiment_id
        return self._client.create_experiment(EXPERIMENT, (self._store / "files").as_uri() if self._is_local else None)

    def round(self, record: Mapping[str, Any]) -> None:
        """Keeps every number of a round that is not kept yet."""
        if record["round"] > self._last_round:
            self._keep(record, step=record["round"])

    def _keep(self, values: Mapping[str, Any], *, step: int) -> None:
        now = int(1000 * time.time())
        metrics = [self._mlflow.entities.Metric(name, value, now, step) for name, value in numbers_of(values).items()]
        with self._told():
            self._client.log_batch(self._run_id, metrics=metrics)

    def end(self, metrics: Mapping[str, Any], artefacts: Sequence[Path]) -> None:
        """Keeps the report's numbers as `report/...` and the files, and closes the run."""
        self._keep({f"report/{name}": value for name, value in metrics.items()}, step=0)
        with self._told():
            for path in artefacts:
                self._client.log_artifact(self._run_id, str(path))
            self._client.set_terminated(self._run_id)

    def abandon(self) -> None:
        """Marks the run as failed; a training that goes on opens it again."""
        with self._told():
            self._client.set_terminated(self._run_id, "FAILED")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # its own and whatever the database raises
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise DiskError(
                f"{self.tracking_uri}: MLflow must be able to write there. Received: {reason}. "
                "Correct MLFLOW_TRACKING_URI or free space on the disk; the training goes on after the last finished "
                "round."
            ) from error


def _mlflow() -> Any:
    """Imports MLflow, and keeps it from telling the network of its use and the terminal of its tables."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        module = importlib.import_module("mlflow")
    except ImportError as error:
        raise MissingPackage(
            "Tracking needs the package mlflow. Received: none. Install it with `pip install mlflow`."
        ) from error
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return module
