"""Which photos train, which choose the thresholds, which are only evaluated."""

from __future__ import annotations

from collections.abc import Container, Iterator

import numpy as np

from siamese.errors import SettingsError
from siamese.manifest import Manifest
from siamese.settings import SplitSettings
from siamese.splits.draw import deal, draw
from siamese.splits.units import Units, find_units, read_dates

QUERY_SIDES = ("validation", "test")


def split_photos(manifest: Manifest, settings: SplitSettings) -> np.ndarray:
    """Divides a collection so that nothing that belongs together stands on two sides.

    Photos of one file, and of one value in a column of `settings.keep_together`, are one unit; a unit is never divided.
    Every number of photos asked for is met within one unit, from below, where there are enough units to draw from:

    - `open_set`, as in the humpback challenges. Queries are known individuals, each of which keeps a unit in training
      and gives its share, and new ones that are in no catalog: units of unknown individuals; where these are too few,
      whole individuals, such with one unit first. An unknown animal in one unit with a known one goes where that goes.
    - `encounter`: the same, with whole encounters as units.
    - `closed_set`: queries of known individuals alone. The shares are of the photos of known individuals.
    - `disjoint`: whole individuals, as many with few as with many photos on each side; individuals in one unit stay
      together, unknown ones in training. The shares are of the photos of known individuals.
    - `date`: the latest photos are the test, those before them the validation. The photos of an individual on one day
      are one unit, dated by the latest. The shares are of the dated photos; those without a date train.

    Where a collection lacks photos to draw from, validation and test get fewer, in the ratio they were asked for. With
    `folds`, the fold numbered `fold` is the test and the next one the validation.

    Nothing but the settings and the text in the manifest decides: the split is the same on every machine and in every
    order of the rows.

    Args:
        manifest: the collection. Photos with `use` nothing are left out; the unit of one with `use` catalog is never a
            query. Not changed.
        settings: the kind, the shares and the seed.

    Returns:
        `(num_images,)` objects "train", "catalog", "validation" or "test", "" for a photo that is left out.

    Raises:
        ManifestError: the kind needs a column that is not there, or a date is wrong.
        SettingsError: folds by date.

    Example:
    >>> import pandas as pd
    >>> from siamese.manifest import from_table
    >>> rows = [{"image_id": n, "path": f"{n}.jpg", "identity": "Mara" if n < 10 else ""} for n in range(20)]
    >>> split = split_photos(from_table(pd.DataFrame(rows), "photos", check_files=False), SplitSettings())
    >>> [int((split == side).sum()) for side in ("train", "validation", "test")]
    [14, 3, 3]
    """
    units = find_units(manifest, settings)
    if settings.folds is not None:
        side = _sides_of_fold(_fold_of_units(units, settings), settings.fold, settings.folds)
    elif settings.kind == "date":
        side = _latest(units, read_dates(manifest), settings)
    elif settings.kind in ("open_set", "encounter"):
        side = _open_set(units, settings)
    else:
        side = _all_train(units)
        _move(side, units, _closed_pool(units, settings), _shares(units.num_known.sum(), settings))
    split = units.photos(side)
    return np.where((split != "") & (manifest.column("use") == "catalog"), "catalog", split)


def fold_photos(manifest: Manifest, settings: SplitSettings) -> np.ndarray:
    """Deals the photos that can be queries into folds, whole units each; `split_photos` says what a unit is.

    Each individual keeps one unit that is never a query, so that the catalog knows it in every fold. Queries of new
    individuals are drawn as for a split, up to `new_share` of all queries. A disjoint split deals whole individuals.
    The folds differ by one unit at most, in known and in new queries each.

    Args:
        manifest: the collection. Not changed.
        settings: the kind, the number of folds and the seed.

    Returns:
        `(num_images,)` objects "0", "1", ... and "" for photos that are never queries.

    Raises:
        ManifestError: the kind needs a column that is not there.
        SettingsError: no number of folds, or folds by date.

    Example:
    >>> import pandas as pd
    >>> from siamese.manifest import from_table
    >>> rows = [{"image_id": n, "path": f"{n}.jpg", "identity": "Mara"} for n in range(7)]
    >>> settings = SplitSettings(kind="closed_set", folds=3)
    >>> sorted(fold_photos(from_table(pd.DataFrame(rows), "photos", check_files=False), settings))
    ['', '0', '0', '1', '1', '2', '2']
    """
    units = find_units(manifest, settings)
    fold = _fold_of_units(units, settings)
    return units.photos(np.where(fold >= 0, fold.astype(str).astype(object), ""))


