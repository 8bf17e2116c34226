import io
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import BaseModel

from siamese import __version__
from siamese.catalog import load_catalog
from siamese.cli.progress import ConsoleListener
from siamese.cli.rank import Format
from siamese.manifest import from_folder
from siamese.settings import Settings, settings_from_dict, write_settings
from siamese.submissions import FORMATS
from siamese.training_state import Record

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def refuses(run_program):
    """`refuses(sentence, "train", ...)` expects exit code 2, nothing on stdout, and a sentence that holds the text."""

    def check(sentence, *arguments):
        code, out, err = run_program(*arguments)
        assert code == 2, err
        assert out == ""
        assert "Traceback" not in err
        last = err.strip().splitlines()[-1]
        assert last.startswith("siamese: ")
        assert sentence in last

    return check


@pytest.fixture
def config(tiny_settings, tmp_path):
    path = tmp_path / "tiny.yaml"
    write_settings(tiny_settings, path)
    return path


@pytest.fixture
def model(finished_run):
    return finished_run.folder / "model"


@pytest.fixture
def catalog(finished_run):
    return finished_run.folder / "catalog"


@pytest.fixture
def photo(small_collection):
    return small_collection / "animal2" / "3.jpg"


def option_names(values, place=()):
    for name, value in values.items():
        if isinstance(value, dict) and len(place) == 0:
            yield from option_names(value, (*place, name))
        else:
            yield ".".join((*place, name))


# train


def test_train_prints_numbers_and_tells_of_its_rounds(run_program, own_run, small_collection, config):
    # The run is finished, so the command only evaluates it again.
    code, out, err = run_program(
        "train", "--manifest", small_collection, "--run", own_run, "--config", config, "--json"
    )
    assert code == 0, err
    metrics = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert {"map5", "map5_known", "top1", "top5", "auc_new", "seconds", "baselines"} <= set(metrics)
    assert "round   2/2" in err
    assert "photos could not be read" in err
    assert str(own_run / "model") in err


def test_a_manifest_without_a_column_is_told(refuses, tmp_path):
    (tmp_path / "m.csv").write_text("image_id,path\na,a.jpg\n", encoding="utf-8")
    sentence = "m.csv: the columns image_id, path and identity must be there. Received: image_id, path. Add identity"
    refuses(sentence, "train", "--manifest", tmp_path / "m.csv", "--run", tmp_path / "run")


def test_a_missing_photo_is_told_with_its_row(refuses, tmp_path):
    (tmp_path / "m.csv").write_text("image_id,path,identity\na,a.jpg,Mara\n", encoding="utf-8")
    refuses("m.csv, row 2: the photo must exist", "train", "--manifest", tmp_path / "m.csv", "--run", tmp_path / "run")


def test_a_missing_manifest_is_told(refuses, tmp_path):
    sentence = "there must be a file of labels or a folder. Received: nothing of this name"
    refuses(sentence, "train", "--manifest", tmp_path / "absent", "--run", tmp_path / "run")


def test_an_empty_folder_is_told(refuses, tmp_path):
    (tmp_path / "empty").mkdir()
    refuses(
        "Received: a folder without photos and without a file of labels",
        "train",
        "--manifest",
        tmp_path / "empty",
        "--run",
        tmp_path / "run",
    )


def test_an_individual_with_over_half_of_the_photos_is_told(refuses, tmp_path, draw_photo, config):
    for number in range(20):
        draw_photo(tmp_path / "photos" / ("Mara" if number < 14 else f"other{number % 3}") / f"{number}.jpg")
    sentence = "No individual may have more than half of the photos that train"
    refuses(sentence, "train", "--manifest", tmp_path / "photos", "--run", tmp_path / "run", "--config", config)


def test_photos_none_of_which_can_be_read_are_told(refuses, tmp_path, config):
    for number in range(20):
        place = tmp_path / "photos" / f"animal{number % 4}" / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"no photo")
    sentence = "At least one photo must be readable. Received: 20 photos, none of them readable"
    refuses(sentence, "train", "--manifest", tmp_path / "photos", "--run", tmp_path / "run", "--config", config)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--set", "training.speed=3", "`training.speed` is wrong"),
        ("--set", "training.batch_size=two", "`training.batch_size` is wrong"),
        ("--set", "batch_size=2", "A setting must look like training.batch_size=32. Received: 'batch_size=2'"),
        ("--set", "training.seed=[", "A setting must look like training.batch_size=32"),
        ("--recipe", "walrus", "`recipe` must be one of"),
        ("--config", "/absent/settings.yaml", "the settings cannot be read"),
    ],
)
def test_a_wrong_setting_is_told(refuses, small_collection, tmp_path, option, value, sentence):
    refuses(sentence, "train", "--manifest", small_collection, "--run", tmp_path / "run", option, value)
    assert not (tmp_path / "run").exists()


