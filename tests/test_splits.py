from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import InfeasiblePairing, ManifestError, SettingsError
from siamese.manifest import Manifest
from siamese.settings import SplitSettings
from siamese.splits import check_trainable, connected, fold_photos, read_dates, split_photos, with_split
from siamese.splits.draw import deal, draw

KINDS = ("open_set", "closed_set", "disjoint", "date", "encounter")
OPEN = ("open_set", "encounter")
POLICIES = ("new", "train", "leave_out")


def collection(**columns):
    length = len(next(iter(columns.values())))
    ids = [f"i{row:03d}" for row in range(length)]
    table = pd.DataFrame({"image_id": ids, "path": [f"{name}.jpg" for name in ids]})
    return Manifest(table.assign(**{"identity": "", **columns}).astype(object), Path("photos"))


def named(**counts):
    """Photos of individuals without anything that ties them: so many of each, `unknown` without a name."""
    names = np.repeat(np.array(list(counts), dtype=object), list(counts.values()))
    return collection(identity=np.where(names == "unknown", "", names))


def split_of(manifest, **settings):
    return split_photos(manifest, SplitSettings(**settings))


def num_on(split):
    return [int((split == side).sum()) for side in ("train", "validation", "test")]


def challenge_like(num_photos=2000):
    """Many individuals with one photo, few with many, 38 % of the photos unknown."""
    rng = np.random.default_rng(0)
    identity = np.repeat([f"w{index}" for index in range(num_photos)], rng.geometric(0.35, size=num_photos))
    identity = identity[:num_photos].astype(object)
    identity[rng.random(num_photos) < 0.38] = ""
    return collection(identity=identity)


# what may come


COLUMNS = {
    "path": st.integers(0, 600).map(lambda number: f"{number}.jpg"),
    "identity": st.sampled_from(["", "", *"abcdefgh"]),
    "duplicate_group": st.sampled_from([""] * 12 + list("1234")),
    "burst": st.sampled_from([""] * 12 + list("123456789")),
    "encounter": st.sampled_from(["", *map(str, range(30))]),
    "date": st.sampled_from(["", *(f"2019-07-{day}" for day in range(10, 30)), "2019-07-14T09:30:00"]),
    "use": st.sampled_from([""] * 12 + ["catalog", "nothing"]),
}
collections = (
    st.lists(st.fixed_dictionaries(COLUMNS), min_size=1, max_size=60)
    .map(lambda rows: collection(**pd.DataFrame(rows).to_dict("list")))
    .filter(lambda manifest: (manifest.column("encounter") != "").any() and (manifest.column("date") != "").any())
)
shares = {
    "seed": st.integers(0, 1000),
    "validation_share": st.floats(0.01, 0.49),
    "test_share": st.floats(0.01, 0.49),
    "new_share": st.floats(0, 0.99),
    "single_photos": st.sampled_from(POLICIES),
}
one_split = st.builds(SplitSettings, kind=st.sampled_from(KINDS), **shares)
folded = st.integers(3, 6).flatmap(
    lambda folds: st.builds(
        SplitSettings,
        kind=st.sampled_from(["open_set", "closed_set", "disjoint", "encounter"]),
        folds=st.just(folds),
        fold=st.integers(0, folds - 1),
        **shares,
    )
)
any_split = one_split | folded


def sides(split):
    """The three sides that must share nothing; photos that are left out are on none."""
    return np.where(split == "catalog", "train", split)


def ties(manifest, settings):
    """Columns in which equal values keep photos together."""
    return ["path", "duplicate_group", "burst"] + (["encounter"] if settings.kind == "encounter" else [])


def individuals(manifest, rows):
    return set(manifest.identity[rows]) - {""}


# properties


@given(collections, any_split)
def test_nothing_that_belongs_together_stands_on_two_sides(manifest, settings):
    side = sides(split_photos(manifest, settings))
    for column in ties(manifest, settings):
        values = manifest.column(column)
        for value in set(values) - {""}:
            assert len(set(side[values == value]) - {""}) <= 1


