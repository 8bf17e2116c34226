"""Fixtures shared by the tests: chance, and a small folder of real photos."""

import os
import resource
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image, ImageDraw

# A busy machine is no failure. At home each run tries other examples; a machine that decides gets the same every time.
settings.register_profile(
    "siamese", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("siamese")


@pytest.fixture
def rng():
    return np.random.default_rng(20180718)


@pytest.fixture
def draw_photo():
    """`draw_photo(path, size=(96, 64), seed=0)` draws a photo and returns its path."""
    return _draw_photo


def _draw_photo(path: Path, *, size: tuple[int, int] = (96, 64), seed: int = 0) -> Path:
    """Draws a photo that has its own pattern for each seed, and saves it in the format of its ending."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(rng.integers(60, 200, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = rng.integers(0, size[0]), rng.integers(0, size[1])
        draw.ellipse((left, top, left + size[0] // 4, top + size[1] // 4), fill=tuple(rng.integers(0, 256, 3).tolist()))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture
def photo_folder(tmp_path):
    """Nine JPEGs: three of Mara, three of Tano, two of Zuri, and one of an unknown individual."""
    folder = tmp_path / "photos"
    names = ["Mara/1", "Mara/2", "Mara/3", "Tano/1", "Tano/2", "Tano/3", "Zuri/1", "Zuri/2", "stranger"]
    for seed, name in enumerate(names):
        _draw_photo(folder / f"{name}.jpg", seed=seed)
    return folder


@pytest.fixture
def run_program(monkeypatch, capsys):
    """`run_program("rank", ...)` runs the program and returns its exit code, stdout and stderr."""
    from siamese.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["siamese", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code or 0, said.out, said.err

    return run


@pytest.fixture(scope="session")
def drawn_comparator():
    """`drawn_comparator(embed_dim)` makes a comparator whose weights are drawn, the same each time."""

    def make(embed_dim):
        from siamese.models.comparator import Comparator

        layer = Comparator(8)
        layer.build([(None, embed_dim), (None, embed_dim)])
        for weight in layer.weights:
            weight.assign(np.random.default_rng(4).normal(size=weight.shape))
        return layer

    return make


@pytest.fixture
def full_disk():
    """`with full_disk(1000):` lets no file grow over 1000 bytes, as a full disk would."""
    return _full_disk


@contextmanager
def _full_disk(num_bytes: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))  # Python ignores the signal, so writing raises OSError
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def tiny_settings():
    """Settings of a training that takes seconds."""
    from siamese.settings import settings_from_dict

    small = {"stem_filters": 4, "stem_kernel": 3, "stem_pool": False, "stem_convolutions": 0, "depth": 1}
    return settings_from_dict(
        {
            "preprocessing": {"height": 16, "width": 32, "channels": 1},
            "split": {"validation_share": 0.2, "test_share": 0.25},
            "encoder": {**small, "widths": [8], "bottlenecks": [4], "batch_norm_momentum": 0.9},
            "comparator": {"hidden_units": 4},
            "training": {
                "batch_size": 16,
                "pairs_per_image": 4,
                "schedule": [{"rounds": 2, "learning_rate": 0.002, "noise": 10, "final_noise": 1}],
            },
            "evaluation": {"sheet_queries": 3, "protocols": {"other_photos": {"must_differ": ["image_id"]}}},
        }
    )


@pytest.fixture(scope="session")
def small_collection(tmp_path_factory):
    """A folder with six photos of each of seven animals, six photos of unknown ones and one that cannot be read."""
    folder = tmp_path_factory.mktemp("collection")
    names = [f"animal{animal}/{photo}" for animal in range(7) for photo in range(6)]
    for seed, name in enumerate(names + [f"stranger{number}" for number in range(6)]):
        _draw_photo(folder / f"{name}.jpg", seed=seed)
    (folder / "animal0" / "broken.jpg").write_bytes(b"not a photo")
    return folder


class Listener:
    """Keeps what a run tells."""

    def __init__(self):
        self.stages, self.sentences, self.records = [], [], []

    def stage(self, name, done, total):
        self.stages.append(name)

    def say(self, sentence):
        self.sentences.append(sentence)

    def round(self, record, num_rounds):
        self.records.append((record.round, num_rounds))


@pytest.fixture
def listener():
    return Listener()


@dataclass(frozen=True)
class FinishedRun:
    """A run folder, what `train` returned, and what it told."""

    folder: Path
    metrics: dict
    listener: Listener


@pytest.fixture(scope="session")
def finished_run(small_collection, tiny_settings, tmp_path_factory):
    """The main job on the small collection, run once for all tests; they must not change its folder."""
    from siamese.pipeline import train

    folder, told = tmp_path_factory.mktemp("runs") / "small", Listener()
    return FinishedRun(folder, train(small_collection, tiny_settings, folder, told), told)


@pytest.fixture
def own_run(finished_run, tmp_path):
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished_run.folder, tmp_path / "run"))


@pytest.fixture(scope="session")
def matcher(finished_run):
    """The model of the finished run."""
    import siamese

    return siamese.load(finished_run.folder / "model")
