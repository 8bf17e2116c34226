"""The main job: a collection becomes a trained model folder and a report."""

from __future__ import annotations

import hashlib
import json
import resource
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from siamese.augment import turn_images
from siamese.checks.check import check_collection
from siamese.checks.leaks import find_leaks
from siamese.collection import INSPECTION, Collection, embed_photos, existing_column, training_images_of
from siamese.drift import fit_drift
from siamese.errors import ManifestError, SiameseError, StoreError
from siamese.evaluation.measures import measure_all
from siamese.formats import read_collection
from siamese.judging import Judgement, judge_baselines, judge_model
from siamese.manifest import Manifest
from siamese.matcher import model_fingerprint, preprocessing_fingerprint
from siamese.models.encoder import collection_statistics, set_collection_statistics
from siamese.models.pair_model import PairModel, build_pair_model
from siamese.models.replicas import accelerators, replicated
from siamese.models.storage import StoredModel, load_model, save_model
from siamese.pseudo_labels import PSEUDO_LABEL
from siamese.report.card import card_text
from siamese.report.files import write_report
from siamese.report.sheets import sample_queries, sheet_rows
from siamese.report.words import comparison_table, summary
from siamese.run_folder import held
from siamese.schedules import rounds_of
from siamese.scoring import Embedder
from siamese.settings import PhaseSettings, Settings
from siamese.splits import check_trainable, has_split, with_split
from siamese.store import build_store, nothing_readable, photos_fingerprint
from siamese.training import Trainer
from siamese.training_state import Record, check_state
from siamese.validation import Validation
from siamese.views import PhotoViews

TOLD_APART = ("leak", "unreadable")  # findings that a training tells in its own words
CHECKED_COLUMNS = ("duplicate_group", "burst")
QUERY_SIDES = ("validation", "test")
SPLITS = ("train", "catalog", "validation", "test")
FINAL_CARD = (
    "# Model card\n\nTrained on with all named photos, those of validation and test too, so nothing is left to measure "
    "it on. Its decision, thresholds and metrics are those of the model in `../../model`, from which it went on.\n"
)
UNDECISIVE: Any = {  # no weight depends on these settings
    "ranking": True,
    "decision": True,
    "evaluation": True,
    "check": {"workers", "max_seconds", "worst_photos"},
}


class Listener(Protocol):
    """What shows a run while it works."""

    def stage(self, name: str, done: int, total: int) -> None:
        """Is told how far a stage is."""

    def say(self, sentence: str) -> None:
        """Is told a sentence worth a line."""

    def round(self, record: Record, num_rounds: int) -> None:
        """Is told of a finished round."""


def train(source: Path, settings: Settings, folder: Path, listener: Listener) -> dict[str, Any]:
    """Runs the main job; in a folder where it was interrupted it goes on.

    Args:
        source: manifest CSV or photo folder.
        settings: all stages.
        folder: the run folder; gets settings.yaml, manifest.csv, store.h5, history.csv, model/, catalog/ and report/.
        listener: shows the progress.

    Returns:
        The metrics, as in `report/metrics.json`.

    Raises:
        SiameseError: the input cannot be trained on; the sentence says what to do.
    """
    start = time.perf_counter()
    given = read_collection(source).manifest
    _check_settings(given, settings)
    with replicated(accelerators() if settings.training.devices == "all" else ()):
        model = build_pair_model(settings)
    fingerprint = _fingerprint(settings, photos_fingerprint(given, settings.preprocessing), given)
    check_state(folder, fingerprint)
    with held(folder, source=source, settings=settings):
        checked = _checked(given, settings, folder, listener)
        _check_splits(checked.manifest, settings)
        told = _tell(checked, settings, listener)
        with _collect(checked, settings, folder, listener) as collection:
            history = _fit(collection, model, settings, folder, fingerprint, listener)
            metrics = _finish(collection, told, model, settings, folder, history, listener, start)
            if settings.training.final_rounds:
                _fit_on_all(collection, model, settings, folder, fingerprint, listener)
            return metrics


