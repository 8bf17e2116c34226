"""Turns the archives of the Omniglot handwriting set into drawings and a manifest for 20-way one-shot matching.

    python -m data_prep.omniglot --archives DIR --out data/omniglot
    siamese train --manifest data/omniglot/manifest.csv --recipe omniglot --run runs/omniglot

Characters stand for animals: a background character is an individual with twenty photos by twenty people. In each
one-shot run every test drawing is matched to the run's twenty training drawings, one for each character.
Lake, Salakhutdinov, Tenenbaum 2015, https://github.com/brendenlake/omniglot (MIT).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

import pandas as pd
from pydantic import Field

from data_prep.program import program_parser, run_program, settings_from
from siamese.errors import DiskError, ManifestError, SiameseError
from siamese.manifest import Manifest, from_table
from siamese.settings import StageSettings

OFFICIAL = "https://github.com/brendenlake/omniglot/raw/master/python/"
BACKGROUND = "images_background_small1.zip"
BACKGROUND_SHA256 = "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4"  # tensorflow/datasets has it too
ALL_RUNS = "all_runs.zip"
SOME_RUNS = "one_shot_runs*.zip"

BACKGROUND_DRAWING = re.compile(
    r"(?:^|/)(?P<alphabet>[^/]+)/(?P<character>character\d+)/(?P<name>\d+_(?P<drawer>\d+))\.png$"
)
RUN_DRAWING = re.compile(r"(?:^|/)(?P<run>run\d+)/(?P<name>(?:training/class|test/item)\d+)\.png$")
RUN_LABELS = re.compile(r"(?:^|/)run\d+/class_labels\.txt$")


class OmniglotSettings(StageSettings):
    """How the background drawings are divided."""

    validation_drawer: int = Field(
        20, ge=1, description="Drawings of this drawer choose the threshold, not the weights."
    )


@dataclass(frozen=True)
class Drawing:
    """One row of the manifest.

    Attributes:
        image_id: unique name, such as `run01/test/item04`.
        path: place of the drawing under the collection's folder.
        identity: the character, as `Greek/character03` or `run01/class08`.
        split: train, validation, catalog or test.
        run: the one-shot run; "" for the background.
        alphabet: "" in the runs, whose files do not tell it.
        drawer: number of the person among the twenty of an alphabet; "" in the runs.
    """

    image_id: str
    path: str
    identity: str
    split: str
    run: str = ""
    alphabet: str = ""
    drawer: str = ""


def make_collection(background: Path, runs: Sequence[Path], folder: Path, settings: OmniglotSettings) -> Manifest:
    """Unpacks the drawings into `folder/photos` and writes `folder/manifest.csv` last.

    Drawings that are there already are not touched, so that an image store made of them stays valid.

    Args:
        background: archive `alphabet/character/number_drawer.png`.
        runs: archives with `runNN/training`, `runNN/test` and `runNN/class_labels.txt`; any number of runs.
        folder: made where it is missing.
        settings: how the background is divided.

    Raises:
        ManifestError: an archive is damaged, incomplete, or holds a path that leads out of the folder.
        DiskError: a file cannot be written.
    """
    drawings = list(_unpack_background(background, folder, settings))
    _check_background(drawings, background, settings)
    for archive in runs:
        drawings += _unpack_runs(archive, folder)
    manifest = from_table(pd.DataFrame([asdict(drawing) for drawing in drawings]), folder, source=str(folder))
    manifest.write(folder / "manifest.csv")
    return manifest


def find_archives(folder: Path) -> tuple[Path, list[Path]]:
    """Returns the background archive and the archives of runs in a folder.

    Raises:
        ManifestError: one of them is not there.
    """
    background = folder / BACKGROUND
    runs = [folder / ALL_RUNS] if (folder / ALL_RUNS).is_file() else sorted(folder.glob(SOME_RUNS))
    if not background.is_file():
        raise ManifestError(
            f"{folder}: the archive {BACKGROUND} must be there. Received: {_names_in(folder)}. "
            f"Download it from {OFFICIAL}{BACKGROUND}, or leave --archives out to have it fetched."
        )
    if not runs:
        raise ManifestError(
            f"{folder}: the archive of the one-shot runs, {ALL_RUNS} or {SOME_RUNS}, must be there. "
            f"Received: {_names_in(folder)}. Download {OFFICIAL}one-shot-classification/{ALL_RUNS} into this folder "
            f"and give it: --archives {folder}. It is not fetched for you, because no checksum of it is published."
        )
    return background, runs


def fetch_background(folder: Path | None = None) -> Path:
    """Downloads the background archive unless it is there, checks its SHA-256 and returns the folder it lies in.

    Args:
        folder: where it goes; none takes the user's cache folder.

    Raises:
        SiameseError: pooch is not installed, there is no network, or the file is another one.
    """
    try:
        import pooch
    except ImportError as error:
        raise SiameseError(
            "Fetching needs the package pooch. Received: no such package. "
            "Install it with pip install 'siamese[data]', or give the archives' folder with --archives."
        ) from error
    folder = folder or Path(pooch.os_cache("siamese")) / "omniglot"
    try:
        pooch.retrieve(OFFICIAL + BACKGROUND, f"sha256:{BACKGROUND_SHA256}", fname=BACKGROUND, path=folder)
    except (OSError, ValueError) as error:  # no network or no room; another file than the one of this hash
        raise SiameseError(
            f"{OFFICIAL}{BACKGROUND} must be fetched into {folder}. Received: {error}. "
            "Download it by hand and give its folder with --archives."
        ) from error
    return folder


def _names_in(folder: Path) -> str:
    if not folder.is_dir():
        return "no folder of this name"
    return ", ".join(sorted(place.name for place in folder.iterdir())[:8]) or "an empty folder"


def _unpack_background(archive: Path, folder: Path, settings: OmniglotSettings) -> Iterator[Drawing]:
    for name, content in _members(archive):
        found = BACKGROUND_DRAWING.search(name)
        if found:
            identity = f"{found['alphabet']}/{found['character']}"
            drawer = int(found["drawer"])
            split = "validation" if drawer == settings.validation_drawer else "train"
            path = _place(folder, f"{identity}/{found['name']}", content)
            yield Drawing(f"{identity}/{found['name']}", path, identity, split, "", found["alphabet"], str(drawer))


def _unpack_runs(archive: Path, folder: Path) -> list[Drawing]:
    members = dict(_members(archive))
    labels = dict(_labels(archive, members))
    found = [(place, members[place.string]) for place in map(RUN_DRAWING.search, sorted(members)) if place]
    drawings = [_run_drawing(archive, folder, place, content, labels) for place, content in found]
    _check_runs(drawings, archive)
    return drawings


def _run_drawing(archive: Path, folder: Path, found: re.Match[str], content: bytes, labels: dict[str, str]) -> Drawing:
    image_id = f"{found['run']}/{found['name']}"
    is_test = found["name"].startswith("test/")
    if is_test and image_id not in labels:
        raise ManifestError(
            f"{archive}: class_labels.txt must name the character of each test drawing. "
            f"Received: none for {image_id}. Download the archive again."
        )
    training = labels[image_id] if is_test else image_id
    identity = training.replace("/training/", "/")
    path = _place(folder, image_id, content)
    return Drawing(image_id, path, identity, "test" if is_test else "catalog", found["run"])


def _labels(archive: Path, members: dict[str, bytes]) -> Iterator[tuple[str, str]]:
    """Yields (test drawing, training drawing of the same character) from each run's `class_labels.txt`."""
    for name in filter(RUN_LABELS.search, members):
        for number, line in enumerate(members[name].decode(errors="replace").splitlines(), start=1):
            pair = [_image_id(part) for part in line.split()]
            if len(pair) == 2 and all(pair):
                yield pair[0], pair[1]
            elif pair:
                raise ManifestError(
                    f"{archive}, {name}, line {number}: a line must name a test and a training drawing. "
                    f"Received: {line!r}. Download the archive again."
                )


