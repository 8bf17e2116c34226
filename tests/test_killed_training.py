"""A training that is killed at random moments, as by a dead battery, ends as one that was not."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml

from siamese.models.storage import load_model

NUM_KILLS = int(os.environ.get("SIAMESE_KILLS", "2"))  # of one training; each costs a start of the program
NUM_ROUNDS = 12
FINISHED = re.compile(r"^round +(\d+)/", re.MULTILINE)
DECISIVE = ["round", "noise", "learning_rate", "num_encoded", "loss", "accuracy", "mean_score", "correct_pairs"]


@pytest.fixture(scope="module")
def config(tiny_settings, tmp_path_factory):
    values = tiny_settings.model_dump(mode="json", exclude_defaults=True)
    values["training"]["schedule"] = [{"rounds": NUM_ROUNDS, "learning_rate": 0.002, "noise": 10, "final_noise": 1}]
    values["training"]["averaging"] = "swa"  # its state must survive too
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def start(collection, config, run, log):
    program = [sys.executable, "-c", "from siamese.cli import main; main()", "train", "--manifest", str(collection)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*program, "--config", str(config), "--run", str(run)], stdout=log, stderr=log, env=environment
    )


def weights_in(run):
    model = load_model(run / "model")
    return [*model.encoder.get_weights(), *model.comparator.get_weights()]


def rounds_kept(run):
    if not (run / "state.npz").is_file():
        return 0
    with np.load(run / "state.npz", allow_pickle=False) as state:
        return len(json.loads(state["header"].tobytes())["records"])


def assert_same(run, whole):
    for one, other in zip(weights_in(whole), weights_in(run), strict=True):
        assert np.array_equal(one, other)
    histories = [pd.read_csv(folder / "history.csv")[DECISIVE] for folder in (whole, run)]
    assert histories[0].equals(histories[1])
    assert (run / "report" / "summary.md").is_file()


def test_a_training_killed_at_random_moments_ends_with_the_same_weights(small_collection, config, tmp_path):
    whole, draw, log_path = tmp_path / "whole", random.Random(NUM_KILLS), tmp_path / "log.txt"
    with log_path.open("w") as log:
        began = time.perf_counter()
        assert start(small_collection, config, whole, log).wait() == 0
        seconds = time.perf_counter() - began
    run, num_kills = tmp_path / "killed0", 0
    while num_kills < NUM_KILLS:
        with log_path.open("w") as log:
            process = start(small_collection, config, run, log)
            try:
                assert process.wait(draw.uniform(0.1, 0.9) * seconds) == 0
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                num_kills += 1
                told = [int(number) for number in FINISHED.findall(log_path.read_text())]
                assert max(told, default=0) <= rounds_kept(run), "a round that was told as finished must be kept"
            else:  # it got to its end before; the next one begins anew
                assert_same(run, whole)
                run = tmp_path / f"killed{num_kills}"
    with log_path.open("w") as log:
        assert start(small_collection, config, run, log).wait() == 0
    assert_same(run, whole)
