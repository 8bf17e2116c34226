"""What a person should look at: animals taken for one another, hubs, doubtful names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from siamese.checks.findings import counted
from siamese.evaluation.evaluate import Evaluation
from siamese.report.page import Row, Section, Tile, rows_html, table_html

SHOWN_PAIRS, SHOWN_HUBS, SHOWN_DOUBTS, SHOWN_QUERIES = 6, 6, 8, 4
Address = Callable[[int], str]


def confused_pairs(evaluation: Evaluation) -> pd.DataFrame:
    """Lists pairs of known animals of which one was the most similar to a photo of the other; new ones left aside.

    Args:
        evaluation: of `evaluate`.

    Returns:
        Columns identity, other (both names, in their order), num_queries and query (index of the one with the highest
        wrong score); the most frequent pair first, then the highest score.
    """
    queries = evaluation.queries
    wrong = np.flatnonzero(evaluation.is_known & (queries["best_identity"] != queries["identity"]).to_numpy())
    names = queries.loc[wrong, ["identity", "best_identity"]].to_numpy(dtype=object)
    table = pd.DataFrame(np.sort(names.astype(str), axis=1), columns=["identity", "other"])
    table = table.assign(query=wrong, score=queries["best_score"].to_numpy()[wrong])
    table = table.sort_values("score", ascending=False, kind="stable")
    pairs = table.groupby(["identity", "other"], sort=True).agg(
        num_queries=("query", "size"), query=("query", "first"), score=("score", "first")
    )
    pairs = pairs.reset_index().sort_values(["num_queries", "score"], ascending=False, kind="stable")
    return pairs.drop(columns="score").reset_index(drop=True)


def confusion_section(pairs: pd.DataFrame, row_of: Callable[[int], Row]) -> Section:
    """Shows the animals that are taken for one another most often.

    Args:
        pairs: of `confused_pairs`.
        row_of: makes the row of a query: the photo, the wrong match and the best photo of the right animal.
    """
    rows = []
    for pair in pairs.head(SHOWN_PAIRS).itertuples(index=False):
        shown = row_of(pair.query)
        heading = f"{pair.identity} and {pair.other}: {counted(pair.num_queries, 'photo')}"
        rows.append(Row(shown.tiles, heading, shown.note))
    explanation = (
        f"{counted(len(pairs), 'pair')} of known animals where a photo of one was nearest to the other, the most "
        "frequent first. Each row shows the photo, the wrong match, and the best photo of the right animal."
    )
    return Section("Animals taken for one another", explanation, (rows_html(rows),))


def hubs_section(
    hubs: pd.DataFrame,
    answers: pd.DataFrame,
    catalog_tile: Callable[[int], Tile],
    queries_of: Callable[[int], tuple[Tile, ...]],
) -> Section:
    """Shows the catalog photos that answer for too many other animals, and who is named most often.

    Args:
        hubs: of `find_hubs`.
        answers: of `answers_table`.
        catalog_tile: makes the tile of a catalog row.
        queries_of: makes tiles of photos of other animals that a catalog row was nearest to.
    """
    rows = [
        Row(
            (catalog_tile(hub.row), *queries_of(hub.row)[:SHOWN_QUERIES]),
            f"Nearest to {hub.num_wrong} photos of other animals; chance would make it {hub.expected:.2f}",
        )
        for hub in hubs.head(SHOWN_HUBS).itertuples(index=False)
    ]
    if rows:
        found = f"{counted(len(hubs), 'such photo was', 'such photos were')} found; the first of each row is the hub."
    else:
        found = "None was found."
    explanation = (
        "A hub is a catalog photo that is nearest to far more photos of other animals than chance allows, often "
        f"because it is blurred, small or shows little of the pattern. {found} Look whether it should stay in the "
        "catalog."
    )
    return Section("Hubs, and who is named", explanation, (rows_html(rows), table_html(answers, "First answers")))


def doubts_section(doubts: pd.DataFrame, num_compared: int, tile: Callable[[int], Tile]) -> Section:
    """Shows photos that may carry the wrong name.

    Args:
        doubts: of `doubtful_names`.
        num_compared: photos that were compared with one another.
        tile: makes the tile of a photo among those compared.
    """
    rows = [
        Row((tile(doubt.row), tile(doubt.other_row)), _doubt_words(doubt))
        for doubt in doubts.head(SHOWN_DOUBTS).itertuples(index=False)
    ]
    number = counted(len(doubts), "pair was", "pairs were") if len(doubts) else "No pair was"
    explanation = (
        f"{number} found among {counted(num_compared, 'photo')} with a name: two photos under different names, each "
        "the other's nearest beyond its own name and, by its score, probably the same animal, while one of them is far "
        "from the photos of its own name or is the only one. Wrong names in the training part are harder to see, "
        "because the model learned them. A person must decide."
    )
    return Section("Names to check", explanation, (rows_html(rows),) if rows else ())


def _doubt_words(doubt: object) -> str:
    identity, other, score = (getattr(doubt, name) for name in ("identity", "other_identity", "other_score"))
    if getattr(doubt, "kind", "") == "alone":
        return f"The only photo of {identity} may show {other}: score {score:.2f}"
    own = getattr(doubt, "own_score", float("nan"))
    return f"A photo named {identity} may show {other}: score {score:.2f}, with its own name {own:.2f}"