def test_images_too_small_for_the_encoder_are_told(refuses, small_collection, tmp_path, config):
    small = ["--config", config, "--set", "encoder.stem_stride=64"]
    refuses(
        "`input_shape` must be at least 64", "train", "--manifest", small_collection, "--run", tmp_path / "run", *small
    )


def test_a_run_of_other_settings_is_told(refuses, own_run, small_collection, config):
    arguments = ["--manifest", small_collection, "--run", own_run, "--config", config, "--set", "training.seed=9"]
    refuses("a run folder belongs to one training", "train", *arguments)


def test_a_run_folder_that_is_a_file_is_told(refuses, small_collection, tmp_path, config):
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    refuses(
        str(tmp_path / "run"), "train", "--manifest", small_collection, "--run", tmp_path / "run", "--config", config
    )
    assert (tmp_path / "run").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("num_bytes", [300, 9_000])
def test_a_full_disk_is_told(refuses, small_collection, tmp_path, config, full_disk, num_bytes):
    with full_disk(num_bytes):
        arguments = ["--manifest", small_collection, "--run", tmp_path / "run", "--config", config]
        refuses("must be writable. Received: File too large. Free space on the disk", "train", *arguments)


def test_the_installed_program_itself_ends_with_a_sentence_when_the_disk_is_full(small_collection, tmp_path, config):
    command = [sys.executable, "-c", "from siamese.cli import main; main()", "train"]
    command += ["--manifest", small_collection, "--run", tmp_path / "run", "--config", config]
    answer = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000)),
    )
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    assert answer.stderr.strip().splitlines()[-1].startswith("siamese: ")
    assert "File too large" in answer.stderr


def test_an_interrupted_program_says_that_it_can_go_on(run_program, monkeypatch, small_collection, tmp_path, config):
    def interrupt(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("siamese.pipeline.build_store", interrupt)
    code, out, err = run_program("train", "--manifest", small_collection, "--run", tmp_path / "run", "--config", config)
    assert (code, out) == (130, "")
    assert "siamese: interrupted; the same command goes on from the last finished round." in err


# rank, verify, embed, report, settings


def test_rank_prints_a_table(run_program, model, catalog, photo):
    code, out, err = run_program("rank", "--model", model, "--queries", photo, "--catalog", catalog, "--top-k", 3)
    assert code == 0, err
    table = pd.read_csv(io.StringIO(out))
    assert list(table.columns) == ["image_id", "rank", "identity", "score", "probability", "match"]
    assert table["rank"].tolist() == [1, 2, 3]


def test_rank_prints_json(run_program, model, catalog, photo):
    _, out, _ = run_program("rank", "--model", model, "--queries", photo, "--catalog", catalog, "--json")
    rows = json.loads(out)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0]["image_id"] == str(photo)


def test_rank_puts_known_labels_first_and_other_names_of_the_animal_behind(
    run_program, model, catalog, photo, tmp_path
):
    names = sorted(pd.read_csv(catalog / "images.csv")["identity"].unique())[:2]
    pd.DataFrame({"Image": [str(photo)], "Id": [names[1]]}).to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame({"Id": [1], "SubId": [" ".join(names)]}).to_csv(tmp_path / "double.csv", index=False)
    lists = ["--known-labels", tmp_path / "labels.csv", "--duplicate-identities", tmp_path / "double.csv"]
    code, out, err = run_program("rank", "--model", model, "--queries", photo, "--catalog", catalog, *lists)
    assert code == 0, err
    assert pd.read_csv(io.StringIO(out))["identity"].tolist()[:2] == names[::-1]
    assert "1 photo: 0 called new (0%); 1 of" in err


def test_rank_takes_lists_for_photos_asked_about_alone(refuses, model, catalog, photo, tmp_path):
    (tmp_path / "labels.csv").write_text("Image,Id\n")
    arguments = ["--model", model, "--queries", photo, "--catalog", catalog, "--together", "encounter"]
    refuses("asked about alone", "rank", *arguments, "--known-labels", tmp_path / "labels.csv")


