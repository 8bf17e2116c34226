"""Submissions: rankings in the formats of the public challenges, checked before they are written."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from siamese.errors import SiameseError
from siamese.ranking import NEW_INDIVIDUAL, Ranking

CLUSTER = r"cluster_.+_\d+"


@dataclass(frozen=True)
class SubmissionFormat:
    """How a challenge wants its answers.

    Attributes:
        name: as `siamese rank --format` knows it.
        id_column: heading of the image ids.
        answer_column: heading of the answers.
        num_answers: answers in a row, separated by spaces.
        new_individual: the answer for a new individual; "" where photos are grouped and not named.
        ending: of an image id, which is a file name; "" where it is not.
        source: name of the Kaggle competition whose format it is.
    """

    name: str
    id_column: str
    answer_column: str
    num_answers: int
    new_individual: str
    ending: str
    source: str

    @property
    def grouped(self) -> bool:
        """Whether photos are grouped and not named."""
        return not self.new_individual

    def image_ids(self, image_ids: Iterable[str]) -> list[str]:
        """Returns image ids as the challenge writes them: as file names where it wants these."""
        return [str(name) if str(name).endswith(self.ending) else f"{name}{self.ending}" for name in image_ids]

    def spelled(self, name: str) -> str:
        """Returns a name without spaces where these stand between answers."""
        return str(name).replace(" ", "_") if self.num_answers > 1 else str(name)

    def answers(self, cell: str) -> list[str]:
        """Returns the answers in a cell."""
        return str(cell).split(" ") if self.num_answers > 1 else [str(cell)]


FORMATS = {
    form.name: form
    for form in (
        SubmissionFormat("humpback", "Image", "Id", 5, "new_whale", ".jpg", "humpback-whale-identification"),
        SubmissionFormat("happywhale", "image", "predictions", 5, NEW_INDIVIDUAL, ".jpg", "happy-whale-and-dolphin"),
        SubmissionFormat("animalclef2025", "image_id", "identity", 1, NEW_INDIVIDUAL, "", "animal-clef-2025"),
        SubmissionFormat("animalclef2026", "image_id", "cluster", 1, "", "", "animal-clef-2026"),
    )
}  # fmt: skip


def submission_table(ranking: Ranking, form: SubmissionFormat) -> pd.DataFrame:
    """Returns a ranking as a challenge wants it, not checked yet.

    Args:
        ranking: at least as long as the format asks for.
        form: one of `FORMATS` that names individuals.

    Raises:
        SiameseError: the format wants groups, see `cluster_table`.

    Example:
    >>> rows = np.array([["w_1", "new_individual"]], dtype=object)
    >>> ranking = Ranking(np.array(["a"], dtype=object), rows, *(np.zeros((1, 2)),) * 3)
    >>> submission_table(ranking, FORMATS["humpback"]).values.tolist()
    [['a.jpg', 'w_1 new_whale']]
    """
    if form.grouped:
        raise SiameseError(f"The format {form.name} must be given groups. Received: names. Use `cluster_table`.")
    names = {NEW_INDIVIDUAL: form.new_individual}
    rows = ranking.first(form.num_answers).identities
    answers = [" ".join(form.spelled(names.get(name, name)) for name in row if name) for row in rows]
    ids = form.image_ids(ranking.query_ids)
    return pd.DataFrame({form.id_column: ids, form.answer_column: np.array(answers, dtype=object)})


def cluster_table(
    ranking: Ranking, scores: np.ndarray, dataset: np.ndarray, threshold: float, form: SubmissionFormat
) -> pd.DataFrame:
    """Groups photos by animal: those with one name are one group, the others are grouped by their scores.

    Photos called new are joined by average linkage while their mean score reaches the threshold. The number of a group
    says nothing; groups of different data sets never join.

    Args:
        ranking: its first answers are the names.
        scores: `(num_queries, num_queries)` scores of the queries with one another, symmetric. Not changed.
        dataset: `(num_queries,)` data set of each query.
        threshold: mean score from which two groups are one animal.
        form: the format of AnimalCLEF 2026.

    Raises:
        SiameseError: a query has no data set, or the shapes do not fit.
    """
    if np.shape(scores) != (len(ranking), len(ranking)) or len(dataset) != len(ranking):
        raise SiameseError(
            f"`scores` and `dataset` must belong to {len(ranking)} queries. Received: scores of shape "
            f"{np.shape(scores)}, {len(dataset)} data sets. Give them in the order of the ranking."
        )
    if (dataset == "").any():
        query = ranking.query_ids[np.flatnonzero(dataset == "")[0]]
        raise SiameseError(
            f"Every query must have a data set. Received: none for {query}. Add the column `dataset` to the queries."
        )
    group = np.array([f"known {name}" for name in ranking.identities[:, 0]], dtype=object)
    for name in np.unique(dataset.astype(str)):
        new = np.flatnonzero((dataset == name) & np.isin(ranking.identities[:, 0], ["", NEW_INDIVIDUAL]))
        group[new] = [f"new {number}" for number in _linked(scores[np.ix_(new, new)], threshold)]
    labels = pd.Series(list(zip(dataset, group, strict=True)), dtype=object)
    number = labels.groupby(pd.Series(dataset), sort=False).transform(lambda rows: pd.factorize(rows)[0])
    clusters = [f"cluster_{name}_{place}" for name, place in zip(dataset, number, strict=True)]
    return pd.DataFrame({form.id_column: form.image_ids(ranking.query_ids), form.answer_column: clusters})


def _linked(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the group of each photo by average linkage."""
    if len(scores) < 2:
        return np.zeros(len(scores), dtype=int)
    highest = max(float(scores.max()), threshold)
    distances = highest - (scores + scores.T).astype(np.float64) / 2
    np.fill_diagonal(distances, 0)
    return fcluster(linkage(squareform(distances, checks=False), "average"), highest - threshold, "distance")