def with_split(manifest: Manifest, settings: SplitSettings, *, unreadable: Container[str] = ()) -> Manifest:
    """Returns the photos that take part, with a `split` column; with folds, a `fold` column too.

    Args:
        manifest: the collection. A split that it has is kept, but photos with `use` nothing are left out, and training
            photos with `use` catalog stand in the catalog. Not changed.
        settings: how to divide.
        unreadable: image ids of photos that cannot be read. They count as training photos, never as queries.

    Raises:
        ManifestError: the kind needs a column that is not there, or a date is wrong.
        SettingsError: folds by date.
    """
    if has_split(manifest):
        return _with_given_split(manifest)
    lost = np.array([image_id in unreadable for image_id in manifest.image_ids], dtype=bool)
    use = manifest.column("use")
    drawn = manifest.with_column("use", np.where(lost, "nothing", use))
    split = np.where(lost & (use != "nothing"), "train", split_photos(drawn, settings))
    divided = manifest.with_column("split", split)
    if settings.folds is not None:
        divided = divided.with_column("fold", fold_photos(drawn, settings))
    return divided.select(split != "")


def has_split(manifest: Manifest) -> bool:
    """Whether some photo has a side already."""
    return bool((manifest.column("split") != "").any())


def _with_given_split(manifest: Manifest) -> Manifest:
    use, split = manifest.column("use"), manifest.column("split")
    split[(use == "catalog") & (split == "train")] = "catalog"
    return manifest.with_column("split", split).select(use != "nothing")


def _all_train(units: Units) -> np.ndarray:
    return np.full(len(units.size), "train", dtype=object)


def _shares(num_photos: int, settings: SplitSettings) -> np.ndarray:
    """Photos wanted on each of QUERY_SIDES."""
    return np.array([round(share * int(num_photos)) for share in (settings.validation_share, settings.test_share)])


def _open_set(units: Units, settings: SplitSettings) -> np.ndarray:
    side = _all_train(units)
    queries = _shares(units.size.sum(), settings)
    new = np.array([round(settings.new_share * int(count)) for count in queries])
    missing = new.copy()
    for pool in _new_pools(units):
        missing -= _move(side, units, pool, missing)
    _move(side, units, _pool(np.arange(len(side)), _spare(units) & (side == "train")), queries - new)
    return side


def _closed_pool(units: Units, settings: SplitSettings) -> np.ndarray:
    """What can be queries without a new individual among them: spare units, or whole families if disjoint."""
    all_known = units.size == units.num_known
    if settings.kind == "disjoint":
        return _pool(units.family, _whole(units, ~units.fixed & all_known))
    return _pool(np.arange(len(units.size)), _spare(units) & all_known)


def _spare(units: Units) -> np.ndarray:
    """`(num_units,)` bool: known individuals, each of which keeps another unit."""
    return (units.num_known > 0) & ~units.kept & ~units.fixed


def _whole(units: Units, free: np.ndarray) -> np.ndarray:
    """`(num_units,)` bool: all units of the family are free."""
    return ~np.isin(units.family, units.family[~free])


def _new_pools(units: Units) -> Iterator[np.ndarray]:
    """Whom the catalog can do without, in this order: unknown ones, individuals with one unit, all others."""
    free, known = _whole(units, ~units.fixed), units.num_known > 0
    one_unit = np.bincount(units.family)[units.family] == 1
    for chosen in (~known, known & one_unit, known & ~one_unit):
        yield _pool(units.family, free & chosen)