@given(collections, any_split)
def test_every_photo_stands_on_the_side_that_its_use_allows_and_the_collection_stays(manifest, settings):
    before = manifest.table.copy(deep=True)
    split, use = split_photos(manifest, settings), manifest.column("use")
    pd.testing.assert_frame_equal(manifest.table, before)
    assert split.shape == use.shape
    assert set(split) <= {"train", "catalog", "validation", "test", ""}
    assert (split[use == "nothing"] == "").all()
    assert set(split[use == "catalog"]) <= {"catalog", ""}
    assert "catalog" not in split[use != "catalog"]
    if settings.single_photos != "leave_out":
        assert "" not in split[use != "nothing"]


@given(collections, any_split)
def test_the_order_of_the_rows_changes_nothing(manifest, settings):
    order = np.random.default_rng(settings.seed).permutation(len(manifest))
    assert split_photos(manifest.select(order), settings).tolist() == split_photos(manifest, settings)[order].tolist()


@given(collections, any_split)
def test_an_individual_is_known_in_training_or_new_on_one_side_alone(manifest, settings):
    if settings.kind == "date":
        return
    split = split_photos(manifest, settings)
    for name in individuals(manifest, np.isin(split, ["validation", "test"])):
        there = set(split[manifest.identity == name]) - {""}
        assert "train" in there or len(there) == 1


@given(collections, any_split)
def test_every_closed_set_query_has_an_answer_in_training(manifest, settings):
    settings = settings.model_copy(update={"kind": "closed_set"})
    split = split_photos(manifest, settings)
    queries = np.isin(split, ["validation", "test"])
    assert "" not in manifest.identity[queries]
    assert individuals(manifest, queries) <= individuals(manifest, split == "train")


@given(collections, any_split)
def test_no_individual_of_a_disjoint_split_stands_on_two_sides(manifest, settings):
    settings = settings.model_copy(update={"kind": "disjoint"})
    side = sides(split_photos(manifest, settings))
    for name in set(manifest.identity) - {""}:
        assert len(set(side[manifest.identity == name]) - {""}) <= 1
    assert not set(side[manifest.identity == ""]) & {"validation", "test"}


@given(collections, one_split)
def test_no_side_is_larger_than_its_share(manifest, settings):
    split, known = split_photos(manifest, settings), manifest.identity != ""
    counted = {"closed_set": known, "disjoint": known, "date": manifest.column("date") != ""}
    total = (counted.get(settings.kind, True) & (split != "")).sum()
    for side, share in (("validation", settings.validation_share), ("test", settings.test_share)):
        assert (split == side).sum() <= round(share * int(total))


@given(collections, one_split)
def test_single_photos_train_where_that_is_asked(manifest, settings):
    manifest = collection(identity=manifest.identity)
    split = split_photos(manifest, settings.model_copy(update={"kind": "open_set", "single_photos": "train"}))
    counts = pd.Series(manifest.identity).map(pd.Series(manifest.identity).value_counts())
    assert (split[(manifest.identity != "") & (counts == 1)] == "train").all()


sizes = st.lists(st.integers(1, 6), max_size=60)


@given(sizes, st.floats(0, 1))
def test_a_draw_comes_within_one_unit_of_what_was_asked_at_every_place(sizes, share):
    sizes = np.array(sizes, dtype=int)
    wanted = int(share * sizes.sum())
    drawn = draw(sizes, wanted)
    assert wanted - max(sizes, default=1) < sizes[drawn].sum() <= wanted
    due = wanted * np.cumsum(sizes) / max(1, sizes.sum())
    assert (due - np.cumsum(sizes * drawn) < max(sizes, default=1)).all()
    assert all(size > wanted - sizes[drawn].sum() for size in sizes[~drawn])  # nothing fits any more


