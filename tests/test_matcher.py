import json
import math
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import siamese
from siamese.catalog import load_catalog
from siamese.decision import MatchCut, Verification
from siamese.drift import fit_drift, measure_images
from siamese.errors import ImageError, ManifestError, ModelFolderError, SiameseError
from siamese.images import prepare_image
from siamese.manifest import from_folder, read_manifest
from siamese.matcher import Matcher, model_fingerprint, preprocessing_fingerprint
from siamese.models.storage import load_model
from siamese.scoring import Embedder, score_matrix
from siamese.settings import RankingSettings
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


def test_verify_keeps_to_the_rate_and_the_prior_that_are_asked_for(matcher, photos):
    strict, loose = (matcher.verify(*photos[:2], false_match_rate=rate) for rate in (0.001, 0.05))
    assert strict.false_match_rate <= 0.001
    assert strict.false_match_low <= 0.001 <= strict.false_match_high
    cut = matcher.decision.match_cut(0.05)
    assert (loose.false_match_rate, loose.false_match_high) == (cut.reached, cut.high)
    assert (loose.prior, matcher.verify(*photos[:2], prior=0.01).prior) == (matcher.decision.prior, 0.01)
    assert (loose.verdict == "same") == (loose.score >= cut.score)
    assert matcher.verify(*photos[:2], prior=0.01).probability < matcher.verify(*photos[:2], prior=0.9).probability


def test_the_rate_that_is_asked_for_decides_the_verdict(finished_run, photos):
    own = siamese.load(finished_run.folder / "model")
    own.decision = replace(own.decision, same_above=99.0, match_cuts=(MatchCut(0.05, -99.0, 0.05, 0.0, 1.0),))
    assert own.verify(*photos[:2]).verdict != "same"
    assert own.verify(*photos[:2], false_match_rate=0.05).verdict == "same"


def test_an_answer_says_how_often_it_is_wrong():
    answer = Verification(3.21, 0.97, 0.5, "same", 0.01, 0.00042, 0.0212, 0.026)
    assert answer.sentence == (
        "The same animal (score 3.21). Probability of the same animal: 97 %, if 50 % of the pairs you ask about are. "
        "Of pairs of different animals 1 % are called the same; for animals never seen this lies between 0.042 % and "
        "2.1 % (95 % interval). Of pairs of one animal 2.6 % are called different."
    )
    assert replace(answer, verdict="different").sentence.startswith("Different animals (score 3.21). Probability")
    older = replace(answer, false_match_low=math.nan, false_match_high=math.nan)
    assert "1 % are called the same; what this may be for animals never seen was not measured" in older.sentence
    unmeasured = replace(answer, verdict="unsure", false_match_rate=math.nan, false_non_match_rate=math.nan)
    assert unmeasured.sentence == (
        "Unsure: too alike to be called different, too unlike to be called the same (score 3.21). Probability of the "
        "same animal: 97 %, if 50 % of the pairs you ask about are. How often different animals are called the same "
        "was not measured."
    )


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.0, ": 0 %"), (1e-9, ": < 0.001 %"), (0.00123, ": 0.12 %"), (0.9968, ": 99.7 %"), (0.99995, ": > 99.9 %")],
)
def test_a_rare_case_is_not_told_as_none(probability, words):
    assert f"{words}, if" in Verification(0.0, probability, 0.5, "same", 0.0, 0.0, 0.1, 0.0).sentence


def test_a_decision_of_another_preprocessing_is_refused(finished_run):
    model = load_model(finished_run.folder / "model")
    assert model.decision["made_for"] == preprocessing_fingerprint(model.settings.preprocessing)
    taller = model.settings.preprocessing.model_copy(update={"height": 99})
    other = replace(model, settings=model.settings.model_copy(update={"preprocessing": taller}))
    with pytest.raises(ModelFolderError, match="must be used under the preprocessing it was fitted with"):
        Matcher(other, "x")