def _fit(
    collection: Collection, model: PairModel, settings: Settings, folder: Path, fingerprint: str, listener: Listener
) -> pd.DataFrame:
    """Trains, and returns the history of the rounds."""
    images = training_images_of(collection, settings)
    if settings.encoder.normalisation == "collection":
        set_collection_statistics(model.encoder, *collection_statistics(images.read, len(images)))
    validate = _validation(collection, model, settings) if settings.training.validate_every else None
    trainer = Trainer(model, images, settings.training, listener.stage, validate)
    num_rounds = sum(phase.rounds for phase in settings.training.schedule)
    return trainer.train(folder, fingerprint=fingerprint, on_round=lambda record: listener.round(record, num_rounds))


def _fit_on_all(
    collection: Collection, model: PairModel, settings: Settings, folder: Path, fingerprint: str, listener: Listener
) -> None:
    """Trains on with all named photos, and writes a second model and catalog to `final/` (deepsense.io 2015).

    Nothing is left to measure that model on: its decision is the evaluated model's, and its card says so.
    """
    listener.say("Training on with all named photos, those of validation and test too.")
    last = rounds_of(settings.training.schedule)[-1]
    phase = PhaseSettings(
        rounds=settings.training.final_rounds,
        epochs_per_round=last.epochs,
        learning_rate=settings.training.final_learning_rate,
        rate="cosine",
        noise=last.noise,
        l2=last.l2,
    )
    rules = {"plateau": None, "adaptive_noise": None, "early_stop": None, "validate_every": None, "averaging": "none"}
    training = settings.training.model_copy(update={"schedule": (phase,), **rules})
    images = training_images_of(collection, settings, SPLITS)
    trainer = Trainer(model, images, training, listener.stage)
    final = folder / "final"
    trainer.train(final, fingerprint=fingerprint, on_round=lambda record: listener.round(record, phase.rounds))
    evaluated = load_model(folder / "model")
    # What validation photos look like is told by embeddings, and these are another model's now.
    stored = replace(evaluated, encoder=model.encoder, comparator=model.comparator, drift={})
    save_model(final / "model", stored, card_text=FINAL_CARD)
    embeddings = _embed(model, collection, settings, listener)
    _save_catalog(collection, settings, embeddings, collection.is_known, final)


def _validation(collection: Collection, model: PairModel, settings: Settings) -> Validation:
    side = collection.side("validation", settings)
    side = replace(side, queries=side.queries[collection.truth(side) != ""])  # no other has a right answer
    allowed = collection.allowed(side, settings.evaluation)
    return Validation(model, collection.store.read, side.queries, side.catalog, collection.identity, allowed)


@dataclass(frozen=True)
class Checked:
    """A collection that was looked at and divided.

    Attributes:
        manifest: with a split.
        unreadable: reasons of the photos that cannot be read, by image id.
        warnings: sentences about what spoils results.
    """

    manifest: Manifest
    unreadable: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def _checked(manifest: Manifest, settings: Settings, folder: Path, listener: Listener) -> Checked:
    """Looks for copies and bursts unless that was done, and divides the collection where it is not divided."""
    if set(CHECKED_COLUMNS) <= set(manifest.table.columns):
        return Checked(with_split(manifest, settings.split))
    check = check_collection(manifest, settings.check, cache=folder / INSPECTION, on_stage=listener.stage)
    if not check.readable.any():
        raise StoreError(nothing_readable(len(manifest), next(iter(check.unreadable.values()))))
    marked = check.manifest
    if has_split(manifest):  # copies stay where the split put them, and are told as leaks
        conflicting = marked.column("use") == "catalog"
        marked = marked.with_column("use", np.where(conflicting, "catalog", manifest.column("use")))
    serious = [finding for finding in check.findings["findings"] if finding["level"] == "serious"]
    return Checked(
        with_split(marked, settings.split, unreadable=check.unreadable),
        check.unreadable,
        tuple(finding["sentence"] for finding in serious if not finding["kind"].startswith(TOLD_APART)),
    )


def _tell(checked: Checked, settings: Settings, listener: Listener) -> dict[str, Any]:
    """Tells what spoils results before they are made, and returns it for the report.

    Raises:
        LeakError: the split leaks, and the settings refuse that.
    """
    disjoint = settings.evaluation.catalog == "leave_one_out"
    leaks = find_leaks(checked.manifest, disjoint=disjoint, must_differ=settings.evaluation.must_differ)
    for sentence in (*checked.warnings, *leaks.sentences()):
        listener.say(sentence)
    if settings.split.leaks == "refuse":
        leaks.check()
    return {"warnings": list(checked.warnings), "leaks": {**leaks.to_dict(), "sentences": leaks.sentences()}}


