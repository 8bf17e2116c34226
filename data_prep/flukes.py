"""Draws a collection of humpback fluke photos with known truth, in the proportions of the 2019 challenge.

    python -m data_prep.flukes --out data/flukes --photos 2400 --seed 0

writes `photos/*.jpg`, `manifest.csv`, `truth.csv` and `settings.json`. The seed decides every byte, whatever the number
of workers: each animal is drawn from (seed, animal) and each photo from (seed, photo). A folder whose manifest was made
with the same settings is left as it is.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from skimage.measure import approximate_polygon

from data_prep.fluke_animal import FlukeIdentity, draw_identity
from data_prep.fluke_photo import Photo, draw_photo
from data_prep.fluke_plan import ANIMAL, COMPANION, PHOTO, FlukeSettings, PhotoPlan, plan_collection
from data_prep.program import program_parser, run_program, settings_from
from siamese.errors import DiskError, SettingsError
from siamese.files import write_atomically

__all__ = ["FlukeSettings", "draw_collection", "draw_identity", "draw_photo", "main", "plan_collection"]

FORMAT_VERSION = 1
Rows = list[tuple[dict[str, Any], dict[str, Any]]]  # of the manifest and of the truth, photo by photo

# ---- drawing


def _draw_animal(settings: FlukeSettings, plans: list[PhotoPlan], photos: Path) -> Rows:
    """Draws all photos of one animal into the folder `photos`; returns their manifest and truth rows."""
    chance = np.random.default_rng([settings.seed, ANIMAL, plans[0].animal])
    identity = draw_identity(chance, texture_width=settings.texture_width)
    by_index, corners = {plan.index: plan for plan in plans}, _corners(identity.outline)
    rows = []
    for plan in plans:
        rng = np.random.default_rng([settings.seed, PHOTO, plan.index])
        if plan.original is None:
            photo = _draw_planned(settings, identity, plan, rng)
        else:
            source = by_index[plan.original]
            drawn = _draw_planned(
                settings, identity, source, np.random.default_rng([settings.seed, PHOTO, source.index])
            )
            photo = _shrink(drawn, float(rng.uniform(0.55, 0.95)))
        (photos / f"{plan.image_id}.jpg").write_bytes(_encode(photo.image, rng, plan.unreadable))
        rows.append((_manifest_row(settings, plan, photo, corners, rng), _truth_row(settings, plan, photo, by_index)))
    return rows


def _draw_planned(settings: FlukeSettings, identity: FlukeIdentity, plan: PhotoPlan, rng: np.random.Generator) -> Photo:
    companion = None
    if plan.two_animals:
        other = np.random.default_rng([settings.seed, COMPANION, plan.index])
        companion = draw_identity(other, texture_width=settings.width // 2)
    return draw_photo(
        identity, rng, width=settings.width, difficulty=settings.difficulty, companion=companion,
        grey=plan.grey, upside_down=plan.upside_down, caption=plan.caption,
    )  # fmt: skip


def _shrink(photo: Photo, ratio: float) -> Photo:
    """A smaller copy of a photo, with its truth in the new pixels."""
    old = np.array(photo.image.shape[1::-1])
    new = np.maximum(8, np.round(old * ratio)).astype(int)
    image = np.asarray(Image.fromarray(photo.image).resize(tuple(new.tolist()), Image.Resampling.LANCZOS))
    scale = new / old
    return replace(
        photo,
        image=image,
        box=photo.box * np.tile(scale, 2),
        keypoints=photo.keypoints * scale,
        outline=photo.outline * scale,
    )


def _encode(image: np.ndarray, rng: np.random.Generator, unreadable: str) -> bytes:
    """JPEG bytes; an unreadable file is cut short or empty."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(rng.integers(72, 95)))
    return {"": file.getvalue(), "truncated": file.getvalue()[: len(file.getvalue()) // 3], "empty": b""}[unreadable]


def _manifest_row(
    settings: FlukeSettings, plan: PhotoPlan, photo: Photo, corners: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    x, y, width, height = _jitter_box(photo, settings.box_jitter, rng)
    return {
        "image_id": plan.image_id, "path": f"photos/{plan.image_id}.jpg", "identity": plan.identity,
        "x": x, "y": y, "width": width, "height": height,
        "keypoints": _points(photo.keypoints), "mask": _points(photo.outline[corners]), "split": plan.split,
    }  # fmt: skip


def _jitter_box(photo: Photo, jitter: float, rng: np.random.Generator) -> list[int]:
    """The box as a person draws it: whole pixels, each side a little off, inside the photo."""
    size = np.tile(photo.image.shape[1::-1], 2)
    sides = np.r_[photo.box[:2], photo.box[:2] + photo.box[2:]]
    sides = np.clip(np.round(sides + rng.normal(0, jitter, 4) * np.tile(photo.box[2:], 2)), 0, size).astype(int)
    return [int(sides[0]), int(sides[1]), max(1, int(sides[2] - sides[0])), max(1, int(sides[3] - sides[1]))]


def _corners(outline: np.ndarray) -> np.ndarray:
    """Indices of the points that keep an outline within 0.4 % of the span; a mask of these is far shorter as text."""
    kept = approximate_polygon(outline[::2], 0.008)  # every other point: twice as fast, still within the tolerance
    corners = np.flatnonzero((outline[:, None] == kept).all(axis=2).any(axis=1))
    return np.union1d(corners, np.arange(0, len(outline), 10))  # straight stretches still follow the waterline


def _points(points: np.ndarray) -> str:
    return ";".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _truth_row(
    settings: FlukeSettings, plan: PhotoPlan, photo: Photo, by_index: dict[int, PhotoPlan]
) -> dict[str, Any]:
    box = dict(zip(("true_x", "true_y", "true_width", "true_height"), photo.box.round(2).tolist(), strict=True))
    values = {name: round(value, 4) if isinstance(value, float) else value for name, value in photo.truth.items()}
    values |= {name: int(values[name]) for name in ("grey", "upside_down")}
    duplicate_of = "" if plan.original is None else by_index[plan.original].image_id
    conflict = {"conflict": int(plan.conflict)} if settings.conflict_share else {}
    return {
        "image_id": plan.image_id, "true_identity": plan.true_identity,
        "photo_width": photo.image.shape[1], "photo_height": photo.image.shape[0], **box, **values,
        "duplicate_of": duplicate_of, "caption": int(plan.caption), "unreadable": plan.unreadable,
        **conflict,
    }  # fmt: skip


# ---- collection


def draw_collection(
    folder: Path, settings: FlukeSettings, *, workers: int = 2, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """Draws a collection into `folder`, the manifest last, and returns the manifest's path.

    Args:
        folder: made when missing; a collection of the same settings in it is kept as it is.
        settings: what to draw.
        workers: number of processes; it changes nothing in the files.
        on_progress: called with the number of photos drawn and to be drawn.

    Raises:
        SettingsError: `folder` holds a collection of other settings, or `workers` is below 1.
        DiskError: a file could not be written.
    """
    if workers < 1:
        raise SettingsError(f"`workers` must be at least 1. Received: workers={workers}. Use the number of cores.")
    manifest = folder / "manifest.csv"
    if manifest.exists():
        _check_same(folder, settings)
        return manifest
    try:
        (folder / "photos").mkdir(parents=True, exist_ok=True)
        rows = _draw_all(folder, settings, workers, on_progress)
    except OSError as error:
        raise DiskError(
            f"{folder} must be a folder with room for the photos. Received: {error.strerror or error}. "
            "Free some space or give another --out."
        ) from error
    card, truth = _identity_card(settings), pd.DataFrame([truth for _, truth in rows])
    write_atomically(folder / "settings.json", lambda path: path.write_text(card, encoding="utf-8"))
    write_atomically(folder / "truth.csv", lambda path: truth.to_csv(path, index=False))
    write_atomically(manifest, lambda path: pd.DataFrame([row for row, _ in rows]).to_csv(path, index=False))
    return manifest


def _identity_card(settings: FlukeSettings) -> str:
    # Collections without conflicting names are those of before there were any, and keep their card.
    values = settings.model_dump(exclude=None if settings.conflict_share else {"conflict_share"})
    return json.dumps({"format_version": FORMAT_VERSION, **values}, indent=2) + "\n"


def _check_same(folder: Path, settings: FlukeSettings) -> None:
    card = folder / "settings.json"
    if not card.exists() or card.read_text(encoding="utf-8") != _identity_card(settings):
        raise SettingsError(
            f"{folder} must be empty or hold a collection of the same settings. Received: a manifest made otherwise. "
            "Give another --out, or delete the folder."
        )


def _draw_all(
    folder: Path, settings: FlukeSettings, workers: int, on_progress: Callable[[int, int], None] | None
) -> Rows:
    """Rows of all photos, shuffled so that their order says nothing about the animal."""
    plans = plan_collection(settings)
    rows: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for drawn in _draw_animals(settings, _by_animal(plans), folder / "photos", workers):
        rows |= {row["image_id"]: (row, truth) for row, truth in drawn}
        if on_progress is not None:
            on_progress(len(rows), len(plans))
    return [rows[image_id] for image_id in sorted(rows)]


def _by_animal(plans: list[PhotoPlan]) -> list[list[PhotoPlan]]:
    groups: dict[int, list[PhotoPlan]] = {}
    for plan in plans:
        groups.setdefault(plan.animal, []).append(plan)
    return sorted(groups.values(), key=len, reverse=True)  # long ones first: the workers end together


def _draw_animals(settings: FlukeSettings, groups: list[list[PhotoPlan]], photos: Path, workers: int) -> Iterator[Rows]:
    if workers == 1:
        yield from (_draw_animal(settings, group, photos) for group in groups)
        return
    with _one_thread_each(), ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_draw_animal, settings, group, photos) for group in groups]
        for job in as_completed(jobs):
            yield job.result()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Workers started inside compute with one thread, so that they do not fight over the cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def draw_sheet(path: Path, settings: FlukeSettings) -> None:
    """Writes a contact sheet (PNG) of 24 photos of 24 animals.

    Raises:
        DiskError: the file could not be written.
    """
    columns, rows, width, height = 6, 4, 226, 142
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for index in range(columns * rows):
        picture = _draw_sample(settings, index)
        picture.thumbnail((width - 6, height - 6), Image.Resampling.LANCZOS)
        left, top = index % columns * width, index // columns * height
        sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
    small = sheet.quantize(256)  # a third of the bytes
    write_atomically(path, lambda place: small.save(place, "PNG", optimize=True))


def _draw_sample(settings: FlukeSettings, index: int) -> Image.Image:
    identity = draw_identity(
        np.random.default_rng([settings.seed, ANIMAL, index]), texture_width=settings.texture_width
    )
    rng = np.random.default_rng([settings.seed, PHOTO, index])
    photo = draw_photo(
        identity, rng, width=settings.width, difficulty=settings.difficulty, grey=index % 10 in (1, 4, 8)
    )
    return Image.fromarray(photo.image)


# ---- command line


def _parser() -> argparse.ArgumentParser:
    parser = program_parser("flukes", "Draws a collection of humpback fluke photos.", FlukeSettings)
    parser.add_argument("--out", type=Path, metavar="DIR", help="Folder of the collection.")
    parser.add_argument("--sheet", type=Path, metavar="PATH", help="Write a contact sheet of 24 photos (PNG).")
    parser.add_argument(
        "--workers", type=int, default=2, help="Processes that draw (default 2); the files do not depend on it."
    )
    parser.add_argument("--json", action="store_true", help="Print the result as JSON.")
    return parser


def _report_progress(done: int, total: int) -> None:
    if sys.stderr.isatty() or done == total:
        print(f"\r{done} of {total} photos", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    settings = settings_from(arguments, FlukeSettings)
    if arguments.out is None and arguments.sheet is None:
        raise SettingsError("--out or --sheet must be given. Received: neither. Say where the photos go: --out DIR.")
    result: dict[str, Any] = {}
    start = time.perf_counter()
    if arguments.out is not None:
        manifest = draw_collection(arguments.out, settings, workers=arguments.workers, on_progress=_report_progress)
        result |= {"manifest": str(manifest), "photos": settings.photos}
    if arguments.sheet is not None:
        draw_sheet(arguments.sheet, settings)
        result["sheet"] = str(arguments.sheet)
    return result | {"seconds": round(time.perf_counter() - start, 1)}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 for wrong input."""
    arguments = _parser().parse_args(argv)
    return run_program(lambda: _lines(_run(arguments), as_json=arguments.json))


def _lines(result: dict[str, Any], *, as_json: bool) -> list[str]:
    return [json.dumps(result)] if as_json else [f"{name}: {value}" for name, value in result.items()]


if __name__ == "__main__":
    sys.exit(main())
