"""The submissions that `siamese rank --format` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from siamese.catalog import Catalog
    from siamese.matcher import Matcher
    from siamese.ranking import Ranking


def checked_submission(
    matcher: Matcher, queries: Path, known: Catalog, ranking: Ranking, name: str, sample: Path | None
) -> pd.DataFrame:
    """Makes a submission of a ranking and checks it against the catalog's names and the challenge's sample.

    Args:
        matcher: made the ranking.
        queries: what was ranked.
        known: the catalog.
        ranking: of the queries.
        name: of the format.
        sample: the challenge's sample submission; None where there is none.

    Returns:
        The table, in the order of the sample.

    Raises:
        SiameseError: the challenge would not take it; the sentence says why.
    """
    from siamese.submissions import FORMATS, check_submission, in_order, read_submission, submission_table

    form = FORMATS[name]
    table = _clusters(matcher, queries, known, ranking, name) if form.grouped else submission_table(ranking, form)
    example = None if sample is None else read_submission(sample)
    check_submission(table, form, names=known.identity, sample=example)
    return table if example is None else in_order(table, example)


def _clusters(matcher: Matcher, queries: Path, known: Catalog, ranking: Ranking, name: str) -> pd.DataFrame:
    from siamese.formats import read_collection
    from siamese.submissions import FORMATS, cluster_table

    asked = matcher.catalog(queries)
    photos = read_collection(queries).manifest
    dataset = pd.Series(photos.column("dataset"), index=photos.image_ids).reindex(ranking.query_ids).fillna("")
    threshold = matcher.decision.at(len(known.names)).threshold
    return cluster_table(ranking, matcher.score(asked, asked), dataset.to_numpy(dtype=object), threshold, FORMATS[name])
