from pathlib import Path

import pytest

from siamese import recipes
from siamese.errors import SettingsError
from siamese.recipes import find_recipe, resolve_settings
from siamese.settings import Settings

RECIPES = sorted((Path(__file__).resolve().parent.parent / "recipes").glob("*.yaml"))


@pytest.fixture
def own_recipes(tmp_path, monkeypatch):
    """The recipe folder of somebody's project, the working folder now."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "recipes"
    folder.mkdir()
    return folder


def test_without_recipe_file_or_values_the_defaults_stand():
    assert resolve_settings(None, None, []) == Settings()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_holds_valid_settings(path):
    assert isinstance(resolve_settings(path.stem, None, []), Settings)


def test_the_file_overrides_the_recipe_and_a_single_value_both(own_recipes, tmp_path):
    (own_recipes / "mine.yaml").write_text("training: {seed: 1, batch_size: 16, min_photos: 3}", encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text("training: {seed: 2, batch_size: 32}", encoding="utf-8")
    training = resolve_settings("mine", config, ["training.seed=3", "encoder.pooling=gem"]).training
    assert (training.seed, training.batch_size, training.min_photos) == (3, 32, 3)


def test_the_last_of_two_values_wins():
    assert resolve_settings(None, None, ["training.seed=1", "training.seed=2"]).training.seed == 2


def test_a_value_is_read_as_yaml():
    settings = resolve_settings(
        None, None, ["preprocessing.anisotropy=2.15", "encoder.stem_pool=no", "augmentation.zoom=[0.9, 1.0]"]
    )
    assert settings.preprocessing.anisotropy == 2.15
    assert settings.encoder.stem_pool is False
    assert settings.augmentation.zoom == (0.9, 1.0)


def test_an_own_recipe_comes_before_the_projects_one_of_the_same_name(own_recipes):
    (own_recipes / "humpback_400.yaml").write_text("training: {seed: 77}", encoding="utf-8")
    assert resolve_settings("humpback_400", None, []).training.seed == 77
    assert find_recipe("humpback_400.yaml") == Path("recipes/humpback_400.yaml")


def test_an_unknown_recipe_is_told_with_those_there_are(own_recipes):
    (own_recipes / "bats.yaml").write_text("", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"`recipe` must be one of .*bats.*humpback_400.* Received: 'cats'\."):
        find_recipe("cats")


def test_without_any_recipe_the_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "FOLDERS", (tmp_path / "recipes",))
    with pytest.raises(SettingsError, match=r"`recipe` must be one of \(none here\). Received: 'cats'"):
        find_recipe("cats")


@pytest.mark.parametrize("text", ["training.seed", "seed=3", "=", ""])
def test_a_value_without_section_or_sign_is_told(text):
    with pytest.raises(SettingsError, match="A setting must look like training.batch_size=32. Received: ") as caught:
        resolve_settings(None, None, [text])
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["training.seed=[1", "training.seed='1", "training.seed={a: b: c}"])
def test_a_value_that_is_not_yaml_is_told(text):
    with pytest.raises(SettingsError, match="A setting must look like training.batch_size=32. Received: "):
        resolve_settings(None, None, [text])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("training: [", "cannot be read"), ("- a", "settings must be sections with fields. Received: list")],
)
def test_a_wrong_config_is_named(text, sentence, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=sentence) as caught:
        resolve_settings(None, config, [])
    assert str(config) in str(caught.value)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(SettingsError, match="absent.yaml: the settings cannot be read"):
        resolve_settings(None, tmp_path / "absent.yaml", [])


def test_protocols_of_a_recipe_and_a_file_stand_side_by_side(own_recipes, tmp_path):
    (own_recipes / "mine.yaml").write_text("evaluation: {protocols: {published: {}}}", encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text("evaluation: {protocols: {honest: {must_differ: [encounter]}}}", encoding="utf-8")
    assert sorted(resolve_settings("mine", config, []).evaluation.protocols) == ["honest", "published"]
