"""How good a ranking is: retrieval, open set, intervals, groups, comparisons and plain baselines.

Every function here works alone, on arrays. Those that judge take what is right first and what was said second, as in
scikit-learn, and agree with it where it has the same metric.

- Pairs of photos: `roc_curve`, `roc_auc`, `equal_error_rate`, `tar_at_far`; `read_pair_scores` for a whole matrix.
- Order of a ranking: `cmc`, `first_ranks`, `share_found`, `average_precision` (mAP is its mean), `average_precision_at`
  (MAP@5 is its mean).
- First answers: `balanced_accuracy`, `baks`, `baus`, `animalclef_score`, `normalised_accuracy`, `confusion_table`.
- Known or new: `auc_new`, `threshold_curve`.
- Probabilities: `log_loss`, `log_losses`, `expected_calibration_error`, `reliability`.
- Boxes and landmarks: `box_iou`, `box_diagonals`, `landmark_distances`, `share_within`.
- Intervals over individuals: `interval` of `mean_of`, `balanced_mean_of`, `auc_of` or `calibration_error_of` with the
  counts of `draw_individuals`; `group_table` for groups of queries.
- Two models or steps on the same photos: `compare_values`, `compare_evaluations`, `compare_steps`, `ranking_steps`.
- Everything at once: `evaluate`, then `measure_all` and `cmc_table`; `evaluation_tables` and `write_tables` for files.

Example:
>>> import numpy as np
>>> from siamese.evaluation import average_precision_at, balanced_accuracy
>>> float(average_precision_at(["ann"], np.array([["bob", "ann"]], dtype=object)).mean())
0.5
>>> balanced_accuracy(["ann", "ann", "bob"], ["ann", "bob", "bob"])
0.75
"""

from siamese.evaluation.accuracy import (
    animalclef_score,
    baks,
    balanced_accuracy,
    baus,
    confusion_table,
    normalised_accuracy,
)
from siamese.evaluation.baselines import chance_map5, pixel_scores, plain_baselines
from siamese.evaluation.bootstrap import (
    Interval,
    Measure,
    auc_of,
    balanced_mean_of,
    calibration_error_of,
    draw_individuals,
    individual_codes,
    interval,
    mean_of,
)
from siamese.evaluation.comparison import Comparison, compare_evaluations, compare_steps, compare_values, decision_steps
from siamese.evaluation.evaluate import Evaluation, evaluate
from siamese.evaluation.groups import day_groups, days_to_nearest, group_table, photo_groups, quarters
from siamese.evaluation.localisation import box_diagonals, box_iou, landmark_distances, share_within
from siamese.evaluation.measures import accept_rates, cmc_table, measure_all
from siamese.evaluation.openset import auc_new, threshold_curve
from siamese.evaluation.output import EvaluationTables, evaluation_tables, write_tables
from siamese.evaluation.pair_scores import PairCounts, PairScores, read_pair_scores
from siamese.evaluation.probability import expected_calibration_error, log_loss, log_losses, reliability
from siamese.evaluation.ranking_steps import answer_values, ranking_steps
from siamese.evaluation.retrieval import average_precision, average_precision_at, cmc, first_ranks, share_found
from siamese.evaluation.verification import AcceptRate, Roc, equal_error_rate, roc_auc, roc_curve, tar_at_far

__all__ = [
    "AcceptRate",
    "Comparison",
    "Evaluation",
    "EvaluationTables",
    "Interval",
    "Measure",
    "PairCounts",
    "PairScores",
    "Roc",
    "accept_rates",
    "animalclef_score",
    "answer_values",
    "auc_new",
    "auc_of",
    "average_precision",
    "average_precision_at",
    "baks",
    "balanced_accuracy",
    "balanced_mean_of",
    "baus",
    "box_diagonals",
    "box_iou",
    "calibration_error_of",
    "chance_map5",
    "cmc",
    "cmc_table",
    "compare_evaluations",
    "compare_steps",
    "compare_values",
    "confusion_table",
    "day_groups",
    "days_to_nearest",
    "decision_steps",
    "draw_individuals",
    "equal_error_rate",
    "evaluate",
    "evaluation_tables",
    "expected_calibration_error",
    "first_ranks",
    "group_table",
    "individual_codes",
    "interval",
    "landmark_distances",
    "log_loss",
    "log_losses",
    "mean_of",
    "measure_all",
    "normalised_accuracy",
    "photo_groups",
    "pixel_scores",
    "plain_baselines",
    "quarters",
    "ranking_steps",
    "read_pair_scores",
    "reliability",
    "roc_auc",
    "roc_curve",
    "share_found",
    "share_within",
    "tar_at_far",
    "threshold_curve",
    "write_tables",
]
