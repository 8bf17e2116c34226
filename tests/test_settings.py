import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from siamese.errors import SettingsError
from siamese.settings import (
    EncoderSettings,
    PhaseSettings,
    Settings,
    TrainingSettings,
    read_settings,
    settings_from_dict,
    write_settings,
)


def fields_of(model):
    for name, field in model.model_fields.items():
        yield f"{model.__name__}.{name}", field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation)


def test_no_values_give_the_defaults():
    assert settings_from_dict({}) == Settings()


def test_what_is_left_out_keeps_its_default():
    settings = settings_from_dict({"training": {"batch_size": 32}, "preprocessing": {"anisotropy": 2.15}})
    assert settings.training == TrainingSettings(batch_size=32)
    assert settings.preprocessing.anisotropy == 2.15
    assert settings.encoder == EncoderSettings()


def test_settings_cannot_change_after_checking():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().training.batch_size = 8


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"training": {"batchsize": 8}}, "training.batchsize"),
        ({"trainig": {}}, "trainig"),
        ({"training": {"batch_size": 2}}, "training.batch_size"),
        ({"training": {"batch_size": "many"}}, "training.batch_size"),
        ({"training": {"schedule": []}}, "training.schedule"),
        ({"training": {"schedule": [{"rounds": 0}]}}, "training.schedule.0.rounds"),
        ({"preprocessing": {"channels": 2}}, "preprocessing.channels"),
        ({"encoder": {"pooling": "sum"}}, "encoder.pooling"),
        ({"augmentation": {"new_identities": ["turn45"]}}, "augmentation.new_identities.0"),
        ({"split": {"test_share": 0.5}}, "split.test_share"),
        ({"training": 5}, "training"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_to_do(values, place):
    with pytest.raises(SettingsError) as caught:
        settings_from_dict(values, source="whales.yaml")
    sentence = str(caught.value)
    assert sentence.startswith(f"whales.yaml: `{place}` is wrong: ")
    assert "Received: " in sentence
    assert sentence.endswith("`siamese settings` lists every setting with its range.")


def test_each_stage_of_the_encoder_needs_its_bottleneck():
    with pytest.raises(SettingsError, match="`widths` and `bottlenecks` must name the same number of stages"):
        settings_from_dict({"encoder": {"widths": [8, 16], "bottlenecks": [4]}})


def test_every_setting_says_what_it_is():
    fields = dict(fields_of(Settings))
    for place, field in fields.items():
        stage = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        assert stage or field.description, place
    assert "TrainingSettings.batch_size" in fields


@given(
    rounds=st.integers(1, 50),
    rate=st.floats(1e-6, 1),
    noise=st.floats(0, 1000),
    widths=st.lists(st.integers(1, 512), min_size=1, max_size=5),
    turns=st.lists(st.sampled_from(["flip", "turn90", "turn180", "turn270"]), unique=True),
)
def test_settings_come_back_from_a_file_as_they_were(tmp_path_factory, rounds, rate, noise, widths, turns):
    settings = settings_from_dict(
        {
            "training": {"schedule": [{"rounds": rounds, "learning_rate": rate, "noise": noise}]},
            "encoder": {"widths": widths, "bottlenecks": widths},
            "augmentation": {"new_identities": turns},
            "evaluation": {"protocols": {"honest": {"must_differ": ["encounter"]}}},
        }
    )
    path = tmp_path_factory.mktemp("settings") / "settings.yaml"
    write_settings(settings, path)
    assert read_settings(path) == settings


@pytest.mark.parametrize("text", ["", "# all defaults\n"])
def test_an_empty_file_gives_the_defaults(text, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_settings(path) == Settings()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("training: {batch_size", "the settings cannot be read"),
        ("- 1\n- 2\n", "settings must be sections with fields. Received: list."),
        ("training: {speed: 3}", "`training.speed` is wrong"),
    ],
)
def test_a_wrong_file_is_named(text, sentence, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=sentence) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match="nothing.yaml: the settings cannot be read"):
        read_settings(tmp_path / "nothing.yaml")


def test_a_phase_is_one_round_of_one_epoch_unless_it_says_otherwise():
    phase = PhaseSettings()
    assert (phase.rounds, phase.epochs_per_round, phase.final_noise, phase.final_learning_rate) == (1, 1, None, None)