@given(st.lists(st.integers(2, 5), min_size=8, max_size=30), one_split)
def test_shares_come_within_one_unit_of_what_was_asked(units_of, settings):
    """Individuals with two to five bursts of one to three photos; a third of the photos are spare at least."""
    settings = settings.model_copy(update={"validation_share": 0.1, "test_share": 0.12, "new_share": 0.3})
    bursts = [(f"w{who}", f"{who}-{burst}") for who, count in enumerate(units_of) for burst in range(count)]
    photos = [pair for number, pair in enumerate(bursts) for _ in range(1 + (number + settings.seed) % 3)]
    identity, burst = (np.array(names, dtype=object) for names in zip(*photos, strict=True))
    days = [f"2019-07-{10 + int(name.split('-')[1])}" for name in burst]
    manifest = collection(identity=identity, burst=burst, encounter=burst, date=days)
    split = split_photos(manifest, settings)
    largest_unit, largest_individual = (pd.Series(names).value_counts().max() for names in (burst, identity))
    rounding = {"disjoint": largest_individual, "open_set": largest_unit + largest_individual - 1}
    rounding["encounter"] = rounding["open_set"]  # new individuals and known ones are rounded apart
    for side, share in (("validation", 0.1), ("test", 0.12)):
        short = round(share * len(manifest)) - (split == side).sum()
        assert 0 <= short < rounding.get(settings.kind, largest_unit)


@given(collections, folded)
def test_folds_differ_by_one_unit_and_one_of_them_is_the_test(manifest, settings):
    settings = settings.model_copy(update={"kind": "closed_set"})
    fold = fold_photos(manifest, settings)
    split = split_photos(manifest, settings)
    assert ((split == "test") == (fold == str(settings.fold))).all()
    assert ((split == "validation") == (fold == str((settings.fold + 1) % settings.folds))).all()
    sizes = [(fold == str(number)).sum() for number in range(settings.folds)]
    assert max(sizes) - min(sizes) <= largest_unit(manifest, settings)


def largest_unit(manifest, settings):
    columns = [
        pd.factorize(np.where(manifest.column(name) == "", None, manifest.column(name)))[0]
        for name in ties(manifest, settings)
    ]
    return np.bincount(connected(columns)).max()


@given(collections, folded)
def test_the_new_queries_of_all_folds_are_no_more_than_their_share(manifest, settings):
    manifest = collection(identity=manifest.identity)
    settings = settings.model_copy(update={"kind": "open_set"})
    fold = fold_photos(manifest, settings)
    if settings.single_photos == "leave_out":
        return
    new = ~np.isin(manifest.identity, list(individuals(manifest, fold == "")))
    queries = fold != ""
    assert (new & queries).sum() <= settings.new_share * queries.sum() + 1e-9


# hand-made


def test_the_split_is_the_same_on_every_machine():
    """Written down once; a change of it is a change of every user's split."""
    manifest = collection(
        identity=["a"] * 4 + ["b"] * 4 + ["c"] * 3 + ["d"] * 2 + ["e", "f", "g", ""] + [""] * 3,
        burst=["1", "1", "", "", "", "", "2", "2"] + [""] * 12,
        encounter=list("11223344556677889900"),
        date=[f"20{10 + row % 7}-03-1{row % 3}" for row in range(20)],
    )
    letters = {kind: "".join(side[0] for side in sides_of(manifest, kind)) for kind in KINDS}
    assert letters == GOLDEN
    folds = fold_photos(manifest, SplitSettings(folds=3, seed=7))
    assert "".join(number or "-" for number in folds) == GOLDEN_FOLDS


def sides_of(manifest, kind):
    split = split_of(manifest, kind=kind, seed=7, validation_share=0.2, test_share=0.25)
    return np.where(split == "test", "x", split)  # train and test begin alike