def test_a_submission_answers_for_each_photo(refuses, model, catalog, photo):
    arguments = ["--model", model, "--queries", photo, "--catalog", catalog, "--together", "encounter"]
    refuses("must answer for each photo", "rank", *arguments, "--format", "humpback")


def test_rank_writes_a_submission_and_tells_what_it_left_out(run_program, model, catalog, small_collection, tmp_path):
    arguments = ["--model", model, "--queries", small_collection / "animal0", "--catalog", catalog]
    code, out, err = run_program("rank", *arguments, "--format", "humpback", "--out", tmp_path / "out" / "s.csv.gz")
    assert (code, out) == (0, ""), err
    submission = pd.read_csv(tmp_path / "out" / "s.csv.gz")
    assert list(submission.columns) == ["Image", "Id"]
    assert len(submission) == 6
    assert {len(answers.split()) for answers in submission["Id"]} == {5}
    assert err.count("left out: ") == 1
    assert "broken.jpg" in err


def test_rank_checks_a_submission_against_the_sample(run_program, refuses, model, catalog, small_collection, tmp_path):
    arguments = ["rank", "--model", model, "--queries", small_collection / "animal1", "--catalog", catalog]
    names = ["image_id,identity", *(f"{photo},x" for photo in (5, 3, 1, 0, 2, 4))]
    sample = tmp_path / "sample.csv"
    sample.write_text("\n".join(names))
    code, out, err = run_program(*arguments, "--format", "animalclef2025", "--sample", sample)
    assert code == 0, err
    assert pd.read_csv(io.StringIO(out))["image_id"].tolist() == [5, 3, 1, 0, 2, 4]
    sample.write_text("\n".join([*names, "6,x"]))
    refuses("lacks 1 ids, such as 6", *arguments, "--format", "animalclef2025", "--sample", sample)
    refuses("there must be 5 answers", *arguments, "--format", "happywhale", "--top-k", "3")
    refuses("Leave it out, or choose --format", *arguments, "--sample", sample)


def test_rank_groups_photos_for_animalclef_2026(run_program, refuses, model, catalog, small_collection, tmp_path):
    manifest = from_folder(small_collection / "animal1")
    manifest.with_column("dataset", np.full(6, "Lynx", dtype=object)).write(tmp_path / "asked.csv")
    arguments = ["rank", "--model", model, "--catalog", catalog, "--format", "animalclef2026", "--queries"]
    code, out, err = run_program(*arguments, tmp_path / "asked.csv")
    assert code == 0, err
    clusters = pd.read_csv(io.StringIO(out))["cluster"]
    assert clusters.str.fullmatch(r"cluster_Lynx_\d+").all()
    assert len(clusters) == 6
    refuses("Every query must have a data set", *arguments, small_collection / "animal1")


def test_every_format_of_submissions_can_be_asked_for():
    assert {form.value for form in Format} == {"table", *FORMATS}


def test_verify_answers_in_words_and_in_json(run_program, model, photo, small_collection, matcher):
    other = small_collection / "animal1" / "0.jpg"
    code, out, _ = run_program("verify", "--model", model, photo, other)
    assert code == 0
    assert re.match("The same animal|Different animals|Unsure", out)
    _, out, _ = run_program("verify", "--model", model, other, photo, "--json")
    assert json.loads(out) == vars(matcher.verify(photo, other))


def test_verify_tells_the_rate_of_false_matches_with_its_interval(run_program, model, photo, small_collection, refuses):
    other = small_collection / "animal1" / "0.jpg"
    _, out, _ = run_program("verify", "--model", model, photo, other, "--false-match-rate", 0.05)
    assert re.search(r"are called the same; for animals never seen this lies between [\d.]+ % and [\d.]+ %", out)
    _, rare, _ = run_program("verify", "--model", model, photo, other, "--prior", 0.001, "--json")
    _, even, _ = run_program("verify", "--model", model, photo, other, "--prior", 0.5, "--json")
    assert json.loads(rare)["probability"] < json.loads(even)["probability"]
    refuses("calibrated for: 0.001, 0.01, 0.05", "verify", "--model", model, photo, other, "--false-match-rate", 0.3)
    refuses("`prior` must lie between 0 and 1", "verify", "--model", model, photo, other, "--prior", 2)


