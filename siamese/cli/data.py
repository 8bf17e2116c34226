"""`siamese data`: from a folder of photos to a collection one can trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from siamese.cli.options import AsJson, Config, Recipe, Values

app = typer.Typer(help="Make, check, split, store and export a collection.", no_args_is_help=True)

Source = Annotated[Path, typer.Argument(help="A manifest, a photo folder, or a collection of another format.")]
FormatName = Annotated[str, typer.Option("--format", help="Format of the source; auto recognises it and says why.")]
Photos = Annotated[Path | None, typer.Option(help="Folder of the photos, where it is not beside the source.")]
NoPhotos = Annotated[bool, typer.Option("--no-photos", help="Read the labels alone; no photo needs to exist.")]
OutManifest = Annotated[Path, typer.Option("--out", help="Manifest CSV to write.")]


@app.command("import")
def import_collection(
    source: Source,
    out: OutManifest,
    format_name: FormatName = "auto",
    photos: Photos = None,
    boxes: Annotated[Path | None, typer.Option(help="Boxes: a CSV, or the JSON of MegaDetector.")] = None,
    keypoints: Annotated[Path | None, typer.Option(help="Key points: a CSV, or Sloth's JSON.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="Photos to leave out, one a line.")] = None,
    rotate: Annotated[Path | None, typer.Option(help="Photos to turn, one a line, with the degrees.")] = None,
    duplicate_identities: Annotated[Path | None, typer.Option(help="Names that mean one individual.")] = None,
    no_photos: NoPhotos = False,
    as_json: AsJson = False,
) -> None:
    """Read a collection of any known format and write its manifest."""
    from siamese.formats import Lists, read_collection

    lists = Lists(boxes, keypoints, exclude, rotate, duplicate_identities)
    collection = read_collection(source, format=format_name, photos=photos, check_files=not no_photos, lists=lists)
    collection.manifest.write(out)
    known = collection.manifest.identity[collection.manifest.identity != ""]
    counts = {
        "photos": len(collection.manifest),
        "individuals": len(set(known)),
        "unknown": len(collection.manifest) - len(known),
    }
    lines = [f"{collection.format}: {collection.why}", *collection.notes, f"{out}: {_counted(counts)}"]
    _answer({"format": collection.format, "why": collection.why, "notes": collection.notes, **counts}, lines, as_json)


@app.command()
def join(
    sources: Annotated[list[Path], typer.Argument(help="Collections of any known format.")],
    out: OutManifest,
    no_photos: NoPhotos = False,
) -> None:
    """Put several collections into one manifest; a check then finds what they share."""
    from siamese.formats import join_collections, read_collection

    joined = join_collections([read_collection(source, check_files=not no_photos).manifest for source in sources])
    joined.write(out)
    print(f"{out}: {len(joined)} photos")


@app.command()
def check(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder for the page, the numbers and the checked manifest.")],
    format_name: FormatName = "auto",
    photos: Photos = None,
    no_photos: NoPhotos = False,
    hashes: Annotated[Path | None, typer.Option(help="List of perceptual hashes, used without photos.")] = None,
    recipe: Recipe = None,
    config: Config = None,
    values: Values = None,
    as_json: AsJson = False,
) -> None:
    """Decode every photo, find copies, bursts and doubtful labels, and write a page about it."""
    from siamese.checks.check import check_collection
    from siamese.checks.hashes import read_hashes
    from siamese.checks.output import write_check
    from siamese.cli.progress import ConsoleListener
    from siamese.formats import read_collection
    from siamese.recipes import resolve_settings

    settings = resolve_settings(recipe, config, values or [])
    collection = read_collection(source, format=format_name, photos=photos, check_files=False)
    with ConsoleListener() as listener:
        listener.say(f"{collection.format}: {collection.why}")
        checked = check_collection(
            collection.manifest,
            settings.check,
            hashes=read_hashes(hashes) if hashes else None,
            with_photos=not no_photos,
            cache=out / "photos.csv",
            on_stage=listener.stage,
        )
        write_check(checked, out)
        listener.say(f"Page: {out / 'index.html'}. Checked manifest: {out / 'manifest.csv'}.")
    _answer(checked.findings, [finding["sentence"] for finding in checked.findings["findings"]], as_json)


@app.command()
def split(
    source: Source,
    out: OutManifest,
    no_photos: NoPhotos = False,
    recipe: Recipe = None,
    config: Config = None,
    values: Values = None,
    as_json: AsJson = False,
) -> None:
    """Divide a collection anew into training, validation and test photos; copies and bursts stay together."""
    from siamese.checks.leaks import find_leaks
    from siamese.formats import read_collection
    from siamese.recipes import resolve_settings
    from siamese.splits import with_split

    settings = resolve_settings(recipe, config, values or [])
    manifest = read_collection(source, check_files=not no_photos).manifest
    divided = with_split(manifest.with_column("split", np.full(len(manifest), "")), settings.split)
    divided.write(out)
    leaks = find_leaks(divided, disjoint=settings.split.kind == "disjoint")
    counts = {side: int((divided.column("split") == side).sum()) for side in ("train", "catalog", "validation", "test")}
    _answer({**counts, "leaks": leaks.to_dict()}, [f"{out}: {_counted(counts)}", *leaks.sentences()], as_json)


@app.command()
def leaks(
    source: Source,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with code 2 where the split leaks.")] = False,
    disjoint: Annotated[bool, typer.Option(help="No individual may stand on two sides.")] = False,
    no_photos: NoPhotos = False,
    as_json: AsJson = False,
) -> None:
    """Tell which copies, bursts, encounters and days stand on both sides of a split."""
    from siamese.checks.leaks import find_leaks
    from siamese.formats import read_collection

    report = find_leaks(read_collection(source, check_files=not no_photos).manifest, disjoint=disjoint)
    _answer(report.to_dict(), report.sentences(), as_json)
    if fail:
        report.check()


@app.command()
def store(
    source: Source,
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    plan: Annotated[int | None, typer.Option(help="Only measure what so many photos would take.", min=1)] = None,
    recipe: Recipe = None,
    config: Config = None,
    values: Values = None,
    as_json: AsJson = False,
) -> None:
    """Decode, crop and resize every photo once; an interrupted store goes on where it stood."""
    from siamese.cli.progress import ConsoleListener
    from siamese.formats import read_collection
    from siamese.recipes import resolve_settings
    from siamese.store import build_store
    from siamese.store_plan import plan_store

    settings = resolve_settings(recipe, config, values or []).preprocessing
    manifest = read_collection(source).manifest
    if plan is not None:
        planned = plan_store(manifest, out, settings, num_photos=plan)
        _answer(vars(planned), [planned.sentence()], as_json)
        return
    with ConsoleListener() as listener:
        stored = build_store(
            manifest, out, settings, on_progress=lambda done, total: listener.stage("photos", done, total)
        )
    with stored:
        counts = {"images": len(stored), "unreadable": len(manifest) - len(stored)}
    _answer({**counts, "bytes": out.stat().st_size}, [f"{out}: {_counted(counts)}"], as_json)


@app.command()
def export(
    source: Source,
    out: Annotated[Path, typer.Option(help="File or folder to write.")],
    format_name: Annotated[str, typer.Option("--format", help="wildlife_datasets, coco or folder.")],
    no_photos: NoPhotos = False,
) -> None:
    """Write a collection in another format; what is read back is the same."""
    from siamese.formats import read_collection, write_collection

    manifest = read_collection(source, check_files=not no_photos).manifest
    write_collection(manifest, out, format=format_name)
    print(f"{out}: {len(manifest)} photos")


@app.command()
def augmentations(
    photos: Annotated[Path, typer.Option(help="A manifest, a photo folder, or a collection of another format.")],
    out: Annotated[Path, typer.Option(help="Picture to write; with --preset all the folder of the pictures.")],
    preset: Annotated[
        str | None, typer.Option(help="A published system instead of the settings; all: each one.")
    ] = None,
    recipe: Recipe = None,
    config: Config = None,
    values: Values = None,
) -> None:
    """Draw what the training's random changes make of some photos, together and each one alone."""
    from siamese.cli.quiet import quiet_import
    from siamese.formats import read_collection
    from siamese.recipes import resolve_settings
    from siamese.settings import settings_from_dict
    from siamese.settings.presets import PRESETS

    settings = resolve_settings(recipe, config, values or [])
    manifest = read_collection(photos).manifest
    with quiet_import():
        from siamese.augment.examples import example_rows, sample_photos
        from siamese.report.sheets import contact_sheet

    images, names = sample_photos(manifest, settings.preprocessing, seed=settings.training.seed)
    for name in list(PRESETS) if preset == "all" else [preset]:
        policy = settings_from_dict({"augmentation": {"preset": name}}).augmentation if name else settings.augmentation
        rows = example_rows(images, names, policy, seed=settings.training.seed)
        path = out / f"{name}.png" if preset == "all" else out
        tiles = [image for row in rows for image in row.images]
        captions = [caption for row in rows for caption in (row.caption, *[""] * (len(row.images) - 1))]
        contact_sheet(path, tiles, captions, columns=len(rows[0].images))
        print(path)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _answer(numbers: dict[str, Any], lines: list[str], as_json: bool) -> None:
    print(json.dumps(numbers) if as_json else "\n".join(lines))