def test_queries_that_look_otherwise_are_told(finished_run, known, rng):
    """The sketch is made of the run's own photos, since its validation photos are too few."""
    model = load_model(finished_run.folder / "model")
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    with open_store(finished_run.folder / "store.h5") as store:
        plain = siamese.load(finished_run.folder / "model")
        embeddings = plain.embed(store.read(np.arange(len(store))))
        names = manifest.select(np.isin(manifest.image_ids, store.image_ids)).identity
        sketch = fit_drift(embeddings, store.read, names)
        images = store.read(np.arange(len(store)))
    told = Matcher(replace(model, drift=sketch.to_dict()), plain.fingerprint)
    assert told.drift is None
    told.rank(images[:24], known)
    assert told.drift.num_photos == 24
    assert told.drift.sentence == ""
    told.rank((images[:24] * 0.3).astype(np.uint8), known)
    assert "brightness" in told.drift.changed
    assert "24 photos do not look like those the model was calibrated on" in told.drift.sentence
    told.rank(known, known)  # embeddings alone
    assert told.drift.num_photos == len(known)
    plain.rank(images[:24], known)
    assert plain.drift is None  # too few validation photos for a sketch of its own


def whole_at_once(matcher, photos):
    """Embeddings and images as they are without blocks."""
    crop = matcher.model.settings.preprocessing
    images = np.stack([prepare_image(photo, np.full(4, np.nan), crop, 0) for photo in photos])
    return Embedder(matcher.model.encoder).embed(lambda index: images[index], len(images)), images


def test_photos_that_are_read_in_batches_give_the_embeddings_of_all_at_once(finished_run, photos, monkeypatch):
    """To the last bit, with a broken photo in the midst."""
    matcher = siamese.load(finished_run.folder / "model")
    broken = photos[0].parent / "broken.jpg"
    many = (photos * 22)[:130]  # two full batches and a part of one
    expected, images = whole_at_once(matcher, many)
    paths = [*many[:70], broken, *many[70:]]
    table = pd.DataFrame({"image_id": [f"q{row}" for row in range(131)], "path": paths, "identity": ""})
    seen = []
    monkeypatch.setattr(matcher, "_sketch", SeenBy(seen))
    matcher.rank(table.astype(str), finished_run.folder / "catalog")
    assert np.array_equal(matcher.embed(table.drop(70).astype(str)), expected)
    assert len(matcher.quarantine) == 1
    ((embeddings, looks),) = seen
    assert np.array_equal(embeddings, expected)
    assert np.array_equal(looks, measure_images(images))


class SeenBy:
    """Keeps what a drift sketch would be asked to compare."""

    def __init__(self, seen):
        self.seen = seen

    def compare(self, embeddings, looks):
        self.seen.append((embeddings, looks))


def test_the_memory_holds_a_few_images_however_many_there_are(finished_run, rng):
    """1,200 images of 60 KB; all of them prepared at once would be 72 MB."""
    model = load_model(finished_run.folder / "model")
    wide = model.settings.preprocessing.model_copy(update={"height": 120, "width": 500})
    settings = model.settings.model_copy(update={"preprocessing": wide})
    matcher = Matcher(replace(model, settings=settings, decision={**model.decision, "made_for": ""}), "x")
    matcher._embedder = MeanGrey()
    images = np.broadcast_to(rng.integers(0, 256, (1, 120, 500), dtype=np.uint8), (1200, 120, 500))
    tracemalloc.start()
    assert len(matcher.embed(images)) == 1200
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


class MeanGrey:
    """Embeds by the mean grey value, so that the memory of the network does not count."""

    batch_size = 64

    def embed(self, read, num_images, on_progress=None):
        return read(np.arange(num_images)).mean(axis=(1, 2, 3), dtype=np.float32)[:, None]


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


def test_an_empty_catalog_scores_nothing_and_names_nobody(matcher, known):
    empty = known.select(np.zeros(len(known), dtype=bool))
    assert matcher.score(known, empty).shape == (len(known), 0)
    with pytest.raises(SiameseError, match="The catalog must say who its photos show"):
        matcher.rank(known, empty)


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


# views and encounters


