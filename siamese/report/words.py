"""What the numbers of an evaluation say, in words a biologist reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from siamese.checks.findings import counted, percent

TABLE_NAMES = {
    "model": "this model",
    "untrained": "untrained encoder",
    "nearest_pixels": "nearest pixels",
    "always_new": "always new individual",
    "chance": "chance",
}
FEW = 30  # queries under which a share is told to be rough
KINDS = {"known": "animals in the catalog", "new": "animals that the catalog does not hold"}
TABLE_COLUMNS = ("map5", "map5_known", "map5_closed", "top1", "top5", "auc_new")


def comparison_table(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the model and its baselines in the order of `TABLE_NAMES`, with the metrics that one of them has.

    Example:
    >>> metrics = {"map5": 0.9, "map5_known": 0.8, "baselines": {"chance": {"map5": 0.1, "map5_known": 0.1}}}
    >>> print(comparison_table(metrics).to_string(index=False))
        method  map5  map5_known
    this model   0.9         0.8
        chance   0.1         0.1
    """
    rows = {"model": metrics, **metrics.get("baselines", {})}
    order = [*(name for name in TABLE_NAMES if name in rows), *(name for name in rows if name not in TABLE_NAMES)]
    columns = [column for column in TABLE_COLUMNS if any(column in row for row in rows.values())]
    table: dict[str, list[Any]] = {"method": [TABLE_NAMES.get(name, name.replace("_", " ")) for name in order]}
    for column in columns:
        table[column] = [_number(rows[name].get(column)) for name in order]
    return pd.DataFrame(table)


