import pytest

from siamese.errors import SettingsError
from siamese.recipes import resolve_settings
from siamese.settings import AugmentationSettings, read_settings, settings_from_dict, write_settings
from siamese.settings.presets import PRESETS


def augmentation(**values):
    return settings_from_dict({"augmentation": values}).augmentation


def test_the_defaults_are_the_geometry_of_the_humpback_kernel():
    assert augmentation(preset="piotte").model_dump(exclude={"preset"}) == AugmentationSettings().model_dump(
        exclude={"preset"}
    )


def test_changes_are_read_as_they_are_written_down():
    entries = [
        {"kind": "blur", "size": [1, 3], "probability": 0.5},
        {"one_of": [{"kind": "jpeg"}, {"kind": "grey"}]},
        {"some_of": [{"kind": "noise"}, {"kind": "gamma"}], "count": [0, 1]},
    ]
    blur, one, some = augmentation(changes=entries).changes
    assert (blur.kind, blur.size, blur.probability) == ("blur", (1, 3), 0.5)
    assert [change.kind for change in one.one_of] == ["jpeg", "grey"]
    assert ([change.kind for change in some.some_of], some.count) == (["noise", "gamma"], (0, 1))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_expands_and_comes_back_from_a_file_as_it_was(preset, tmp_path):
    settings = settings_from_dict({"augmentation": {"preset": preset}})
    if preset != "piotte":
        assert settings.augmentation.model_dump(exclude={"preset"}) != AugmentationSettings().model_dump(
            exclude={"preset"}
        )
    write_settings(settings, tmp_path / "settings.yaml")
    assert read_settings(tmp_path / "settings.yaml") == settings


def test_presets_hold_the_published_numbers():
    qiao, shen, park = (augmentation(preset=name) for name in ("qiao", "shen", "park"))
    assert (qiao.rotation, qiao.fill, qiao.new_identities) == (25, "zero", ("flip",))
    assert qiao.changes[-1].model_dump() == {"kind": "drop_mask", "probability": 0.5}
    assert (shen.shear, shen.corners, shen.elastic, shen.fill) == (15, (0, 0.25), (0.01, 0.03), "edge")
    assert park.geometry_probability == {"all": 0.5}
    assert [change.kind for change in park.changes[0].some_of][:2] == ["average_blur", "motion_blur"]


def test_own_fields_beside_a_preset_win(tmp_path):
    own = augmentation(preset="shen", rotation=3, changes=[])
    assert (own.rotation, own.changes) == (3, ())
    assert own.shear == PRESETS["shen"]["shear"]
    (tmp_path / "mine.yaml").write_text("augmentation: {preset: park, fill: mean}\n", encoding="utf-8")
    settings = resolve_settings(None, tmp_path / "mine.yaml", ["augmentation.shift=0.2"]).augmentation
    assert (settings.fill, settings.shift, settings.rotation) == ("mean", 0.2, 10)


def test_expanding_a_preset_leaves_the_values_and_the_preset_as_they_were():
    values, before = {"preset": "shen", "rotation": 3}, dict(PRESETS["shen"])
    AugmentationSettings.model_validate(values)
    assert values == {"preset": "shen", "rotation": 3}
    assert PRESETS["shen"] == before


@pytest.mark.parametrize(
    ("values", "place", "sentence"),
    [
        ({"preset": "pioty"}, "augmentation.preset", "'piotte', 'deepwhale'"),
        ({"preset": ["park"]}, "augmentation.preset", "'piotte', 'deepwhale'"),
        ({"changes": [{"kind": "blurr"}]}, "augmentation.changes.0.single", "'blur', 'average_blur'"),
        ({"changes": [{"kind": "blur", "size": [2, 1]}]}, "augmentation.changes.0.single.blur.size", "from 0 to 4"),
        (
            {"changes": [{"kind": "blur", "strength": 2}]},
            "augmentation.changes.0.single.blur.strength",
            "not permitted",
        ),
        ({"changes": [{"one_of": []}]}, "augmentation.changes.0.one_of.one_of", "at least 1"),
        ({"changes": [{"some_of": [{"kind": "blur"}], "count": [0, 2]}]}, "augmentation.changes.0.some_of", "0 to 1"),
        ({"changes": [3]}, "augmentation.changes.0.single", "dictionary"),
        ({"zoom": [1.2, 0.8]}, "augmentation.zoom", "the smaller one first"),
        ({"corners": [0, 0.5]}, "augmentation.corners", "from -0.4 to 0.4"),
        ({"geometry_probability": {"turn": 0.5}}, "augmentation.geometry_probability.turn", "'all', 'rotation'"),
        ({"geometry_probability": {"shear": 2}}, "augmentation.geometry_probability.shear", "less than or equal to 1"),
        ({"elastic": [0, 0.05]}, "augmentation", "`elastic` must stay under 0.042 for a grid of 4"),
    ],
)
def test_a_wrong_augmentation_is_named(values, place, sentence):
    with pytest.raises(SettingsError) as caught:
        augmentation(**values)
    assert str(caught.value).startswith(f"settings: `{place}")
    assert sentence in str(caught.value)