@pytest.fixture
def with_ranking(own_run):
    """`with_ranking(views={...})` loads the model with other settings of the ranking."""

    def load_with(**ranking):
        found = load_model(own_run / "model")
        chosen = RankingSettings.model_validate(ranking)
        model = replace(found, settings=found.settings.model_copy(update={"ranking": chosen}))
        return Matcher(model, model_fingerprint(own_run / "model"))

    return load_with


def test_flipped_copies_are_compared_with_flipped_copies(with_ranking, matcher, arrays):
    flipping = with_ranking(views={"turns": ["flip"]})
    plain, flipped = matcher.embed(arrays), matcher.embed(arrays[:, :, ::-1])
    np.testing.assert_allclose(flipping.embed(arrays), np.hstack([plain, flipped]), atol=0.1)
    comparator = matcher.model.comparator
    both = flipping.embed(arrays)
    expected = (score_matrix(comparator, both[:, :8]) + score_matrix(comparator, both[:, 8:])) / 2
    np.testing.assert_allclose(flipping.score(arrays, arrays), expected, rtol=1e-5)
    assert flipping.verify(arrays[0], arrays[1]).score == pytest.approx(expected[0, 1], rel=1e-5)


def test_a_saved_catalog_of_other_views_is_refused(with_ranking, finished_run, photos, small_collection, tmp_path):
    flipping = with_ranking(views={"turns": ["flip"]})
    with pytest.raises(SiameseError, match="must hold the views that are asked for: plain; flip. Received: plain"):
        flipping.rank(photos, finished_run.folder / "catalog")
    flipping.catalog(small_collection / "animal1").save(tmp_path / "flipped")
    again = flipping.catalog(tmp_path / "flipped")
    assert again.views == ("plain", "flip")
    assert np.array_equal(again.embeddings, flipping.embed(small_collection / "animal1"))


def test_the_model_ranks_by_its_own_rule(with_ranking, photos, finished_run):
    by_mean = with_ranking(identity_score={"rule": "mean"})
    known = by_mean.catalog(finished_run.folder / "catalog")
    ranking = by_mean.rank(photos[:1], known, top_k=8)
    scores = by_mean.score(photos[:1], known)[0]
    for name, score in zip(ranking.identities[0], ranking.scores[0], strict=True):
        if (known.identity == name).any():
            assert score == pytest.approx(scores[known.identity == name].mean(), rel=1e-5)


def test_photos_of_one_encounter_get_one_answer(matcher, photos, finished_run):
    paths = [str(photo) for photo in photos]
    table = pd.DataFrame({"image_id": paths, "path": paths, "identity": "", "encounter": ["a", "a", "b", "b", "", ""]})
    ranking = matcher.rank(table, finished_run.folder / "catalog", together="encounter")
    assert ranking.query_ids.tolist() == ["a", "b", *paths[4:]]
    alone = matcher.rank(photos[4:], finished_run.folder / "catalog")
    assert ranking.identities[2:].tolist() == alone.identities.tolist()


def test_a_photo_of_an_encounter_that_cannot_be_read_leaves_the_others(finished_run, photos, small_collection):
    matcher = siamese.load(finished_run.folder / "model")
    paths = [str(photos[0]), str(small_collection / "animal0" / "broken.jpg"), str(photos[2])]
    table = pd.DataFrame({"image_id": paths, "path": paths, "identity": "", "trip": ["one", "one", "two"]})
    ranking = matcher.rank(table, finished_run.folder / "catalog", together="trip")
    assert ranking.query_ids.tolist() == ["one", "two"]
    assert np.array_equal(ranking.scores, matcher.rank(photos[:3:2], finished_run.folder / "catalog").scores)
    assert len(matcher.quarantine) == 1


def test_queries_without_the_column_are_told(matcher, photos, finished_run, arrays):
    with pytest.raises(SiameseError, match="must have the column `encounter` .* Received: image_id, path, identity"):
        matcher.rank(photos, finished_run.folder / "catalog", together="encounter")
    with pytest.raises(SiameseError, match="Received: photos without a table"):
        matcher.rank(arrays, finished_run.folder / "catalog", together="encounter")
