import shutil

import numpy as np
import pytest

from siamese.manifest import from_folder, from_table
from siamese.settings import PreprocessingSettings
from siamese.store import build_store, decoded_photos
from siamese.store_plan import StorePlan, plan_store

SMALL = PreprocessingSettings(height=48, width=64, channels=3)


@pytest.fixture
def many(photo_folder):
    nine = from_folder(photo_folder)
    rows = np.arange(300)
    return from_table(nine.table.iloc[rows % 9].assign(image_id=[f"row{row}" for row in rows]), photo_folder)


def test_a_plan_tells_the_size_that_the_store_then_has(many, tmp_path):
    plan = plan_store(many, tmp_path / "images.h5", SMALL)
    assert list(tmp_path.glob("*.h5")) == []
    assert (plan.num_photos, plan.bytes_per_image) == (300, 48 * 64 * 3)
    build_store(many, tmp_path / "images.h5", SMALL).close()
    assert (tmp_path / "images.h5").stat().st_size == pytest.approx(plan.file_bytes, rel=0.01)


def test_a_plan_for_more_photos_than_there_are_grows_with_their_number(many, tmp_path):
    plan = plan_store(many, tmp_path / "images.h5", SMALL, num_photos=25_361, sample=20)
    assert plan.num_photos == 25_361
    assert plan.file_bytes == 25_361 * (48 * 64 * 3 + 64)
    assert plan.seconds == pytest.approx(25_361 / plan.photos_per_second)


def test_a_plan_decodes_no_more_than_its_sample(many, tmp_path, monkeypatch):
    decoded = []

    def counted(manifest, settings, rows):
        decoded.extend(rows)
        return decoded_photos(manifest, settings, rows)

    monkeypatch.setattr("siamese.store_plan.decoded_photos", counted)
    for _ in range(2):
        plan_store(many, tmp_path / "images.h5", SMALL, sample=20)
    assert len(set(decoded[:20])) == 20
    assert decoded[:20] == decoded[20:]  # the same ones each time
    decoded.clear()
    plan_store(many, tmp_path / "images.h5", SMALL, sample=1000)
    assert sorted(decoded) == list(range(300))


def test_a_plan_goes_on_over_photos_that_cannot_be_read(many, photo_folder, tmp_path):
    (photo_folder / "Zuri" / "1.jpg").write_text("not a photo")
    assert plan_store(many, tmp_path / "images.h5", SMALL).photos_per_second > 0


def test_free_space_is_that_of_a_folder_that_is_yet_to_be_made(many, tmp_path):
    plan = plan_store(many, tmp_path / "new" / "folder" / "images.h5", SMALL, sample=1)
    assert plan.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert not (tmp_path / "new").exists()


def test_the_sentence_rounds_minutes_up():
    assert "about 1 minute (" in StorePlan(9, 64, 1152, 100.0, 0.09, 10**9).sentence()
    assert "about 3 minutes (" in StorePlan(9, 64, 1152, 100.0, 120.5, 10**9).sentence()
