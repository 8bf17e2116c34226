import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import siamese
from siamese.catalog import load_catalog
from siamese.errors import ImageError, ManifestError, ModelFolderError, SiameseError
from siamese.manifest import from_folder, read_manifest
from siamese.matcher import Matcher, model_fingerprint
from siamese.scoring import score_matrix
from siamese.store import open_store


@pytest.fixture(scope="module")
def known(finished_run, matcher):
    """The saved catalog of the run, opened by its model."""
    return matcher.catalog(finished_run.folder / "catalog")


@pytest.fixture(scope="module")
def photos(small_collection):
    return [small_collection / f"animal{animal}" / f"{photo}.jpg" for animal in range(3) for photo in range(2)]


@pytest.fixture(scope="module")
def arrays(photos):
    return np.stack([np.asarray(Image.open(photo)) for photo in photos])


def test_the_package_names_what_it_offers():
    assert sorted(siamese.__all__) == ["__version__", "load"]
    assert all(hasattr(siamese, name) for name in siamese.__all__)


def test_load_gives_a_matcher_whether_the_folder_is_text_or_a_path(finished_run, matcher):
    assert isinstance(matcher, Matcher)
    again = siamese.load(str(finished_run.folder / "model"))
    assert again.fingerprint == matcher.fingerprint == model_fingerprint(finished_run.folder / "model")
    assert again.decision == matcher.decision


# embeddings and scores


def test_the_loaded_model_gives_the_embeddings_of_the_saved_catalog_to_the_last_bit(finished_run, matcher, known):
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    rows = [int(np.flatnonzero(manifest.image_ids == image_id)[0]) for image_id in known.image_ids]
    assert np.array_equal(matcher.embed(manifest.select(np.array(rows))), known.embeddings)
    assert np.array_equal(matcher.embed(finished_run.folder / "catalog"), known.embeddings)


def test_a_stored_image_is_embedded_as_its_photo_is(finished_run, matcher, known):
    with open_store(finished_run.folder / "store.h5") as store:
        rows = [store.image_ids.tolist().index(image_id) for image_id in known.image_ids]
        assert np.array_equal(matcher.embed(store.read(np.array(rows))), known.embeddings)


def test_photos_are_embedded_alike_however_they_are_given(small_collection, matcher, photos, tmp_path):
    table = pd.DataFrame({"image_id": [str(photo) for photo in photos], "path": photos, "identity": ""})
    path = tmp_path / "photos.csv"
    table.to_csv(path, index=False)
    expected = matcher.embed(photos)
    assert expected.shape == (6, 8)
    assert expected.dtype == np.float32
    for same in ([str(photo) for photo in photos], table, path, str(path), read_manifest(path), tuple(photos)):
        assert np.array_equal(matcher.embed(same), expected)
    assert np.array_equal(matcher.embed(photos[0]), expected[:1])
    assert np.array_equal(matcher.embed(str(photos[0])), expected[:1])
    folder = matcher.embed(small_collection / "animal1")
    assert np.array_equal(folder[:2], expected[2:4])


def test_arrays_are_prepared_as_photos_are(matcher, arrays, photos):
    # A JPEG may be decoded smaller, so the photo in memory differs by a grey value here and there.
    np.testing.assert_allclose(matcher.embed(arrays), matcher.embed(photos), atol=0.1)
    grey = arrays.mean(axis=-1).astype(np.uint8)
    assert matcher.embed(grey).shape == matcher.embed(grey[..., None]).shape == (6, 8)


def test_scores_are_those_of_the_saved_embeddings(finished_run, matcher, known):
    scores = matcher.score(finished_run.folder / "catalog", known_photos := finished_run.folder / "catalog")
    assert scores.dtype == np.float32
    assert np.array_equal(scores, score_matrix(matcher.model.comparator, known.embeddings))
    assert np.array_equal(scores, scores.T)
    assert np.array_equal(scores, matcher.score(known, known_photos))


def test_who_asks_and_who_answers_does_not_change_the_score(matcher, photos):
    scores = matcher.score(photos[:2], photos[2:])
    assert scores.shape == (2, 4)
    assert np.array_equal(scores, matcher.score(photos[2:], photos[:2]).T)


def test_verify_says_the_same_whichever_photo_comes_first(matcher, photos, arrays):
    answer = matcher.verify(photos[0], photos[3])
    assert answer == matcher.verify(str(photos[3]), photos[0])
    assert answer.score == matcher.score(photos[:1], photos[3:4])[0, 0]
    assert 0 <= answer.probability <= 1
    assert answer.verdict in ("same", "different", "unsure")
    assert matcher.verify(arrays[0], arrays[3]) == matcher.verify(arrays[3], arrays[0])


# rankings