def check_submission(
    table: pd.DataFrame, form: SubmissionFormat, names: Iterable[str] | None = None, sample: pd.DataFrame | None = None
) -> None:
    """Refuses a table that the challenge would refuse, or would count as wrong.

    Args:
        table: of `submission_table` or `cluster_table`, or read from a file as text.
        form: one of `FORMATS`.
        names: individuals that may be named; the new one is known. None looks at no name.
        sample: the challenge's sample submission, which holds the image ids asked for; none looks at no id.

    Raises:
        SiameseError: a column is missing, image ids are missing, unknown or repeated, or an answer is empty, repeated,
            unknown or one too many or too few; the sentence names the first.
    """
    wanted = [form.id_column, form.answer_column]
    if list(table.columns) != wanted:
        raise SiameseError(
            f"A submission to {form.name} must have the columns {', '.join(wanted)}. "
            f"Received: {', '.join(map(str, table.columns))}. {_remedy(form)}"
        )
    _check_ids(table[form.id_column], form, sample)
    for check in _answer_checks(form, None if names is None else _spelled(names, form)):
        for row, (image_id, answer) in enumerate(zip(*(table[name] for name in wanted), strict=True)):
            if fault := check(form.answers(answer)):
                raise SiameseError(f"Row {row + 2}, {image_id}: {fault} Received: {answer!r}. {_remedy(form)}")


def _remedy(form: SubmissionFormat) -> str:
    number = f" and --top-k {form.num_answers} or more" if form.num_answers > 1 else ""
    return f"Make it with `siamese rank --format {form.name}`{number}."


def _spelled(names: Iterable[str], form: SubmissionFormat) -> set[str]:
    """Returns what may stand in a cell."""
    different = sorted({str(name) for name in names} - {""})
    spelled = pd.Series([form.spelled(name) for name in different], dtype=object)
    if spelled.duplicated().any():
        raise SiameseError(
            f"Names must differ also where spaces are written as underscores. Received: two that become "
            f"{spelled[spelled.duplicated()].iloc[0]}. Rename one of them."
        )
    return {*spelled, form.new_individual}


def _check_ids(image_ids: pd.Series, form: SubmissionFormat, sample: pd.DataFrame | None) -> None:
    given = image_ids.astype(str)
    if given.duplicated().any():
        raise SiameseError(
            f"Every image id must stand in a submission once. Received: {given[given.duplicated()].iloc[0]} twice. "
            "Rank every photo once."
        )
    if sample is None:
        return
    if form.id_column not in sample:
        raise SiameseError(
            f"The sample submission must have the column {form.id_column}. Received: {list(sample.columns)}. "
            f"Give the sample of {form.name}."
        )
    asked = sample[form.id_column].astype(str)
    for some, others, what in ((asked, given, "lacks"), (given, asked, "has, beyond the sample,")):
        odd = some[~some.isin(others)]
        if len(odd):
            raise SiameseError(
                f"A submission must hold the image ids of the sample. Received: one that {what} {len(odd)} ids, such "
                f"as {odd.iloc[0]}. Rank the photos of the sample, no others, and mend those that cannot be read."
            )


def _answer_checks(form: SubmissionFormat, known: set[str] | None) -> list[Callable[[list[str]], str]]:
    """Returns what to ask of each row's answers; each gives a sentence, or "" where all is well."""
    if form.grouped:
        return [_is_cluster]
    number = form.num_answers if known is None else min(form.num_answers, len(known))

    def has_number(answers: list[str]) -> str:
        wanted = f"there must be {number} {'answer' if number == 1 else 'answers'} separated by spaces"
        return "" if len(answers) == number and all(answers) else f"{wanted}, none of them empty."

    def is_once(answers: list[str]) -> str:
        return "" if len(set(answers)) == len(answers) else "every answer must stand once."

    def is_known(answers: list[str]) -> str:
        unknown = [name for name in answers if known is not None and name not in known]
        return f"every answer must be an individual of the catalog or {form.new_individual}." if unknown else ""

    return [has_number, is_once, is_known]


def _is_cluster(answers: list[str]) -> str:
    good = len(answers) == 1 and pd.Series(answers).str.fullmatch(CLUSTER).all()
    return "" if good else "the answer must be a group, written cluster_DATASET_NUMBER."


def read_submission(path: Path) -> pd.DataFrame:
    """Reads a submission or a sample, every cell as text; a file that ends in `.gz` is unpacked.

    Raises:
        SiameseError: the file is missing or is no CSV.
    """
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise SiameseError(f"{path}: there must be a CSV. Received: {error}. Give the challenge's file.") from error


def in_order(table: pd.DataFrame, sample: pd.DataFrame) -> pd.DataFrame:
    """Returns a checked table in the order of the sample.

    Args:
        table: as `check_submission` passed it with this sample. Not changed.
        sample: the challenge's sample submission.
    """
    name = table.columns[0]
    return table.set_index(table[name].astype(str)).loc[sample[name].astype(str)].reset_index(drop=True)
