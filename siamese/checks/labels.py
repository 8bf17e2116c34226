"""Labels: what copies and look-alike photos tell about the names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from siamese.checks.hashes import hamming_distance, hashes_from_text, near_pair_blocks
from siamese.manifest import Manifest

Names = list[frozenset[str]]
SUSPECT_COLUMNS = ("identity_a", "identity_b", "evidence", "bits", "num_pairs", "photo_a", "photo_b")
SAME_PHOTO, SAME_MOMENT, ALIKE = EVIDENCE = ("copies of one photo", "photos of one moment", "photos almost alike")
# Hashes of different animals meet by chance, the more the larger the collection: among the 15,697 named photos of the
# humpback challenge 21 pairs of names are this near and 2,212 within 6 bits, none of them on its list of double names.
ALIKE_BITS = 2
MAX_NAMES = 30  # a photo under more names is a placeholder or a blank, which says nothing about each pair of them


@dataclass(frozen=True, eq=False)
class LabelCheck:
    """What copies tell about the rows of a manifest.

    Attributes:
        use: `(num_rows,)` text for the column `use`: conflicting rows are `catalog`, spare copies `nothing`, what the
            manifest left out stays left out.
        conflicting: `(num_rows,)` bools; the photo, or a copy of it, has another set of names.
        spare: `(num_rows,)` bools; a better copy of the photo is kept.
        kept: `(num_files,)` bools; False for spare copies.
        named_by_copy: columns image_id and names: unknown photos of which a copy has a name, or several.
    """

    use: np.ndarray
    conflicting: np.ndarray
    spare: np.ndarray
    kept: np.ndarray
    named_by_copy: pd.DataFrame


def check_labels(manifest: Manifest, file: np.ndarray, group: np.ndarray, area: np.ndarray) -> LabelCheck:
    """Compares the names of copies: row A3 and A4 of the humpback kernel, with unknown individuals told apart.

    Copies conflict if they do not name the same set of known individuals; a copy without any name does not conflict.
    Several rows of one file are several animals if their boxes differ, and a conflict if not. Of copies that agree,
    the largest with a name is kept, the first among equals. Rows with `use` = nothing take no part.

    Args:
        manifest: the rows. Not changed.
        file: `(num_rows,)` index of the photo file of each row.
        group: `(num_files,)` codes of copies, -1 for a file without copies.
        area: `(num_files,)` pixels of each file.

    Example:
    >>> from siamese.manifest import from_table
    >>> table = pd.DataFrame({"image_id": list("abc"), "path": list("abc"), "identity": ["Mara", "Tano", "Zuri"]})
    >>> rows = from_table(table, ".", check_files=False)
    >>> check_labels(rows, np.arange(3), np.array([0, 0, -1]), np.full(3, 100)).use
    array(['catalog', 'catalog', ''], dtype=object)
    """
    use, identity = manifest.column("use"), manifest.identity
    counted = use != "nothing"
    unit = np.where(group >= 0, group, group.max(initial=-1) + 1 + np.arange(len(group)))
    names = names_of_files(identity, file, counted, len(group))
    in_conflict = _conflicting_units(unit, names) | {unit[place] for place in _named_twice(manifest, file, counted)}
    conflicting = counted & np.isin(unit[file], np.array(sorted(in_conflict), dtype=int))
    there = np.isin(np.arange(len(group)), file[counted])
    kept = _kept_files(unit, names, area, there) | ~there | np.isin(unit, np.array(sorted(in_conflict), dtype=int))
    spare = counted & ~kept[file]
    return LabelCheck(
        use=np.where(conflicting, "catalog", np.where(spare, "nothing", use)).astype(object),
        conflicting=conflicting,
        spare=spare,
        kept=kept,
        named_by_copy=_named_by_copy(manifest.image_ids, counted, file, unit, names),
    )


def two_name_suspects(
    image_ids: np.ndarray, names: Names, group: np.ndarray, burst: np.ndarray, phash: np.ndarray
) -> pd.DataFrame:
    """Lists pairs of names that may be one animal: copies, photos of one moment, or photos almost alike carry both.

    Two files say something about a pair of names if each has one of them that the other lacks.

    Args:
        image_ids: `(num_files,)` the image id that stands for each file.
        names: the known individuals of each file.
        group: `(num_files,)` codes of copies, -1 for a file without copies.
        burst: `(num_files,)` codes of photos taken within seconds that look alike, whatever their names; -1 for others.
        phash: `(num_files,)` perceptual hashes as text, "" where there is none.

    Returns:
        One row for each pair of names, the surest first: identity_a < identity_b, evidence (`SAME_PHOTO`, `SAME_MOMENT`
        or `ALIKE`), bits (in which the hashes of the two photos differ), num_pairs (pairs of files that were linked),
        photo_a and photo_b (image ids of the nearest).
    """
    sets = {of_file: code for code, of_file in enumerate(dict.fromkeys(names))}
    code = np.array([sets[of_file] for of_file in names], dtype=int)
    hashed = np.flatnonzero(np.array([bool(of_file) for of_file in names], dtype=bool) & (phash != ""))
    links = [
        _grouped(names, group, phash).assign(evidence=SAME_PHOTO),
        _grouped(names, burst, phash).assign(evidence=SAME_MOMENT),
        *(block.assign(evidence=ALIKE) for block in _alike(hashed, hashes_from_text(phash[hashed]), code)),
    ]
    return _pairs_of_names(pd.concat(links, ignore_index=True), code, image_ids, names)


def names_of_files(identity: np.ndarray, file: np.ndarray, counted: np.ndarray, num_files: int) -> Names:
    """Known individuals of each file.

    Args:
        identity: `(num_rows,)` names, "" for an unknown individual.
        file: `(num_rows,)` index of the file of each row.
        counted: `(num_rows,)` bools; other rows are passed over.
        num_files: number of files.
    """
    names: list[set[str]] = [set() for _ in range(num_files)]
    for name, place in zip(identity[counted], file[counted], strict=True):
        if name:
            names[place].add(name)
    return [frozenset(of_file) for of_file in names]


def _conflicting_units(unit: np.ndarray, names: Names) -> set[int]:
    found: dict[int, set[frozenset[str]]] = defaultdict(set)
    for place, of_file in zip(unit, names, strict=True):
        if of_file:
            found[place].add(of_file)
    return {place for place, sets in found.items() if len(sets) > 1}


def _named_twice(manifest: Manifest, file: np.ndarray, counted: np.ndarray) -> set[int]:
    """Files that give one box, or the whole photo, two names."""
    found: dict[tuple[int, bytes], set[str]] = defaultdict(set)
    boxes, identity = manifest.boxes, manifest.identity
    for row in np.flatnonzero(counted & (identity != "") & (np.bincount(file)[file] > 1)):
        found[file[row], boxes[row].tobytes()].add(identity[row])
    return {place for (place, _), of_box in found.items() if len(of_box) > 1}


def _kept_files(unit: np.ndarray, names: Names, area: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The best file of each unit: one that is there, with a name, with the largest area, the first in the manifest."""
    nameless = np.array([not of_file for of_file in names], dtype=bool)
    order = np.lexsort((np.arange(len(unit)), -area, nameless, ~there))
    _, first = np.unique(unit[order], return_index=True)
    kept = np.zeros(len(unit), dtype=bool)
    kept[order[first]] = True
    return kept