GOLDEN = {
    "open_set": "ttxvxttttxvxttttxttv",
    "closed_set": "ttxvxttttxvxtttttttt",
    "disjoint": "xxxxtttttttttvvvtttt",
    "date": "ttttvxxxtttvvxttttvx",
    "encounter": "ttxxvvttttxxtttttttt",
}
GOLDEN_FOLDS = "--102-00-012-----120"


def test_two_seeds_give_two_splits():
    manifest = challenge_like(200)
    assert (split_of(manifest, seed=1) != split_of(manifest, seed=2)).any()


def test_a_challenge_like_collection_gets_the_shares_it_asked_for():
    manifest = challenge_like()
    split, identity = split_of(manifest), manifest.identity
    for side in ("validation", "test"):
        queries = split == side
        assert queries.sum() == 300
        assert (queries & (identity == "")).sum() == 84
        assert np.isin(identity[queries & (identity != "")], identity[split == "train"]).all()


def test_each_individual_gives_its_share_of_the_queries():
    manifest = named(**{f"w{number}": 11 for number in range(20)})
    split = split_of(manifest, kind="closed_set", validation_share=0.2, test_share=0.3)
    for name in set(manifest.identity):
        of_name = split[manifest.identity == name]
        assert (of_name == "test").sum() in (3, 4)  # of 10 spare photos 3.3
        assert (of_name == "validation").sum() in (1, 2, 3)


def test_unknown_photos_are_the_first_new_queries():
    manifest = named(unknown=10, a=10, b=1)
    split = split_of(manifest, new_share=0.5)
    assert (split[manifest.identity == ""] != "train").sum() == 4
    assert (split[manifest.identity == "b"] == "train").all()


def test_individuals_with_one_photo_are_new_before_others():
    manifest = named(a=6, b=2, c=2, d=2, e=2, f=2, g=1, h=1, i=1, j=1)
    split = split_of(manifest, new_share=0.67)
    assert sorted(split[-4:]) == ["test", "test", "validation", "validation"]
    for name in "abcdef":
        assert "train" in split[manifest.identity == name]


def test_individuals_with_one_burst_count_as_single_photos():
    manifest = collection(identity=list("aaabbbbb"), burst=["1"] * 3 + [""] * 5)
    assert split_of(manifest, single_photos="leave_out", kind="closed_set").tolist()[:3] == [""] * 3
    new = split_of(manifest, validation_share=0.01, test_share=0.49, new_share=0.75)
    assert new.tolist()[:3] == ["test"] * 3


def test_scarce_photos_are_shared_by_both_query_sides():
    manifest = named(a=5, **{f"single{number}": 1 for number in range(60)})
    assert sorted(split_of(manifest, new_share=0)[:5]) == ["test", "test", "train", "validation", "validation"]


def test_whole_individuals_become_new_where_nothing_else_is_there():
    manifest = named(**{f"w{number}": 4 for number in range(50)})
    split = split_of(manifest)
    for side in ("validation", "test"):
        is_new = (split == side) & ~np.isin(manifest.identity, manifest.identity[split == "train"])
        assert is_new.sum() == 8
        assert (split == side).sum() == 30


def test_chains_hold_copies_of_bursts_together():
    manifest = collection(
        identity=["a"] * 30,
        duplicate_group=["1", "1", ""] * 10,
        burst=[text for number in range(10) for text in ("", str(number), str(number))],
    )
    for start in (0, 3, 6):
        assert len(set(split_of(manifest, kind="closed_set", seed=start))) == 1  # all 30 hang together


def test_columns_that_settings_do_not_name_tie_nothing():
    manifest = collection(identity=["a"] * 20, burst=["1"] * 20)
    assert num_on(split_of(manifest, kind="closed_set")) == [20, 0, 0]
    assert num_on(split_of(manifest, kind="closed_set", keep_together=())) == [14, 3, 3]