def test_a_query_is_ranked_the_same_in_whatever_form_queries_and_catalog_come(
    finished_run, matcher, small_collection, photos, tmp_path
):
    catalog = from_folder(small_collection)
    catalog = catalog.select(catalog.image_ids != "animal0/broken")
    path = tmp_path / "catalog.csv"
    catalog.write(path)
    embedded = matcher.catalog(path)
    embedded.save(tmp_path / "saved")
    reference = matcher.rank(photos, path).to_frame()
    for queries in (photos, [str(photo) for photo in photos]):
        for known in (path, str(path), catalog, embedded, tmp_path / "saved", str(tmp_path / "saved")):
            pd.testing.assert_frame_equal(matcher.rank(queries, known).to_frame(), reference)
    frame = catalog.table.assign(path=[str(place) for place in catalog.paths])
    pd.testing.assert_frame_equal(matcher.rank(photos, frame).to_frame(), reference)


def test_a_ranking_lists_each_individual_once_best_first(matcher, photos, finished_run):
    ranking = matcher.rank(photos, finished_run.folder / "catalog", top_k=4)
    assert ranking.identities.shape == (6, 4)
    for identities, scores in zip(ranking.identities, ranking.scores, strict=True):
        assert len(set(identities)) == 4
        assert np.all(np.diff(scores) <= 0)
    frame = ranking.to_frame()
    assert list(frame.columns) == ["image_id", "rank", "identity", "score", "probability"]
    assert frame["rank"].tolist() == [1, 2, 3, 4] * 6
    assert frame["probability"].between(0, 1).all()
    submission = ranking.to_submission("new_whale")
    assert list(submission.columns) == ["Image", "Id"]
    assert submission["Id"].str.split().str.len().tolist() == [4] * 6


def test_arrays_are_ranked_too(matcher, arrays, finished_run):
    ranking = matcher.rank(arrays, finished_run.folder / "catalog")
    assert ranking.query_ids.tolist() == [f"image_{number}" for number in range(6)]


def test_a_photo_does_not_answer_itself(matcher, small_collection, known):
    ranking = matcher.rank(known, known)
    assert len(ranking) == len(known)
    rows = ranking.catalog_rows
    assert not np.any(rows == np.arange(len(known))[:, None])


def test_a_query_that_cannot_be_read_is_left_out_and_listed(finished_run, photos, small_collection):
    matcher = siamese.load(finished_run.folder / "model")
    broken = small_collection / "animal0" / "broken.jpg"
    ranking = matcher.rank([photos[0], broken, photos[1]], finished_run.folder / "catalog")
    assert ranking.query_ids.tolist() == [str(photos[0]), str(photos[1])]
    ((path, reason),) = matcher.quarantine
    assert path == str(broken)
    assert "the file must be a photo" in reason
    assert np.array_equal(ranking.scores, matcher.rank(photos[:2], finished_run.folder / "catalog").scores)


# what is refused


def test_embedding_a_photo_that_cannot_be_read_is_an_error(matcher, small_collection):
    with pytest.raises(ImageError, match="broken.jpg: the file must be a photo"):
        matcher.embed(small_collection / "animal0" / "broken.jpg")


def test_without_a_readable_photo_there_is_nothing_to_rank(matcher, small_collection, finished_run):
    with pytest.raises(SiameseError, match="At least one photo must be readable. Received: none"):
        matcher.rank(small_collection / "animal0" / "broken.jpg", finished_run.folder / "catalog")


def test_a_missing_photo_is_told(matcher, tmp_path):
    with pytest.raises(ManifestError, match="the photo must exist. Received: .*nowhere.jpg"):
        matcher.embed([tmp_path / "nowhere.jpg"])
    with pytest.raises(ManifestError, match="nothing of this name"):
        matcher.embed(tmp_path / "nowhere")


def test_a_catalog_that_names_nobody_is_told(matcher, photos):
    with pytest.raises(SiameseError, match="The catalog must say who its photos show. Received: no identity"):
        matcher.rank(photos[:1], photos[1:])


@pytest.mark.parametrize("shape", [(8,), (0, 8, 8, 1), (2, 8, 8, 5)])
def test_an_array_that_holds_no_images_is_told(matcher, shape):
    with pytest.raises(SiameseError, match="Received: "):
        matcher.embed(np.zeros(shape, np.uint8))


def test_a_catalog_of_another_model_is_refused(finished_run, matcher, photos, tmp_path):
    shutil.copytree(finished_run.folder / "catalog", tmp_path / "catalog")
    index = json.loads((tmp_path / "catalog" / "catalog.json").read_text(encoding="utf-8"))
    index["model"] = "of another year"
    (tmp_path / "catalog" / "catalog.json").write_text(json.dumps(index), encoding="utf-8")
    for catalog in (tmp_path / "catalog", load_catalog(tmp_path / "catalog")):
        with pytest.raises(SiameseError, match="must be made by the model that reads it. Received: a catalog of of an"):
            matcher.rank(photos, catalog)


def test_a_changed_file_in_the_model_folder_is_refused(own_run):
    place = own_run / "model" / "settings.yaml"
    place.write_text(place.read_text(encoding="utf-8").replace("width: 32", "width: 64"), encoding="utf-8")
    with pytest.raises(ModelFolderError, match="`settings.yaml` was changed after it was saved"):
        siamese.load(own_run / "model")


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(ModelFolderError, match="must hold model.json.* such as runs/flukes/model"):
        siamese.load(tmp_path)