def _pool(block: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Numbers the blocks of the free units 0, 1, ... in their order; -1 for units that are not free."""
    pool = np.full(len(free), -1)
    pool[free] = np.unique(block[free], return_inverse=True)[1]
    return pool


def _photos_of(pool: np.ndarray, photos: np.ndarray) -> np.ndarray:
    """`(num_blocks,)` sums of `photos`, a number for each unit."""
    return np.bincount(pool[pool >= 0], weights=photos[pool >= 0]).astype(int)


def _move(side: np.ndarray, units: Units, pool: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Moves blocks of a pool to the query sides; changes `side`, returns the photos that each side got."""
    sizes = _photos_of(pool, units.size)
    validation, test = wanted.tolist()
    if sizes.sum() < validation + test:
        validation = int(sizes.sum()) * validation // (validation + test)
        test = int(sizes.sum()) - validation
    got = np.zeros(2, dtype=int)
    for number, count in ((1, test), (0, validation)):
        drawn = draw(sizes, count)
        side[np.append(drawn, False)[pool]] = QUERY_SIDES[number]
        got[number] = sizes[drawn].sum()
        pool = _pool(pool, (pool >= 0) & ~np.append(drawn, False)[pool])
        sizes = sizes[~drawn]
    return got


def _latest(units: Units, dates: np.ndarray, settings: SplitSettings) -> np.ndarray:
    """The last units in time are the test, those before them the validation."""
    dated = (units.unit >= 0) & ~np.isnat(dates)
    undated = np.iinfo(np.int64).min
    latest = np.full(len(units.size), undated)
    np.maximum.at(latest, units.unit[dated], dates[dated].astype(np.int64))
    order = np.flatnonzero((latest > undated) & ~units.fixed)
    order = order[np.argsort(-latest[order], kind="stable")]
    validation, test = _shares(dated.sum(), settings)
    photos = np.cumsum(units.size[order])
    in_test = photos <= test
    in_validation = ~in_test & (photos - photos[in_test].max(initial=0) <= validation)
    side = _all_train(units)
    side[order[in_test]], side[order[in_validation]] = "test", "validation"
    return side


def _fold_of_units(units: Units, settings: SplitSettings) -> np.ndarray:
    """`(num_units,)` number of the fold, -1 for units that are never queries."""
    if settings.folds is None or settings.kind == "date":
        raise SettingsError(
            "`split.folds` must be a number, with a kind other than date (later photos would train what is asked about "
            f"earlier ones). Received: folds={settings.folds}, kind={settings.kind}. Change one of them."
        )
    if settings.kind in ("open_set", "encounter"):
        new = _new_of_folds(units, settings)
        pools = [_pool(units.family, new), _pool(np.arange(len(new)), _spare(units) & ~new)]
    else:
        pools = [_closed_pool(units, settings)]
    fold = np.full(len(units.size), -1)
    for pool in pools:
        dealt = deal(_photos_of(pool, units.size)[::-1], settings.folds)[::-1]  # the smallest level the heaps
        fold = np.maximum(fold, np.append(dealt, -1)[pool])
    return fold


def _new_of_folds(units: Units, settings: SplitSettings) -> np.ndarray:
    """`(num_units,)` bool: new individuals, as many as make up `new_share` of all queries."""
    new, num_new = np.zeros(len(units.size), dtype=bool), 0
    spare = np.where(_spare(units), units.size, 0)
    num_known = int(spare.sum())
    for pool in _new_pools(units):
        chosen = np.zeros(pool.max(initial=-1) + 1, dtype=bool)
        blocks = zip(_photos_of(pool, units.size).tolist(), _photos_of(pool, spare).tolist(), strict=True)
        for block, (size, was_spare) in enumerate(blocks):
            if num_new + size <= settings.new_share * (num_new + size + num_known - was_spare):
                chosen[block] = True
                num_new, num_known = num_new + size, num_known - was_spare
        new |= np.append(chosen, False)[pool]
    return new


def _sides_of_fold(fold: np.ndarray, test: int, num_folds: int) -> np.ndarray:
    """The fold `test` is evaluated; the next one, after the last the first, chooses the thresholds."""
    return np.select([fold == test, fold == (test + 1) % num_folds], ["test", "validation"], "train").astype(object)
