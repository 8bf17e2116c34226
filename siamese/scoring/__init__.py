"""Embeds many images; scores queries against a catalog: exactly, factorised, or by a two-stage search."""

from siamese.scoring.consumers import Allowed, Best, BestColumns, Tile, best_of_tiles, mirrored, write_matrix
from siamese.scoring.embedder import Embedder, Read
from siamese.scoring.factorised import FactorisedComparator, factorise
from siamese.scoring.index import FirstStage, FirstStageName, open_first_stage
from siamese.scoring.search import Search, sample_both, search
from siamese.scoring.tiles import TILE, reference_scores, score_matrix, score_pairs, score_tiles, top_k, write_scores

__all__ = [
    "TILE",
    "Allowed",
    "Best",
    "BestColumns",
    "Embedder",
    "FactorisedComparator",
    "FirstStage",
    "FirstStageName",
    "Read",
    "Search",
    "Tile",
    "best_of_tiles",
    "factorise",
    "mirrored",
    "open_first_stage",
    "reference_scores",
    "sample_both",
    "score_matrix",
    "score_pairs",
    "score_tiles",
    "search",
    "top_k",
    "write_matrix",
    "write_scores",
]
