"""A model is judged: its decision is fitted on validation photos, its answers to the test photos are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.catalog import Catalog
from siamese.collection import Collection, Side, embed_photos
from siamese.decision import Decision, fit_decision, num_answering
from siamese.evaluation.baselines import pixel_scores, plain_baselines
from siamese.evaluation.evaluate import Evaluation, evaluate
from siamese.identity_scorer import score_identities
from siamese.identity_scores import IdentityScores
from siamese.models.pair_model import PairModel, build_pair_model
from siamese.scoring import Embedder
from siamese.settings import ProtocolSettings, Settings
from siamese.views import PhotoViews, mean_scores


@dataclass(frozen=True)
class Judgement:
    """A decision fitted on validation queries and what it did to the test queries."""

    decision: Decision
    evaluation: Evaluation
    protocols: dict[str, dict[str, Any]]
    side: Side


def judge(
    collection: Collection,
    settings: Settings,
    score: Callable[[Side], np.ndarray],
    identify: Callable[[Side, np.ndarray], IdentityScores | None] = lambda side, allowed: None,
) -> Judgement:
    """Fits the decision on the validation photos and evaluates the test photos, under every protocol.

    Args:
        collection: photos with their split.
        settings: the protocols.
        score: gives the scores `(num_queries, num_catalog)` of a side.
        identify: gives the scores of the identities, from a side and what may answer what; None where the best photo
            decides.
    """
    validation, test = (collection.side(split, settings) for split in ("validation", "test"))
    validation_scores, test_scores = score(validation), score(test)

    def under(protocol: ProtocolSettings, decision_protocol: ProtocolSettings) -> tuple[Decision, Evaluation]:
        may = collection.allowed(validation, decision_protocol)
        decision = fit_decision(
            validation_scores,
            collection.identity[validation.catalog],
            collection.identity[validation.queries],
            allowed=may,
            table=identify(validation, may),
            settings=settings.decision,
        )
        allowed = collection.allowed(test, protocol)
        return decision, evaluate(
            test_scores,
            collection.identity[test.catalog],
            collection.identity[test.queries],
            query_ids=collection.manifest.image_ids[test.queries],
            decision=decision.at(num_answering(collection.identity[test.catalog], allowed)),
            allowed=allowed,
            table=identify(test, allowed),
            top_k=settings.evaluation.top_k,
        )

    decision, evaluation = under(settings.evaluation, settings.evaluation)
    further = {name: under(protocol, protocol)[1].metrics for name, protocol in settings.evaluation.protocols.items()}
    return Judgement(decision, evaluation, further, test)


def judge_model(model: PairModel, collection: Collection, settings: Settings, embeddings: np.ndarray) -> Judgement:
    """Judges a model by the embeddings of all photos, under the ranking that the settings ask for.

    Args:
        model: with the comparator that scores.
        collection: photos with their split.
        settings: ranking, decision and protocols.
        embeddings: `(num_images, num_views * embed_dim)`, of `embed_photos`. Not changed.
    """
    views = PhotoViews(settings.ranking.views, settings.augmentation).names

    def catalogs(side: Side) -> tuple[Catalog, Catalog]:
        sides = (side.queries, side.catalog)
        asked, known = (collection.catalog(rows, embeddings[rows], views=views) for rows in sides)
        return asked, known

    def score(side: Side) -> np.ndarray:
        asked, known = catalogs(side)
        return mean_scores(model.comparator, asked.embeddings, known.embeddings, num_views=len(views))

    def identify(side: Side, allowed: np.ndarray) -> IdentityScores | None:
        if settings.ranking.best_photo_decides:
            return None
        return score_identities(model.comparator, *catalogs(side), settings.ranking, allowed=allowed)

    return judge(collection, settings, score, identify)


def judge_baselines(collection: Collection, settings: Settings, evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Measures nearest pixels and the untrained encoder the same way, and works out chance and always-new.

    Args:
        collection: photos with their split.
        settings: of the training; the untrained encoder has the same shape.
        evaluation: of the trained model, for the two that need no scores.

    Returns:
        Metrics by name, as in `evaluate`.
    """
    read = collection.store.read
    pixels = judge(collection, settings, lambda side: pixel_scores(read(side.queries), read(side.catalog)))
    untrained = build_pair_model(settings)
    everything = np.arange(len(collection.store))
    embeddings = embed_photos(Embedder(untrained.encoder), collection, settings, everything)
    blank = judge_model(untrained, collection, settings, embeddings)
    measured = {"nearest_pixels": pixels.evaluation.metrics, "untrained": blank.evaluation.metrics}
    return {**plain_baselines(evaluation), **measured}