def test_two_animals_of_one_photo_stay_together():
    manifest = collection(
        identity=["a", "b"] * 10,
        path=[f"{row // 2}.jpg" for row in range(20)],
        image_id=[f"x{row}" for row in range(20)],
    )
    split = split_of(manifest, kind="closed_set")
    assert (split[::2] == split[1::2]).all()
    assert num_on(split) == [16, 2, 2]  # three photos were asked for; a unit has two


def test_an_encounter_is_not_divided_and_unknown_animals_go_with_it():
    manifest = collection(identity=["a", "a", ""] * 10, encounter=[str(row // 3) for row in range(30)])
    split = split_of(manifest, kind="encounter", new_share=0, validation_share=0.1, test_share=0.2)
    assert num_on(split) == [21, 3, 6]
    assert len({tuple(split[row : row + 3]) for row in range(0, 30, 3)}) == 3


def test_a_closed_set_asks_for_no_unknown_animal_beside_a_known_one():
    manifest = collection(identity=["a", ""] * 20, path=[f"{row // 2}.jpg" for row in range(40)])
    assert num_on(split_of(manifest, kind="closed_set")) == [40, 0, 0]
    assert num_on(split_of(manifest, kind="open_set", new_share=0)) == [28, 6, 6]


def test_the_latest_photos_are_the_test():
    manifest = collection(
        identity=list("abcdefghij"), date=[f"20{year}-01-01" for year in (15, 19, 11, 17, 13, 18, 12, 16, 14, 10)]
    )
    split = split_of(manifest, kind="date", validation_share=0.3, test_share=0.2)
    years = np.array([int(date[2:4]) for date in manifest.column("date")])
    assert sorted(years[split == "test"]) == [18, 19]
    assert sorted(years[split == "validation"]) == [15, 16, 17]


def test_the_day_of_an_individual_is_not_divided_and_undated_photos_train():
    manifest = collection(
        identity=["a"] * 10,
        date=["2019-05-01T07:00:00", "2019-05-01T19:00:00", "2019-05-02", "2019-05-02", "", "", *(["2018-01-01"] * 4)],
    )
    split = split_of(manifest, kind="date", validation_share=0.25, test_share=0.4)
    assert split.tolist() == ["validation"] * 2 + ["test"] * 2 + ["train"] * 6


def test_a_day_too_large_for_the_test_leaves_the_validation_its_share():
    manifest = collection(
        identity=["a"] * 3 + list("bcdefgh"), date=["2019-05-09"] * 3 + [f"2019-05-0{day}" for day in range(1, 8)]
    )
    split = split_of(manifest, kind="date", validation_share=0.3, test_share=0.2)
    assert split.tolist() == ["validation"] * 3 + ["train"] * 7


def test_a_late_photo_for_the_catalog_alone_is_no_query():
    manifest = collection(
        identity=list("abcd"), date=[f"2019-05-0{day}" for day in (1, 2, 3, 4)], use=["", "", "", "catalog"]
    )
    split = split_of(manifest, kind="date", validation_share=0.25, test_share=0.25)
    assert split.tolist() == ["train", "validation", "test", "catalog"]


def test_photos_for_the_catalog_alone_hold_their_burst_in_training():
    manifest = collection(identity=["a"] * 10, burst=["1"] * 4 + [""] * 6, use=["catalog"] + [""] * 9)
    split = split_of(manifest, kind="closed_set", validation_share=0.4, test_share=0.4)
    assert split[:4].tolist() == ["catalog", "train", "train", "train"]
    assert (split[4:] == "train").sum() == 1


def test_an_individual_known_to_the_catalog_is_never_new():
    manifest = collection(identity=["a", "a", *"bbbb"], use=["catalog"] + [""] * 5)
    for seed in range(10):
        assert split_of(manifest, new_share=0.9, test_share=0.4, seed=seed)[:2].tolist() == ["catalog", "train"]


def test_photos_that_are_left_out_stand_nowhere_and_count_nowhere():
    manifest = collection(identity=["a"] * 40, use=["nothing"] * 20 + [""] * 20)
    split = split_of(manifest, kind="closed_set")
    assert (split[:20] == "").all()
    assert num_on(split) == [14, 3, 3]


def test_a_collection_of_left_out_photos_has_an_empty_split():
    assert split_of(collection(identity=["a"] * 3, use=["nothing"] * 3)).tolist() == [""] * 3


def test_a_disjoint_split_has_small_and_large_individuals_on_each_side():
    manifest = named(**{f"w{number}": 1 if number < 100 else 10 for number in range(200)})
    split = split_of(manifest, kind="disjoint")
    for side in ("validation", "test"):
        counts = pd.Series(manifest.identity[split == side]).value_counts()
        assert 10 <= (counts == 1).sum() <= 20
        assert 10 <= (counts == 10).sum() <= 20


def test_open_set_folds_hold_known_and_new_queries_alike():
    manifest = named(unknown=60, **{f"w{number}": 5 for number in range(20)})
    fold = fold_photos(manifest, SplitSettings(folds=4, new_share=0.2))
    for number in "0123":
        assert ((fold == number) & (manifest.identity != "")).sum() == 20  # four of five photos are spare
        assert ((fold == number) & (manifest.identity == "")).sum() == 5


def test_whole_individuals_are_new_in_one_fold_where_nothing_else_is_there():
    manifest = named(**{f"w{number}": 4 for number in range(20)})
    fold, new = fold_photos(manifest, SplitSettings(folds=3, new_share=0.4)), []
    for name in set(manifest.identity):
        of_name = fold[manifest.identity == name].tolist()
        if "" not in of_name:
            new.append(of_name)
    assert all(len(set(of_name)) == 1 for of_name in new)
    assert len(new) == 6  # 24 of 24 + 14 * 3 photos are 36 %; one more would make 42 %


def test_a_disjoint_fold_is_every_individual_once():
    manifest = named(unknown=3, **{f"w{number}": 3 for number in range(12)})
    fold = fold_photos(manifest, SplitSettings(kind="disjoint", folds=4))
    assert [(fold == number).sum() for number in "0123"] == [9] * 4
    assert (fold[:3] == "").all()


def test_deal_keeps_heaps_level():
    assert deal(np.array([3, 1, 1, 1, 2]), 3).tolist() == [0, 1, 2, 1, 2]


def test_with_split_keeps_a_split_and_draws_a_missing_one():
    divided = collection(identity=["a", "b"], split=["train", "test"])
    pd.testing.assert_frame_equal(with_split(divided, SplitSettings()).table, divided.table, check_dtype=False)
    manifest = collection(identity=["a"] * 20, use=["nothing"] + [""] * 19)
    drawn = with_split(manifest, SplitSettings(kind="closed_set"))
    assert drawn.image_ids.tolist() == manifest.image_ids[1:].tolist()
    assert num_on(drawn.column("split")) == [13, 3, 3]
    assert "fold" not in drawn.table


def test_with_split_lets_a_given_split_stand_but_for_what_is_left_out_or_must_not_train():
    divided = collection(
        identity=["a"] * 5,
        split=["train", "train", "train", "test", "test"],
        use=["", "catalog", "nothing", "catalog", "nothing"],
    )
    kept = with_split(divided, SplitSettings())
    assert kept.image_ids.tolist() == ["i000", "i001", "i003"]
    assert kept.column("split").tolist() == ["train", "catalog", "test"]


def test_with_split_makes_no_query_of_a_photo_that_cannot_be_read():
    manifest = collection(identity=["a"] * 21, use=[""] * 20 + ["nothing"])
    lost = {f"i{row:03d}": "It is empty." for row in range(0, 21, 2)}
    split = with_split(manifest, SplitSettings(kind="closed_set", test_share=0.4), unreadable=lost).column("split")
    assert len(split) == 20
    assert (split[::2] == "train").all()
    assert num_on(split[1::2]) == [4, 2, 4]


def test_with_split_stores_the_folds():
    manifest = collection(identity=["a"] * 10)
    settings = SplitSettings(kind="closed_set", folds=3, fold=1)
    drawn = with_split(manifest, settings)
    assert drawn.column("fold").tolist() == fold_photos(manifest, settings).tolist()
    assert ((drawn.column("split") == "test") == (drawn.column("fold") == "1")).all()


def test_dates_are_local_moments():
    manifest = collection(date=["2019-07-31", "2019-07-31T14:05:00+02:00", "", "2019-07-31 14:05"])
    assert read_dates(manifest).astype(str).tolist() == [
        "2019-07-31T00:00:00",
        "2019-07-31T14:05:00",
        "NaT",
        "2019-07-31T14:05:00",
    ]


# error sentences


def test_a_wrong_date_is_named_with_its_row():
    manifest = collection(identity=["a"] * 3, date=["2019-07-31", "31.7.2019", "1.8.2019"])
    with pytest.raises(ManifestError, match=r"row 3: `date` must be .* Received: '31.7.2019' for image 'i001'"):
        split_of(manifest, kind="date")


@pytest.mark.parametrize("kind", ["date", "encounter"])
def test_a_kind_without_its_column_gets_a_sentence(kind):
    with pytest.raises(ManifestError, match=f"`{kind}` must be filled in for a split by {kind}. Received: no photo"):
        split_of(collection(identity=["a"] * 3), kind=kind)


def test_folds_by_date_and_no_folds_get_a_sentence():
    manifest = collection(identity=["a"] * 3, date=["2019-07-31"] * 3)
    with pytest.raises(SettingsError, match="with a kind other than date .* Received: folds=3, kind=date"):
        split_of(manifest, kind="date", folds=3)
    with pytest.raises(SettingsError, match="`split.folds` must be a number.* Received: folds=None, kind=open_set"):
        fold_photos(manifest, SplitSettings())


# check_trainable


def names_by_counts(**counts):
    return np.repeat(np.array(list(counts), dtype=object), list(counts.values()))


def test_check_trainable_takes_an_individual_with_half_of_the_photos():
    check_trainable(names_by_counts(a=4, b=2, c=2))


def test_check_trainable_names_the_individual_that_is_too_large():
    with pytest.raises(InfeasiblePairing, match=r"more than half .* Received: 'a' with 5 of 9. Leave out 1 photos"):
        check_trainable(names_by_counts(a=5, b=2, c=2))


def test_check_trainable_does_not_count_photos_that_do_not_train():
    singles_and_unknown = np.array(["x", "y", "z", "", "", ""], dtype=object)
    with pytest.raises(InfeasiblePairing, match="'a' with 3 of 5"):
        check_trainable(np.concatenate([names_by_counts(a=3, b=2), singles_and_unknown]))


def test_check_trainable_counts_the_photos_that_min_photos_lets_train():
    identity = names_by_counts(a=4, b=3, c=2, d=1)
    check_trainable(identity)
    check_trainable(names_by_counts(a=5, b=2, c=1, d=1, e=1), min_photos=1)
    with pytest.raises(InfeasiblePairing, match="'a' with 4 of 7"):
        check_trainable(identity, min_photos=3)
    with pytest.raises(ManifestError, match="two individuals with 4 photos each. Received: 1 among 10"):
        check_trainable(identity, min_photos=4)


@pytest.mark.parametrize("identity", [names_by_counts(a=5, b=1, c=1), names_by_counts(a=1), np.array([], dtype=object)])
def test_check_trainable_needs_two_individuals_with_two_photos(identity):
    with pytest.raises(ManifestError, match="at least two individuals with 2 photos each"):
        check_trainable(identity)
