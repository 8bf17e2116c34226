import numpy as np
import pytest

from siamese.models.comparator import Comparator
from siamese.scoring import factorise, score_matrix
from siamese.scoring.sources import ExactScores, FactorisedScores


@pytest.fixture(scope="module")
def trained():
    """A comparator with weights like trained ones, and embeddings with zeros."""
    rng = np.random.default_rng(5)
    embeddings = np.maximum(rng.normal(size=(90, 24)), 0).astype(np.float32)
    comparator = Comparator(6)
    comparator.build([embeddings.shape, embeddings.shape])
    comparator.set_weights([rng.normal(size=weight.shape) for weight in comparator.get_weights()])
    return comparator, embeddings


@pytest.mark.parametrize("form", ["exact", "factorised"])
def test_tiles_blocks_and_pairs_give_the_scores_of_the_whole_matrix(form, trained):
    comparator, embeddings = trained
    whole = score_matrix(comparator, embeddings)
    if form == "exact":
        source, error = ExactScores(comparator, embeddings), 1e-4
    else:
        found = factorise(comparator, embeddings, max_error=0.01)
        source, error = FactorisedScores(found, embeddings), 0.2 * found.spread
    seen = np.full(whole.shape, np.nan)
    for tile in source.tiles():
        seen[tile.rows, tile.columns] = tile.scores
    upper = np.triu_indices(len(embeddings), k=1)
    assert np.abs(seen[upper] - whole[upper]).max() < error
    index = np.array([7, 80, 3, 41])
    symmetric = np.where(np.tri(len(seen), k=-1), seen.T, seen)
    assert source.within(index) == pytest.approx(symmetric[np.ix_(index, index)], abs=1e-3)
    assert source.pairs(*upper) == pytest.approx(seen[upper], abs=1e-3)