def _named_by_copy(
    image_ids: np.ndarray, counted: np.ndarray, file: np.ndarray, unit: np.ndarray, names: Names
) -> pd.DataFrame:
    of_unit: dict[int, set[str]] = defaultdict(set)
    for place, of_file in zip(unit, names, strict=True):
        of_unit[place] |= of_file
    nameless = [row for row in np.flatnonzero(counted) if not names[file[row]] and of_unit[unit[file[row]]]]
    told = [", ".join(sorted(of_unit[unit[file[row]]])) for row in nameless]
    return pd.DataFrame({"image_id": image_ids[nameless], "names": told}, dtype=object)


def _grouped(names: Names, group: np.ndarray, phash: np.ndarray) -> pd.DataFrame:
    """Links one file of each set of names with one of each other set, group by group."""
    first: dict[int, dict[frozenset[str], int]] = defaultdict(dict)
    for place in np.flatnonzero(group >= 0).tolist():
        if names[place]:
            first[group[place]].setdefault(names[place], place)
    links = [
        pair
        for files in first.values()
        if len(frozenset().union(*files)) <= MAX_NAMES
        for pair in combinations(files.values(), 2)
    ]
    left, right = np.array(links, dtype=int).reshape(-1, 2).T
    bits = hamming_distance(hashes_from_text(phash[left]), hashes_from_text(phash[right])).astype(int)
    return pd.DataFrame({"left": left, "right": right, "bits": bits, "num_pairs": 1})


