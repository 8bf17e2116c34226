"""Studies of a trained run: what K does to it, and which unknown photos it can name for the next training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from siamese.answers import rank_catalog
from siamese.catalog import Catalog
from siamese.collection import Collection, training_images_of
from siamese.errors import ManifestError, SiameseError, StoreError
from siamese.formats import read_collection
from siamese.manifest import Manifest, read_manifest
from siamese.matcher import Matcher, load
from siamese.models.pair_model import build_pair_model
from siamese.noise_study import NOISES, noise_study
from siamese.pseudo_labels import (
    ASKED_SPLITS,
    PSEUDO_LABEL,
    PseudoLabels,
    best_named,
    check_alike,
    check_outside,
    fit_cut,
    may_be_labelled,
    propose_labels,
    with_pseudo_labels,
)
from siamese.ranking import Ranking
from siamese.run_folder import SETTINGS
from siamese.scoring import Embedder
from siamese.settings import PhaseSettings, Settings, read_settings
from siamese.store import open_store
from siamese.training import OnProgress, Trainer
from siamese.training_state import STATE, load_state, read_fingerprint

WITHOUT_VALIDATION: dict[str, Any] = {"validate_every": None, "early_stop": None}  # a study has no rounds to judge
ANSWERS = 3  # of each query: two identities beside the new individual


def study_noise(
    folder: Path,
    noises: Sequence[float] = NOISES,
    *,
    seeds: int = 1,
    on_stage: OnProgress = lambda stage, done, total: None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Compares K from where a run stands: its weights, its optimiser, the rate and the penalty of its last round.

    The run folder stays as it is.

    Args:
        folder: the run folder, finished or not.
        noises: the K to compare.
        seeds: number of epochs for each K.
        on_stage: called with (stage, done, all) within an epoch.
        on_progress: called with the number of epochs done and of all.

    Returns:
        The table of `noise_study`.

    Raises:
        SiameseError: the folder holds no training with a finished round, or one of another version; or a K is under 0.
    """
    settings = read_settings(folder / SETTINGS)
    with _open_collection(folder, settings) as collection:
        trainer, phase = _load_trainer(folder, settings, collection, on_stage)
        return noise_study(trainer, noises, phase=phase, seeds=seeds, on_progress=on_progress)


def study_pseudo_labels(folder: Path, *, precision: float, queries: Path | None = None) -> PseudoLabels:
    """Names unknown photos by a run's model, as far as answers like these were right often enough in its validation.

    The known photos of training and catalog answer both the validation photos and those to be named, whatever the
    protocol of the run's evaluation: what is measured is what is done. The run folder stays as it is.

    Args:
        folder: the run folder, finished.
        precision: wanted share of right names; see `fit_cut`.
        queries: a manifest or a folder of photos from outside the run; those that have an identity are not asked about.
            None takes the run's own unknown photos of training and catalog.

    Raises:
        SiameseError: no cut reaches the precision, there is nothing to ask about, the photos are unlike the
            validation's (see `check_alike`), the folder holds no finished run, or a photo from outside is in the run.
    """
    settings = read_settings(folder / SETTINGS)
    manifest = read_manifest(folder / "manifest.csv", check_files=False)
    outside = None if queries is None else _unknown_photos(queries, manifest)
    with _open_collection(folder, settings) as collection:
        rows = np.array([], dtype=int) if outside else _own_queries(collection.manifest, folder)
        matcher = load(folder / "model")
        sides = (*_known_and_validation(collection), rows)
        known, validation, own = _embedded(matcher, collection, sides)
    asked = own if outside is None else matcher.catalog(outside)
    answers = best_named(_ranked(matcher, validation, known))
    right = answers["identity"].to_numpy() == validation.identity
    cut = fit_cut(answers["score"].to_numpy(), right & (validation.identity != ""), precision=precision)
    table = propose_labels(_ranked(matcher, asked, known), cut.score)
    check_alike(len(table), len(asked), cut)
    new_share = float(np.mean(~np.isin(validation.identity, known.identity)))
    return PseudoLabels(cut, table, len(asked), new_share, with_pseudo_labels(manifest, table, outside=outside))


