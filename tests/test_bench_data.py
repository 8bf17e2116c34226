import numpy as np
from PIL import Image

from siamese.bench.data import PHOTO_SIZE, bench_data, draw_photos
from siamese.settings import CheckSettings


def test_a_few_photos_and_hashes_are_measured():
    numbers = bench_data(num_photos=8, num_hashes=100, settings=CheckSettings(workers=1))
    assert {"photos_per_s", "kib_per_photo", "hashes_per_s"} <= set(numbers)
    assert all(value > 0 for value in numbers.values())


def test_drawn_photos_have_one_megapixel_and_detail_at_every_scale(tmp_path):
    first, second = draw_photos(tmp_path, 2)
    with Image.open(first) as image:
        assert image.size == PHOTO_SIZE
        fine = np.asarray(image.convert("L"), dtype=float)
    coarse = fine.reshape(28, 32, 36, 32).mean(axis=(1, 3))
    assert coarse.std() > 10
    assert np.diff(fine, axis=1).std() > 3
    assert first.read_bytes() != second.read_bytes()
