"""A run trained under other settings of the ranking uses them everywhere."""

import numpy as np
import pytest

import siamese
from siamese.examination import examine_run
from siamese.pipeline import train
from siamese.settings import RankingSettings


@pytest.mark.parametrize(
    "ranking",
    [
        {"identity_score": {"rule": "robust_centroid"}},
        {"views": {"turns": ["flip"], "draws": 1}},
        {"reranking": {"neighbours": 3}, "identity_score": {"rule": "mean"}},
    ],
)
def test_training_evaluation_and_matcher_rank_alike(small_collection, tiny_settings, tmp_path, listener, ranking):
    settings = tiny_settings.model_copy(update={"ranking": RankingSettings.model_validate(ranking)})
    metrics = train(small_collection, settings, tmp_path / "run", listener)
    found = examine_run(tmp_path / "run").evaluation
    assert found.metrics["map5"] == pytest.approx(metrics["map5"])
    matcher = siamese.load(tmp_path / "run" / "model")
    catalog = matcher.catalog(tmp_path / "run" / "catalog")
    assert catalog.views == matcher.views.names
    queries = [small_collection / f"{image_id}.jpg" for image_id in found.ranking.query_ids]
    ranking = matcher.rank(queries, catalog)
    assert np.array_equal(ranking.identities, found.ranking.identities)