def _open_collection(folder: Path, settings: Settings) -> Collection:
    """Opens what a run stored; its photos need not be there any more."""
    manifest = read_manifest(folder / "manifest.csv", check_files=False)
    store = open_store(folder / "store.h5", settings.preprocessing)
    chosen = manifest.select(np.isin(manifest.image_ids, store.image_ids))
    if not np.array_equal(chosen.image_ids, store.image_ids):
        store.close()
        raise StoreError(
            f"{store.path}: the image store must be that of {folder / 'manifest.csv'}. Train this run anew."
        )
    return Collection(chosen, store)


def _load_trainer(
    folder: Path, settings: Settings, collection: Collection, on_stage: OnProgress
) -> tuple[Trainer, PhaseSettings]:
    """Returns the trainer as the last round left it, and that round's phase with its learning rate."""
    model = build_pair_model(settings)
    training = settings.training.model_copy(update=WITHOUT_VALIDATION)
    trainer = Trainer(model, training_images_of(collection, settings), training, on_stage)
    try:
        records, _ = load_state(folder, model, read_fingerprint(folder))
        last = records[-1]
        phase = settings.training.schedule[last.phase - 1]
    except SiameseError:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise SiameseError(
            f"{folder / STATE}: the state must be that of {folder / 'settings.yaml'}. Received: that of another "
            "model or version. Take the settings that the run was started with, or train it anew."
        ) from error
    return trainer, phase.model_copy(update={"learning_rate": last.learning_rate})


def _unknown_photos(queries: Path, manifest: Manifest) -> Manifest:
    outside = read_collection(queries).manifest
    outside = outside.select(outside.identity == "")
    if not len(outside):
        raise ManifestError(f"{queries}: there must be photos of unknown individuals. Received: none. Give others.")
    check_outside(manifest, outside)
    return outside


def _own_queries(manifest: Manifest, folder: Path) -> np.ndarray:
    """Returns the rows of the run's unknown photos that are no queries of its evaluation."""
    if (manifest.column(PSEUDO_LABEL) == "true").any():
        raise ManifestError(
            f"{folder}: a run that trained with pseudo-labels may name photos from outside alone. Received: its own. "
            "Those it was left with are the harder ones, so that fewer names would be right than its validation "
            "promises. Give new photos as queries, or take the run before."
        )
    rows = np.flatnonzero(may_be_labelled(manifest))
    if not len(rows):
        raise ManifestError(
            f"{folder / 'manifest.csv'}: there must be photos of unknown individuals with the split "
            f"{' or '.join(ASKED_SPLITS)}. Received: none. Give photos from outside as queries."
        )
    return rows


def _known_and_validation(collection: Collection) -> tuple[np.ndarray, np.ndarray]:
    known = np.isin(collection.split, ASKED_SPLITS) & collection.is_known
    return np.flatnonzero(known), np.flatnonzero(collection.split == "validation")


def _embedded(matcher: Matcher, collection: Collection, sides: Sequence[np.ndarray]) -> list[Catalog]:
    """Embeds the photos of some rows at a time."""
    everything = np.concatenate(sides)
    embedder = Embedder(matcher.model.encoder)
    embeddings = embedder.embed(lambda index: collection.store.read(everything[index]), len(everything))
    names = (collection.manifest.image_ids[everything], collection.identity[everything], embeddings)
    whole = Catalog(*names, matcher.fingerprint)
    ends = np.cumsum([len(rows) for rows in sides])
    return [whole.select(slice(end - len(rows), end)) for rows, end in zip(sides, ends, strict=True)]


def _ranked(matcher: Matcher, asked: Catalog, known: Catalog) -> Ranking:
    return rank_catalog(matcher.model.comparator, asked, known, matcher.decision, top_k=ANSWERS)