def _image_id(path: str) -> str:
    found = RUN_DRAWING.search(path)
    return f"{found['run']}/{found['name']}" if found else ""


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of each file of an archive, after all names were found to stay in the folder."""
    try:
        with ZipFile(archive) as file:
            names = [entry.filename for entry in file.infolist() if not entry.is_dir()]
            for name in names:
                _check_inside(archive, name)
            for name in names:
                if not name.startswith("__MACOSX/"):  # what macOS adds is no drawing
                    yield name, file.read(name)
    except (OSError, BadZipFile) as error:
        raise ManifestError(
            f"{archive}: the archive must be a zip file. Received: {error}. Download it again."
        ) from error


def _check_inside(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise ManifestError(
            f"{archive}: every path in the archive must stay in its folder. Received: {name!r}. "
            "Do not use this archive; download the published one."
        )


def _place(folder: Path, image_id: str, content: bytes) -> str:
    """Writes a drawing unless it is there, and returns its path under `folder`."""
    path = folder / "photos" / f"{image_id}.png"
    try:
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise DiskError(
            f"{path}: the drawing must be writable. Received: {error.strerror or error}. "
            "Free space on the disk or give another --out."
        ) from error
    return path.relative_to(folder).as_posix()


def _check_background(drawings: list[Drawing], archive: Path, settings: OmniglotSettings) -> None:
    drawers = sorted({int(drawing.drawer) for drawing in drawings})
    if not drawers:
        raise ManifestError(
            f"{archive}: there must be drawings like Greek/character03/0394_07.png. Received: none. "
            f"Download the archive again from {OFFICIAL}{BACKGROUND}."
        )
    if settings.validation_drawer not in drawers:
        raise ManifestError(
            f"--validation-drawer must be one of the drawers {drawers[0]} to {drawers[-1]}. "
            f"Received: {settings.validation_drawer}. Choose one of them."
        )


def _check_runs(drawings: list[Drawing], archive: Path) -> None:
    if not drawings:
        raise ManifestError(
            f"{archive}: there must be drawings like run01/test/item01.png. Received: none. "
            f"Download {OFFICIAL}one-shot-classification/{ALL_RUNS}."
        )
    known = {drawing.identity for drawing in drawings if drawing.split == "catalog"}
    for drawing in drawings:
        if drawing.identity not in known:
            raise ManifestError(
                f"{archive}: the training drawing of each test drawing must be there. "
                f"Received: {drawing.image_id} of {drawing.identity}, which is missing. Download the archive again."
            )


def _run(arguments: argparse.Namespace) -> list[str]:
    settings = settings_from(arguments, OmniglotSettings)
    background, runs = find_archives(arguments.archives or fetch_background())
    manifest = make_collection(background, runs, arguments.out, settings)
    counts = Counter(manifest.column("split").tolist())
    num_runs = len(set(manifest.column("run")) - {""})
    return [
        f"manifest: {arguments.out / 'manifest.csv'}",
        f"background: {counts['train']} drawings to train, {counts['validation']} to choose the threshold",
        f"runs: {num_runs}, with {counts['catalog']} drawings to match to and {counts['test']} to be matched",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 for wrong input."""
    parser = program_parser("omniglot", "Turns the Omniglot archives into drawings and a manifest.", OmniglotSettings)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="Folder of the collection.")
    parser.add_argument(
        "--archives",
        type=Path,
        metavar="DIR",
        help=f"Folder with {BACKGROUND} and {ALL_RUNS} or {SOME_RUNS}; without it the first is fetched into a cache.",
    )
    arguments = parser.parse_args(argv)
    return run_program(lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