def test_embed_makes_a_catalog_that_rank_reads(run_program, model, small_collection, photo, tmp_path):
    code, out, err = run_program("embed", "--model", model, "--photos", small_collection, "--out", tmp_path / "known")
    assert code == 0, err
    assert out == f"{tmp_path / 'known'}: 48 photos\n"
    assert len(load_catalog(tmp_path / "known")) == 48
    code, out, _ = run_program("rank", "--model", model, "--queries", photo, "--catalog", tmp_path / "known")
    assert code == 0
    assert len(pd.read_csv(io.StringIO(out))) == 5


def test_report_writes_the_page_and_prints_the_numbers_again(run_program, own_run, finished_run):
    page = own_run / "report" / "index.html"
    code, out, _ = run_program("report", "--run", own_run)
    assert code == 0
    assert "this model" in out
    assert out.splitlines()[-1] == str(page)
    page.unlink()
    _, out, _ = run_program("report", "--run", own_run, "--json")
    told = json.loads(out)
    assert (told["map5"], told["page"]) == (finished_run.metrics["map5"], str(page))
    assert page.is_file()


def test_a_run_without_a_report_is_told(refuses, tmp_path):
    refuses("there must be a report", "report", "--run", tmp_path)


def test_a_folder_without_a_model_is_told(refuses, catalog, photo, tmp_path):
    refuses(
        "a model folder must hold model.json", "rank", "--model", tmp_path, "--queries", photo, "--catalog", catalog
    )
    refuses("a model folder must hold model.json", "verify", "--model", tmp_path, photo, photo)


def test_a_changed_model_is_told(refuses, own_run, catalog, photo):
    (own_run / "model" / "decision.json").write_text("{}", encoding="utf-8")
    arguments = ["--model", own_run / "model", "--queries", photo, "--catalog", catalog]
    refuses("`decision.json` was changed after it was saved", "rank", *arguments)


def test_a_photo_that_cannot_be_read_or_is_not_there_is_told(refuses, model, photo, small_collection, tmp_path):
    refuses("the file must be a photo", "verify", "--model", model, photo, small_collection / "animal0" / "broken.jpg")
    refuses("the photo must exist", "verify", "--model", model, photo, tmp_path / "absent.jpg")


def test_a_full_disk_is_told_when_a_ranking_or_a_catalog_is_written(
    refuses, model, catalog, small_collection, tmp_path, full_disk
):
    queries = small_collection / "animal1"
    with full_disk(100):
        arguments = ["--model", model, "--queries", queries, "--catalog", catalog, "--out", tmp_path / "ranking.csv"]
        refuses("ranking.csv: the file must be writable", "rank", *arguments)
        refuses(
            "the file must be writable", "embed", "--model", model, "--photos", queries, "--out", tmp_path / "known"
        )
    assert not (tmp_path / "ranking.csv").exists()


def test_a_missing_option_is_told_with_exit_code_2(run_program):
    code, out, err = run_program("train", "--run", "x")
    assert (code, out) == (2, "")
    assert "--manifest" in err


def test_settings_prints_every_setting_as_yaml_that_config_reads(run_program, tmp_path):
    code, out, _ = run_program("settings", "--set", "training.batch_size=32")
    assert code == 0
    expected = settings_from_dict({"training": {"batch_size": 32}})
    assert settings_from_dict(yaml.safe_load(out)) == expected
    assert set(option_names(yaml.safe_load(out))) == set(option_names(expected.model_dump(mode="json")))
    for section in Settings.model_fields.values():
        assert issubclass(section.annotation, BaseModel)
        for field in section.annotation.model_fields.values():
            assert f"  # {field.description}\n" in out


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
def test_settings_prints_every_recipe(run_program, recipe):
    code, out, err = run_program("settings", "--recipe", recipe)
    assert code == 0, err
    settings_from_dict(yaml.safe_load(out))


def test_version_is_that_of_the_package(run_program):
    assert run_program("--version")[:2] == (0, f"{__version__}\n")


def test_the_listener_prints_one_line_a_round(capsys):
    record = Record(3, 1, 64e-5, 1000.0, 0.0, 20, loss=0.5, accuracy=0.75, mean_score=0.5, correct_pairs=0.6)
    with ConsoleListener() as told:
        told.stage("embed", 1, 2)
        told.stage("fit", 2, 2)
        told.say(
            "A sentence that is longer than eighty characters stays one line, so that a log can be searched for it."
        )
        told.round(record, 12)
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line.strip()]
    assert "A sentence that is longer than eighty characters stays one line, so that a log" in lines[0]
    for words in ("round   3/12", "K 1000.00", "rate 6.4e-04", "loss 0.500", "accuracy 75.0%", "correct pairs 60.0%"):
        assert any(words in line for line in lines), words
