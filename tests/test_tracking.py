import sys

import pytest

from siamese.errors import DiskError, MissingPackage, SiameseError
from siamese.run_folder import flat_settings
from siamese.tracking import MLflowTracker, tracked_training


class Diary:
    """A tracker that writes down what it is told."""

    def __init__(self, breaks_at=None):
        self.told, self.breaks_at = [], breaks_at

    def start(self, settings):
        self.told.append(("start", settings))

    def round(self, record):
        if record["round"] == self.breaks_at:
            raise DiskError("The store is full.")
        self.told.append(("round", record["round"]))

    def end(self, metrics, artefacts):
        self.told.append(("end", metrics["map5"], sorted(path.name for path in artefacts)))

    def abandon(self):
        self.told.append(("abandon",))


@pytest.fixture
def go_on(own_run, small_collection, tiny_settings, listener):
    """`go_on(tracker)` runs the main job in a folder whose rounds are done."""
    return lambda tracker: tracked_training(small_collection, tiny_settings, own_run, listener, [tracker])


def test_a_tracker_is_told_settings_rounds_metrics_and_files(go_on, tiny_settings, listener):
    diary = Diary()
    metrics = go_on(diary)
    (_, settings), *rounds, (_, map5, files) = diary.told
    assert settings == flat_settings(tiny_settings.model_dump(mode="json"))
    assert rounds == [("round", 1), ("round", 2)]
    assert map5 == metrics["map5"]
    assert {"settings.yaml", "history.csv", "metrics.json", "curves.png"} <= set(files)
    assert [number for number, _ in listener.records] == [1, 2]


def test_a_run_that_stops_is_abandoned(go_on):
    diary = Diary(breaks_at=2)
    with pytest.raises(DiskError, match="The store is full"):
        go_on(diary)
    assert [entry[0] for entry in diary.told] == ["start", "round", "abandon"]


def test_a_folder_of_another_training_is_not_tracked(own_run, small_collection, tiny_settings, listener):
    diary = Diary()
    values = tiny_settings.model_dump()
    values["training"]["seed"] = 9
    with pytest.raises(SiameseError, match="a run folder belongs to one training"):
        tracked_training(small_collection, type(tiny_settings)(**values), own_run, listener, [diary])
    assert diary.told == []


def test_a_missing_package_is_told_before_anything_is_done(run_program, small_collection, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)  # what Python takes for a package that cannot be imported
    with pytest.raises(MissingPackage, match="Install it with `pip install mlflow`"):
        MLflowTracker(tmp_path / "run")
    code, out, err = run_program("train", "--manifest", small_collection, "--run", tmp_path / "run", "--mlflow")
    assert (code, out) == (2, "")
    assert "Tracking needs the package mlflow. Received: none." in err
    assert not (tmp_path / "run").exists()


# MLflow itself, where it is installed; it warns of what it uses itself

MLFLOW_WARNS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return pytest.importorskip("mlflow", reason="mlflow is not installed")


def only_run(mlflow, tracker):
    client = mlflow.MlflowClient(tracker.tracking_uri)
    experiment = client.get_experiment_by_name("siamese")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


@MLFLOW_WARNS
def test_mlflow_keeps_a_run_and_goes_on_with_it(mlflow, go_on, own_run, tiny_settings):
    tracker = MLflowTracker(own_run)
    metrics = go_on(tracker)
    client, run = only_run(mlflow, tracker)
    assert (run.info.run_name, run.info.status) == (own_run.name, "FINISHED")
    assert run.data.params["training.batch_size"] == "16"
    assert run.data.metrics["report/map5"] == metrics["map5"]
    assert "metrics.json" in [file.path for file in client.list_artifacts(run.info.run_id)]
    go_on(MLflowTracker(own_run))
    client, run = only_run(mlflow, tracker)
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]
    assert (own_run.parent / ".mlflow" / "mlflow.db").is_file()


@MLFLOW_WARNS
def test_mlflow_marks_an_abandoned_run(mlflow, tmp_path):
    (tmp_path / "run").mkdir()
    tracker = MLflowTracker(tmp_path / "run")
    tracker.start({"training.seed": 0})
    tracker.round({"round": 1, "loss": 0.5, "accuracy": float("nan")})
    tracker.abandon()
    _, run = only_run(mlflow, tracker)
    assert run.info.status == "FAILED"
    assert run.data.metrics == {"round": 1, "loss": 0.5}


@MLFLOW_WARNS
def test_a_store_that_cannot_be_written_is_told(mlflow, tmp_path, monkeypatch):
    (tmp_path / "file").touch()  # a file where the folder should be
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(DiskError, match="MLflow must be able to write there. Received: .* Correct MLFLOW_TRACKING_URI"):
        MLflowTracker(tmp_path / "run").start({})