def _check_splits(manifest: Manifest, settings: Settings) -> None:
    split = manifest.column("split")
    unknown = sorted(set(split) - set(SPLITS))
    if unknown:
        raise ManifestError(
            f"`split` must be one of {', '.join(SPLITS)} in every row. Received: {unknown[0]!r}. Correct the column."
        )
    for needed in ("train", "validation", "test"):
        if not (split == needed).any():
            raise ManifestError(
                f"The collection must have photos with split `{needed}`. Received: none. "
                "Leave the `split` column out to have it drawn, or give more photos."
            )
    if (np.isin(split, QUERY_SIDES) & (manifest.column(PSEUDO_LABEL) == "true")).any():
        raise ManifestError(
            "A pseudo-label must train, never be asked about: nobody knows whether it is right. Received: one in the "
            f"split {' or '.join(QUERY_SIDES)}. Take the split of the manifest that `siamese study` wrote."
        )
    check_trainable(manifest.identity[split == "train"], min_photos=settings.training.min_photos)


def _check_settings(manifest: Manifest, settings: Settings) -> None:
    """Finds out before anything is done what would stop the training, or the evaluation after it."""
    if has_split(manifest):
        _check_splits(manifest, settings)
    else:
        check_trainable(manifest.identity, min_photos=settings.training.min_photos)
    for protocol in (settings.evaluation, *settings.evaluation.protocols.values()):
        for column in (*settings.training.positives_share, *protocol.must_share, *protocol.must_differ):
            existing_column(manifest, column)
    images = settings.preprocessing
    for turn in settings.augmentation.new_identities:
        turn_images(np.zeros((1, images.height, images.width, images.channels), np.uint8), turn)


def _collect(checked: Checked, settings: Settings, folder: Path, listener: Listener) -> Collection:
    manifest = checked.manifest
    manifest.write(folder / "manifest.csv")
    store = build_store(
        manifest,
        folder / "store.h5",
        settings.preprocessing,
        unreadable=checked.unreadable,
        on_progress=lambda done, total: listener.stage("photos", done, total),
    )
    readable = np.isin(manifest.image_ids, store.image_ids)
    if not readable.all():
        listener.say(
            f"{np.sum(~readable)} of {len(manifest)} photos could not be read; {folder / 'quarantine.csv'} says why."
        )
    collection = Collection(manifest.select(readable), store)
    check_trainable(collection.identity[collection.split == "train"], min_photos=settings.training.min_photos)
    return collection