def summary(metrics: Mapping[str, Any]) -> str:
    """Returns in plain words what was asked, how often the answers are right, and what the split leaks.

    What was not measured is left out.
    """
    sentences = [
        _asked(metrics),
        _found(metrics),
        _new_said(metrics),
        _overall(metrics),
        *metrics.get("leaks", {}).get("sentences", ()),
        *metrics.get("warnings", ()),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def plain_summary(table: pd.DataFrame, metrics: Mapping[str, Any]) -> str:
    """Returns one paragraph for a reader who knows the animals and not the measures.

    Args:
        table: of `measures.measure_all`: columns metric, value, low, high and num.
        metrics: the evaluation's counts, and `baselines` as far as they were measured.
    """
    rows = table.set_index("metric")
    found = _joined(
        "Of 100 photos of animals in the catalog, ",
        _of_hundred(rows, "top1", "the animal found most alike was the right one for {}{}"),
        _of_hundred(rows, "top5", "the right one was among the five most alike for {}{}"),
    )
    called_new = _joined(
        "Where no animal is alike enough it answers new individual: ",
        _of_hundred(rows, "new_found", "rightly for {} of 100 photos of animals that the catalog does not hold{}"),
        _of_hundred(rows, "known_called_new", "by mistake for {} of 100 photos of animals that it holds{}"),
    )
    right = _joined("All in all ", _of_hundred(rows, "first_right", "the first answer was right for {} of 100{}"))
    sentences = (_asked_plainly(metrics), found, called_new, right, _by_pixels(metrics))
    return " ".join(sentence for sentence in sentences if sentence)


def cautions(table: pd.DataFrame, metrics: Mapping[str, Any]) -> list[str]:
    """Returns sentences about what the model cannot do, the same for every reader.

    Args:
        table: as for `plain_summary`.
        metrics: likewise.
    """
    sentences = [
        f"It names only the {metrics['num_identities']:,} animals of its catalog. Every other animal is called new, or "
        "gets a wrong name.",
        "Its figures hold for photos like those it was asked about. Another place, camera, season or species needs its "
        "own test.",
        "A name is a proposal with a score. Where it matters, let a person who knows the animals compare the photos.",
    ]
    sizes = table.drop_duplicates("of").set_index("of")["num"]
    return sentences + [_rough(kind, int(sizes[f"{kind} queries"])) for kind in KINDS if sizes[f"{kind} queries"] < FEW]


def _rough(kind: str, num: int) -> str:
    if num:
        return f"It was asked about only {counted(num, 'photo')} of {KINDS[kind]}: what is said of them is rough."
    return f"It was asked about no photo of {KINDS[kind]}: how well it does there is not known."


def _joined(start: str, *parts: str) -> str:
    """Returns a sentence of the parts that there are, "" without any."""
    there = [part for part in parts if part]
    return f"{start}{', and '.join(there)}." if there else ""


def _of_hundred(rows: pd.DataFrame, metric: str, words: str) -> str:
    """Puts a share and its interval into words; an interval without width says nothing: the draws knew no failure."""
    if metric not in rows.index or not math.isfinite(rows.at[metric, "value"]):
        return ""
    value, low, high = (float(rows.at[metric, name]) for name in ("value", "low", "high"))
    between = f" (95 % interval: {_hundredths(low)} to {_hundredths(high)})" if low < high else ""
    return words.format(_hundredths(value), between)


def _hundredths(share: float) -> str:
    """Rounds a share to hundredths, never to a false none or all.

    >>> [_hundredths(share) for share in (0.0, 0.004, 0.934, 0.997, 1.0)]
    ['0', 'under 1', '93', 'over 99', '100']
    """
    return percent(share, 1).removesuffix(" %")


def _asked_plainly(metrics: Mapping[str, Any]) -> str:
    known, new = metrics["num_known"], metrics["num_new"]
    if known and new:
        whose = f"{known:,} of animals in its catalog, {new:,} of others"
    else:
        whose = "all of animals in its catalog" if known else "none of an animal in its catalog"
    return (
        f"The model was asked who is on {counted(metrics['num_queries'], 'photo')} that took no part in its training: "
        f"{whose}. The catalog holds {counted(metrics['num_identities'], 'animal')}."
    )


def _by_pixels(metrics: Mapping[str, Any]) -> str:
    pixels = metrics.get("baselines", {}).get("nearest_pixels", {})
    if not _measured(pixels, "top1"):
        return ""
    return f"Comparing the pixels alone would have found the right animal for {_hundredths(pixels['top1'])} of 100."


def _asked(metrics: Mapping[str, Any]) -> str:
    if "num_queries" not in metrics:
        return ""
    left_out = metrics.get("num_unanswerable", 0)
    sentence = (
        f"Asked were {metrics['num_queries']} photos that took no part in training: {metrics['num_known']} of "
        f"individuals in the catalog (which holds {metrics['num_identities']}) and {metrics['num_new']} of new ones."
    )
    if left_out:
        sentence += f" {left_out} more were not counted, because no photo of their individual was allowed to answer."
    return sentence


def _found(metrics: Mapping[str, Any]) -> str:
    if not _measured(metrics, "top1", "top5"):
        return ""
    return (
        f"Among the catalog's individuals, the right one stands first for {metrics['top1']:.1%} of the photos of known "
        f"ones and among the first five for {metrics['top5']:.1%}."
    )


def _new_said(metrics: Mapping[str, Any]) -> str:
    sentences = []
    if _measured(metrics, "threshold"):
        sentences.append(f'A best score under {metrics["threshold"]:.3f} is answered "new individual".')
    if _measured(metrics, "new_found"):
        sentences.append(f"That was said of {metrics['new_found']:.1%} of the photos of new individuals, rightly.")
    if _measured(metrics, "known_called_new"):
        sentences.append(f"It was said of {metrics['known_called_new']:.1%} of the photos of known ones, wrongly.")
    return " ".join(sentences)


def _overall(metrics: Mapping[str, Any]) -> str:
    sentences = []
    if _measured(metrics, "first_right"):
        sentences.append(f"Over all photos the first answer is right for {metrics['first_right']:.1%}.")
    known = f" ({metrics['map5_known']:.3f} over known individuals)" if _measured(metrics, "map5_known") else ""
    if _measured(metrics, "map5"):
        sentences.append(f"MAP@5 is {metrics['map5']:.3f}{known}.")
    if _measured(metrics, "auc_new"):
        sentences.append(
            f"Of a known and a new individual's photo, the known one's has the higher best score in "
            f"{metrics['auc_new']:.1%} of all pairs."
        )
    return " ".join(sentences)


def _measured(metrics: Mapping[str, Any], *names: str) -> bool:
    return all(math.isfinite(_number(metrics.get(name))) for name in names)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
