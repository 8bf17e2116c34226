"""What winners did to a table of scores after the network: each step goes from open scores to open scores."""

from siamese.postprocessing.balance import fit_balance_gap, swap_for_balance
from siamese.postprocessing.known import (
    put_duplicates_behind,
    put_known_first,
    put_matching_size_first,
    read_known_labels,
)
from siamese.postprocessing.predictions import Predictions, count_predictions
from siamese.postprocessing.sharpening import num_photos, photo_prior, sharpen
from siamese.postprocessing.temperature import fit_temperature, with_temperature
from siamese.postprocessing.transposed import (
    NearestQueries,
    fit_singletons,
    fit_transposed,
    nearest_queries,
    put_singletons_first,
    swap_transposed,
)

__all__ = [
    "NearestQueries",
    "Predictions",
    "count_predictions",
    "fit_balance_gap",
    "fit_singletons",
    "fit_temperature",
    "fit_transposed",
    "nearest_queries",
    "num_photos",
    "photo_prior",
    "put_duplicates_behind",
    "put_known_first",
    "put_matching_size_first",
    "put_singletons_first",
    "read_known_labels",
    "sharpen",
    "swap_for_balance",
    "swap_transposed",
    "with_temperature",
]