def _fingerprint(settings: Settings, photos: str, manifest: Manifest) -> str:
    """Hashes what decides a training: its settings, the photos, and who is where."""
    by_validation = settings.training.validate_every is not None  # then its protocol decides too
    undecisive = {name: value for name, value in UNDECISIVE.items() if name != "evaluation" or not by_validation}
    parts = [settings.model_dump_json(exclude=undecisive), photos]
    parts += [",".join(manifest.column(name)) for name in ("identity", "split", *settings.training.positives_share)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _finish(
    collection: Collection,
    told: dict[str, Any],
    model: PairModel,
    settings: Settings,
    folder: Path,
    history: pd.DataFrame,
    listener: Listener,
    start: float,
) -> dict[str, Any]:
    """Evaluates the trained model and writes model folder, catalog and report."""
    embeddings = _embed(model, collection, settings, listener)
    judged = judge_model(model, collection, settings, embeddings)
    metrics = {**judged.evaluation.metrics, "protocols": judged.protocols, "error_name": settings.evaluation.error_name}
    metrics |= told
    listener.say("Measuring the baselines: nearest pixels and the untrained encoder.")
    metrics["baselines"] = judge_baselines(collection, settings, judged.evaluation)
    metrics["num_rounds"], metrics["num_encoded"] = len(history), int(history["num_encoded"].sum())
    metrics["seconds_training"] = float(history.filter(like="seconds_").to_numpy().sum())
    metrics["num_quarantined"] = len(pd.read_csv(folder / "quarantine.csv")) if _has_rows(folder) else 0
    metrics["peak_memory_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    metrics["seconds"] = time.perf_counter() - start
    _keep_model(collection, model, settings, folder, judged, metrics, embeddings)
    _report(collection, settings, folder, judged, metrics, history)
    return metrics


def _has_rows(folder: Path) -> bool:
    place = folder / "quarantine.csv"
    return place.is_file() and place.stat().st_size > 0


def _keep_model(
    collection: Collection,
    model: PairModel,
    settings: Settings,
    folder: Path,
    judged: Judgement,
    metrics: dict[str, Any],
    embeddings: np.ndarray,
) -> None:
    card = {"data": collection.store.fingerprint, "metrics": json.loads(json.dumps(metrics, default=float))}
    bound = judged.decision.under(preprocessing_fingerprint(settings.preprocessing))
    drift = _drift_sketch(collection, embeddings)
    stored = StoredModel(model.encoder, model.comparator, settings, bound.to_dict(), card, drift)
    text = card_text(
        identity=collection.identity,
        split=collection.split,
        fingerprint=collection.store.fingerprint,
        settings=settings,
        decision=bound.to_dict(),
        table=measure_all(judged.evaluation),
        metrics=metrics,
    )
    save_model(folder / "model", stored, card_text=text)
    _save_catalog(collection, settings, embeddings, collection.is_known & (collection.split != "test"), folder)


def _save_catalog(
    collection: Collection, settings: Settings, embeddings: np.ndarray, may_answer: np.ndarray, folder: Path
) -> None:
    """Writes `catalog/` beside the model that stands in a folder."""
    rows, views = np.flatnonzero(may_answer), PhotoViews(settings.ranking.views, settings.augmentation).names
    made_by = model_fingerprint(folder / "model")
    collection.catalog(rows, embeddings[rows], views=views, model=made_by).save(folder / "catalog")


def _embed(model: PairModel, collection: Collection, settings: Settings, listener: Listener) -> np.ndarray:
    def tell(done: int, total: int) -> None:
        listener.stage("embed", done, total)

    everything = np.arange(len(collection.store))
    return embed_photos(Embedder(model.encoder), collection, settings, everything, on_progress=tell)


def _drift_sketch(collection: Collection, embeddings: np.ndarray) -> dict[str, Any]:
    """Returns what the validation photos look like; {} where they are too few to tell."""
    rows = np.flatnonzero(collection.split == "validation")
    read, identity = collection.store.read, collection.identity[rows]
    try:
        sketch = fit_drift(embeddings[rows], lambda index: read(rows[index]), identity)
    except SiameseError:
        return {}
    return sketch.to_dict()


def _report(
    collection: Collection,
    settings: Settings,
    folder: Path,
    judged: Judgement,
    metrics: dict[str, Any],
    history: pd.DataFrame,
) -> None:
    read, side = collection.store.read, judged.side
    rng = np.random.default_rng(settings.training.seed)
    catalog_ids = collection.manifest.image_ids[side.catalog]
    rows = sheet_rows(
        judged.evaluation,
        sample_queries(judged.evaluation, settings.evaluation.sheet_queries, rng=rng),
        query_images=lambda index: read(side.queries[index]),
        catalog_images=lambda index: read(side.catalog[index]),
        catalog_ids=catalog_ids,
    )
    write_report(
        folder / "report",
        evaluation=judged.evaluation,
        metrics=metrics,
        history=history,
        sheet_rows=rows,
        catalog_ids=catalog_ids,
    )


def result_lines(metrics: dict[str, Any]) -> str:
    """Returns the closing table and sentences of a run."""
    lines = [comparison_table(metrics).to_string(index=False, float_format="%.3f", na_rep="-"), "", summary(metrics)]
    if metrics["num_known"]:
        lines.append(f"{metrics['error_name']}: {1 - metrics['top1']:.1%}")
    else:
        lines.append(
            "No test photo of a known individual may be answered: this collection cannot tell how well it works."
        )
    for name, numbers in metrics["protocols"].items():
        lines.append(
            f"protocol {name}: top-1 {numbers['top1']:.1%}, top-5 {numbers['top5']:.1%}, MAP@5 "
            f"{numbers['map5_closed']:.3f} over {numbers['num_known']} queries"
        )
    return "\n".join(lines)