def _alike(hashed: np.ndarray, values: np.ndarray, code: np.ndarray) -> Iterator[pd.DataFrame]:
    """Links files of other names whose hashes are near, one for each pair of hashes and of sets of names."""
    unique, hash_index = np.unique(values, return_inverse=True)
    cells = pd.DataFrame({"hash": hash_index, "code": code[hashed], "file": hashed})
    cells = cells.groupby(["hash", "code"])["file"].agg(["first", "size"]).reset_index()
    cells = cells[cells.groupby("hash")["code"].transform("size") <= MAX_NAMES]
    equal = np.repeat(np.arange(len(unique))[:, None], 2, axis=1)
    for pairs in (equal, *near_pair_blocks(unique, ALIKE_BITS)):
        bits = hamming_distance(unique[pairs[:, 0]], unique[pairs[:, 1]]).astype(int)
        links = pd.DataFrame({"hash_a": pairs[:, 0], "hash_b": pairs[:, 1], "bits": bits})
        links = links.merge(cells.add_suffix("_a"), on="hash_a").merge(cells.add_suffix("_b"), on="hash_b")
        links = links[(links["code_a"] < links["code_b"]) | ((links["code_a"] > links["code_b"]) & (links["bits"] > 0))]
        links = links.assign(num_pairs=links["size_a"] * links["size_b"])
        yield links.rename(columns={"first_a": "left", "first_b": "right"})[["left", "right", "bits", "num_pairs"]]


def _pairs_of_names(links: pd.DataFrame, code: np.ndarray, image_ids: np.ndarray, names: Names) -> pd.DataFrame:
    codes = np.sort(code[links[["left", "right"]].to_numpy(dtype=int)], axis=1)
    links = links.assign(a=codes[:, 0], b=codes[:, 1], order=links["evidence"].map(EVIDENCE.index))
    links = links.sort_values(["order", "bits"], kind="stable")
    links["num_pairs"] = links.groupby(["a", "b"])["num_pairs"].transform("sum")
    rows = [
        (*pair, link.evidence, link.bits, link.num_pairs, *photos)
        for link in links.drop_duplicates(["a", "b"]).itertuples()
        for *pair, photos in _named_apart(link.left, link.right, names, image_ids)
    ]
    table = pd.DataFrame(rows, columns=list(SUSPECT_COLUMNS))
    pair = ["identity_a", "identity_b"]
    table["num_pairs"] = table.groupby(pair)["num_pairs"].transform("sum")
    return table.drop_duplicates(pair).reset_index(drop=True)


def _named_apart(
    left: int, right: int, names: Names, image_ids: np.ndarray
) -> Iterator[tuple[str, str, tuple[str, str]]]:
    for a in sorted(names[left] - names[right]):
        for b in sorted(names[right] - names[left]):
            photos = (image_ids[left], image_ids[right])
            yield (a, b, photos) if a < b else (b, a, photos[::-1])
