"""What is known from elsewhere: names that stand for one animal, and queries whose animal is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from siamese.errors import SiameseError
from siamese.formats.duplicate_names import merged_names
from siamese.formats.tables import read_labels
from siamese.identity_scores import NEW_INDIVIDUAL, check_length
from siamese.open_scores import OpenScores
from siamese.postprocessing.places import columns_named, leaders, open_columns, places, put_first, reordered

LABEL_HEADINGS = ("Image", "Id")  # the challenge's, as in Park's list of known labels


def put_duplicates_behind(scores: OpenScores, groups: Iterable[Sequence[str]]) -> OpenScores:
    """Places the other names of the animal at rank 1 right behind it, in the order of their scores.

    Park, third place, humpback 2019: a collection that calls one animal by two names holds either for right. Where the
    new individual is at rank 1, nothing changes. Names that may not answer stay out.

    Args:
        scores: of identities and the new individual. Not changed.
        groups: names of one animal each; groups that share a name are one. Names that the catalog lacks do nothing.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.array([[0.9, 0.5, 0.1]]), np.array(["ann", "bob", "cleo"], dtype=object))
    >>> together = put_duplicates_behind(OpenScores(table, np.array([0.7])), [("cleo", "ann")])
    >>> together.rank(["q"]).identities.tolist()
    [['ann', 'cleo', 'new_individual', 'bob', '']]
    """
    code = _group_codes(scores, groups)
    first = leaders(scores, 1)[:, 0]
    queries = np.flatnonzero((first >= 0) & (code[first] >= 0))
    order = places(scores, queries)
    member = code[order] == code[first[queries]][:, None]
    member &= np.take_along_axis(open_columns(scores, queries), order, axis=1) > -np.inf
    moved = np.take_along_axis(order, np.argsort(~member, axis=1, kind="stable"), axis=1)
    return reordered(scores, queries, moved)


def put_matching_size_first(
    scores: OpenScores,
    groups: Iterable[Sequence[str]],
    *,
    catalog_identity: np.ndarray,
    catalog_sizes: np.ndarray,
    query_sizes: np.ndarray,
) -> OpenScores:
    """Chooses among the names of the animal at rank 1 by the size of the photo.

    If exactly one of them has catalog photos of the query's size, it goes first. Park, third place, humpback 2019: who
    named an animal twice scaled its photos in two ways.

    Args:
        scores: of identities and the new individual. Not changed.
        groups: as for `put_duplicates_behind`.
        catalog_identity: `(num_catalog,)` names.
        catalog_sizes: `(num_catalog, 2)` width and height of the files, pixels.
        query_sizes: `(num_queries, 2)` the same.

    Raises:
        SiameseError: there is not one size for each photo.
    """
    _check_sizes("catalog_sizes", catalog_sizes, len(catalog_identity))
    _check_sizes("query_sizes", query_sizes, len(scores.new))
    code = _group_codes(scores, groups)
    first = leaders(scores, 1)[:, 0]
    queries = np.flatnonzero((first >= 0) & (code[first] >= 0))
    column = columns_named(scores, catalog_identity)
    found = np.full(len(queries), -1)
    for index, query in enumerate(queries):
        is_as_large = np.all(catalog_sizes == query_sizes[query], axis=1)
        names = np.unique(column[is_as_large & (column >= 0) & (code[column] == code[first[query]])])
        found[index] = names[0] if len(names) == 1 else first[query]
    return put_first(scores, queries, found)


def put_known_first(scores: OpenScores, query_ids: np.ndarray, labels: Mapping[str, str]) -> OpenScores:
    """Puts the right identity first where it is known from elsewhere (Park, third place, humpback 2019).

    Args:
        scores: of identities and the new individual. Not changed.
        query_ids: `(num_queries,)` image ids.
        labels: identity of some image ids, `NEW_INDIVIDUAL` among them; ids that are not asked about do nothing.

    Raises:
        SiameseError: there is not one id per query, or the catalog lacks an identity.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.array([[0.9, 0.5]]), np.array(["ann", "bob"], dtype=object))
    >>> put_known_first(OpenScores(table, np.zeros(1)), ["q1"], {"q1": "bob"}).rank(["q1"], top_k=2).identities.tolist()
    [['bob', 'ann']]
    """
    query_ids = check_length("query_ids", query_ids, len(scores.new))
    queries = np.array([row for row, name in enumerate(query_ids) if name in labels], dtype=np.int64)
    names = [labels[name] for name in query_ids[queries]]
    columns = columns_named(scores, names)
    columns[np.array(names, dtype=object) == NEW_INDIVIDUAL] = len(scores.table.names)
    for name, query, column in zip(names, queries, columns, strict=True):
        if column < 0:
            raise SiameseError(
                f"`labels` must name identities of the catalog. Received: {name!r} for {query_ids[query]!r}. "
                f"Correct the name, or call it {NEW_INDIVIDUAL!r}."
            )
    return put_first(scores, queries, columns)


def read_known_labels(path: Path) -> dict[str, str]:
    """Reads known identities of photos.

    Args:
        path: a CSV with Image, an image id, and Id, an identity.

    Raises:
        ManifestError: the file cannot be read, or a column is missing.
    """
    table = read_labels(path, LABEL_HEADINGS)
    return dict(zip(table["Image"], table["Id"], strict=True))


def _group_codes(scores: OpenScores, groups: Iterable[Sequence[str]]) -> np.ndarray:
    """Returns `(num_identities + 1,)` a number for each column that is the same within a group; -1 outside of any."""
    head = merged_names(groups)
    code = {name: index for index, name in enumerate(sorted(set(head.values())))}
    return np.array([code[head[name]] if name in head else -1 for name in scores.table.names] + [-1])


def _check_sizes(name: str, sizes: np.ndarray, num_photos: int) -> None:
    if np.shape(sizes) != (num_photos, 2):
        raise SiameseError(
            f"`{name}` must hold width and height of each photo, shape ({num_photos}, 2). "
            f"Received: shape {np.shape(sizes)}. Give the photos in the same order."
        )
