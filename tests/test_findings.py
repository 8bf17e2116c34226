from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.checks.findings import LEVELS, as_rows, counted, list_findings, percent
from siamese.checks.statistics import date_statistics, identity_statistics

SOUND = {
    "identities": identity_statistics(["Mara", "Mara", "Tano", "Tano"]),
    "photos": {"num_files": 4, "num_unreadable": 0, "grey_share": 0.0, "notes": {}},
    "dates": date_statistics(["2020-01-01"] * 4),
    "telling_sizes": {"num_photos": 4, "num_telling": 0},
    "has_encounters": True,
    "copies": {"num_groups": 0, "num_files": 0, "num_unconfirmed": 0},
    "labels": {
        "num_conflicting": 0, "num_conflicting_groups": 0, "num_spare": 0, "num_named_by_copy": 0, "num_suspects": 0,
    },
    "bursts": {"num_photos": 0, "num_bursts": 0, "num_named_photos": 0, "num_named": 4},
}  # fmt: skip
LEAK = {"kind": "days", "serious": False, "num_photos": 3, "sentence": "3 of 9 test photos share a day."}


def changed(**sections):
    numbers = deepcopy(SOUND)
    for name, values in sections.items():
        numbers[name] = {**numbers.get(name, {}), **values} if isinstance(values, dict) else values
    return numbers


def test_a_sound_collection_has_no_findings():
    assert list_findings(SOUND) == []


@pytest.mark.parametrize(
    ("kind", "level", "count", "numbers"),
    [
        ("unreadable", "serious", 2, changed(photos={"num_unreadable": 2})),
        ("conflicting_names", "serious", 4, changed(labels={"num_conflicting": 4, "num_conflicting_groups": 2})),
        ("mostly_bursts", "serious", 3, changed(bursts={"num_photos": 3, "num_bursts": 1, "num_named_photos": 3})),
        ("too_few_individuals", "serious", 1, changed(identities=identity_statistics(["Mara", "Mara"]))),
        ("one_individual_prevails", "serious", 3, changed(identities=identity_statistics(["M", "M", "M", "T", "T"]))),
        ("no_pairs", "serious", 2, changed(identities=identity_statistics(["Mara", "Tano"]))),
        ("leak_days", "look", 3, changed(leaks={"leaks": [LEAK]})),
        ("leak_days", "serious", 3, changed(leaks={"leaks": [{**LEAK, "serious": True}]})),
        ("places", "look", 2, changed(photos={"notes": {"place": 2}})),
        ("telling_sizes", "know", 2, changed(telling_sizes={"num_telling": 2})),
        ("two_names", "look", 1, changed(labels={"num_suspects": 1})),
        ("named_by_copy", "look", 5, changed(labels={"num_named_by_copy": 5})),
        ("copies", "look", 4, changed(copies={"num_groups": 2, "num_files": 4}, labels={"num_spare": 2})),
        ("unconfirmed_copies", "look", 7, changed(copies={"num_unconfirmed": 7})),
        ("single_photos", "know", 1, changed(identities=identity_statistics(["M", "M", "T", "T", "Z"]))),
        ("bursts", "know", 3, changed(bursts={"num_photos": 3, "num_bursts": 1})),
        ("grey", "know", 2, changed(photos={"grey_share": 0.5})),
        ("odd_files", "know", 3, changed(photos={"notes": {"cmyk": 2, "16 bits": 1}})),
        ("no_occasion", "know", 4, changed(dates=date_statistics([]), has_encounters=False)),
    ],
)
def test_each_thing_found_is_told_once(kind, level, count, numbers):
    (finding,) = list_findings(numbers)
    assert (finding.kind, finding.level, finding.count) == (kind, level, count)
    assert finding.found.endswith(".")


def test_the_worst_is_told_first():
    numbers = changed(photos={"grey_share": 0.5, "num_unreadable": 1}, labels={"num_suspects": 1})
    assert [finding.level for finding in list_findings(numbers)] == list(LEVELS)


def test_all_leaks_of_a_kind_are_one_finding():
    leaks = [LEAK, {**LEAK, "kind": "copies", "serious": True}, LEAK]
    found = {finding.kind: finding.count for finding in list_findings(changed(leaks={"leaks": leaks}))}
    assert found == {"leak_copies": 3, "leak_days": 6}


def test_one_colour_is_not_worth_a_word():
    assert list_findings(changed(photos={"grey_share": 1.0})) == []


def test_bursts_are_serious_once_they_are_most_of_the_photos():
    half = changed(bursts={"num_photos": 2, "num_bursts": 1, "num_named_photos": 2, "num_named": 4})
    most = changed(bursts={"num_photos": 3, "num_bursts": 1, "num_named_photos": 3, "num_named": 4})
    assert [finding.kind for finding in list_findings(half)] == ["bursts"]
    assert [finding.kind for finding in list_findings(most)] == ["mostly_bursts"]


def test_a_row_holds_its_whole_sentence():
    (row,) = as_rows(list_findings(changed(photos={"num_unreadable": 1})))
    assert row["sentence"] == f"{row['found']} {row['why']} {row['advice']}"


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_only_none_is_0_and_only_all_is_100(part, whole):
    part = min(part, whole)
    assert (percent(part, whole) == "0 %") == (part == 0)
    assert (percent(part, whole) == "100 %") == (part == whole)


def test_one_thing_is_singular():
    assert counted(1, "photo") == "1 photo"
    assert "1 photo without a name is a copy" in list_findings(changed(labels={"num_named_by_copy": 1}))[0].found
