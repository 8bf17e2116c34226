import math
import multiprocessing
import signal
import subprocess
import sys
import time

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

from data_prep.faults import _bomb as black_png
from data_prep.faults import write_faults
from siamese.checks import inspection
from siamese.checks.file_kinds import unreadable_kind
from siamese.checks.inspection import COLUMNS, inspect_photos, read_facts, write_facts
from siamese.checks.photo_facts import PhotoFacts, photo_facts
from siamese.errors import DiskError
from siamese.images import read_image
from siamese.settings import CheckSettings

SETTINGS = CheckSettings(workers=2)


def facts_of(path, **limits):
    return photo_facts(str(path), CheckSettings(**limits))


@pytest.fixture
def save(tmp_path):
    """`save(pixels, name)` writes a photo without loss and returns its path."""

    def save(pixels, name="photo.png", **options):
        Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(tmp_path / name, **options)
        return tmp_path / name

    return save


# ---- one photo


def test_facts_of_two_colours_are_those_on_paper(save):
    pixels = np.zeros((4, 6, 3))
    pixels[:, 3:] = (40, 80, 180)
    facts = facts_of(save(pixels))
    assert (facts.kind, facts.mode, facts.width, facts.height) == ("PNG", "RGB", 6, 4)
    assert (facts.reason, facts.grey, facts.notes, facts.taken) == ("", False, "", "")
    assert facts.brightness == pytest.approx(50)
    assert facts.contrast == pytest.approx(math.sqrt((40**2 + 80**2 + 180**2) / 6 - 50**2))


def test_brightness_contrast_and_hash_are_those_of_the_upright_photo(tmp_path):
    write_faults(tmp_path)
    names = ["turn_6.jpg", "print.jpg", "deep.png", "glass.png", "few_colours.png", "waving.gif", "slow_line.jpg"]
    for name in names:
        path = tmp_path / "photos" / name
        facts, pixels = facts_of(path), read_image(path, 3)
        assert (facts.height, facts.width) == pixels.shape[:2]
        assert facts.brightness == pytest.approx(pixels.mean())
        assert facts.contrast == pytest.approx(pixels.std())
        assert facts.phash == str(imagehash.phash(Image.fromarray(pixels)))
        assert facts.grey == (np.ptp(pixels, axis=2).max() == 0)


def test_one_pixel_of_colour_makes_a_photo_coloured(save):
    pixels = np.repeat(np.arange(200 * 300).reshape(200, 300, 1) % 256, 3, axis=2)
    assert facts_of(save(pixels)).grey
    pixels[101, 57, 2] ^= 1
    assert not facts_of(save(pixels)).grey
    assert facts_of(save(pixels[..., 0])).grey


def test_sharpness_is_the_variance_of_the_laplacian(save, rng):
    pixels = rng.integers(0, 256, (50, 70)).astype(np.uint8)
    laplacian = [
        sum(int(pixels[y + dy, x + dx]) for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))) - 4 * int(pixels[y, x])
        for y in range(1, 49)
        for x in range(1, 69)
    ]
    assert facts_of(save(pixels)).sharpness == pytest.approx(np.var(laplacian))
    # Blocks of 3 x 3 equal pixels are what the photo of 1,536 pixels is reduced to.
    wide = rng.integers(0, 256, (60, 512)).astype(np.uint8)
    assert facts_of(save(np.kron(wide, np.ones((3, 3))))).sharpness == facts_of(save(wide)).sharpness
    assert facts_of(save(np.zeros((2, 9)))).sharpness == 0


def test_the_time_a_photo_was_taken_is_iso_text(save):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[36867] = "2019:05:03 12:30:11"
    assert facts_of(save(np.zeros((8, 8, 3)), "a.jpg", exif=exif)).taken == "2019-05-03T12:30:11"
    exif.get_ifd(0x8769)[36867] = "0000:00:00 00:00:00"
    assert facts_of(save(np.zeros((8, 8, 3)), "b.jpg", exif=exif)).taken == ""


def test_a_photo_that_tells_its_place_is_noted(save):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (60.0, 10.0, 0.0)
    assert facts_of(save(np.zeros((8, 8, 3)), "there.jpg", exif=exif)).notes == "place"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_megapixels": 0.0001}, "larger than the limit of 0.0001 megapixels: its header says 30 x 20."),
        ({"max_megabytes": 0.00001}, "The file is larger than the limit of 1e-05 megabytes"),
    ],
)
def test_limits_are_told_with_what_was_found(save, limits, reason):
    facts = facts_of(save(np.zeros((20, 30))), **limits)
    assert reason in facts.reason
    assert facts.num_bytes > 0
    assert (facts.width, facts.phash, facts.kind) == (0, "", "")


@pytest.mark.parametrize("content", [b"P3 2 2 255 0 0 0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0 JFIF", b"GIF89a"])
def test_the_beginning_of_a_photo_is_no_other_kind_of_file(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert unreadable_kind(tmp_path / "file") == ""


def test_a_heic_photo_without_its_reader_names_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert unreadable_kind(tmp_path / "phone.heic").endswith("needs a reader: pip install pillow-heif.")


# ---- many photos, in processes


def test_no_fault_stops_the_inspection_and_each_is_named(tmp_path):
    write_faults(tmp_path)
    truth = pd.read_csv(tmp_path / "truth.csv", keep_default_na=False)
    progress = []
    facts = inspect_photos(
        [tmp_path / path for path in truth["path"]] * 2, SETTINGS, on_progress=lambda *step: progress.append(step)
    )
    assert facts["path"].tolist() == [str(tmp_path / path) for path in truth["path"]]
    assert tuple(facts.columns) == COLUMNS
    assert progress == [(done, len(truth)) for done in range(len(truth) + 1)]
    for fault, fact in zip(truth.itertuples(), facts.itertuples(), strict=True):
        assert (fact.reason == "") == bool(fault.readable), fact
        assert fault.told in (fact.notes.split(";") if fault.readable else fact.reason), fact
        assert str(tmp_path) not in fact.reason
        assert fault.readable or fact.reason.endswith(".")


def test_a_photo_that_takes_too_long_or_kills_its_worker_costs_only_itself(tmp_path, draw_photo):
    slow = tmp_path / "slow.png"
    slow.write_bytes(black_png(12_000))
    small = [draw_photo(tmp_path / f"{number}.png", seed=number) for number in range(4)]
    facts = inspect_photos([slow, *small], SETTINGS.model_copy(update={"max_seconds": 0.25}))
    assert facts["reason"].tolist() == ["The photo took longer than the limit of 0.25 seconds to decode.", *[""] * 4]

    def kill_workers(done, total):
        for worker in multiprocessing.active_children() if done == len(small) else ():
            worker.kill()

    facts = inspect_photos([slow, *small], SETTINGS, on_progress=kill_workers)
    assert facts["reason"].tolist() == ["The photo ended the process that decoded it (exit code -9).", *[""] * 4]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is kept by Linux alone")
def test_a_worker_cannot_take_all_memory():
    code = (
        "import numpy as np\n"
        "from siamese.checks.photo_facts import prepare_worker\n"
        "from siamese.settings import CheckSettings\n"
        "prepare_worker(CheckSettings(max_megapixels=10))\n"
        "np.ones(100_000_000, np.uint8)\n"
        "try:\n"
        "    np.ones(2_000_000_000, np.uint8)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "refused\n"


def test_the_cache_answers_for_files_that_did_not_change(tmp_path, draw_photo):
    paths = [draw_photo(tmp_path / f"{number}.png", seed=number) for number in range(3)]
    cache = tmp_path / "cache.csv"
    first = inspect_photos(paths[:2], SETTINGS, cache=cache)
    facts = [*read_facts(cache), facts_of(paths[2])]
    write_facts([PhotoFacts(**{**vars(fact), "brightness": 1.0}) for fact in facts], cache)
    cache.write_text(cache.read_text().removesuffix("\n"))  # a kill tore the last row
    draw_photo(paths[1], seed=9)
    again = inspect_photos(paths, SETTINGS, cache=cache)
    assert again["brightness"].tolist()[0] == 1.0
    assert (again["brightness"][1:] > 1.0).all()
    assert again["phash"][1] != first["phash"][1]
    pd.testing.assert_frame_equal(inspect_photos(paths, SETTINGS, cache=cache), again)
    assert [fact.path for fact in read_facts(cache)] == [str(path) for path in paths]


def test_unreadable_photos_are_tried_again(tmp_path, draw_photo):
    path = tmp_path / "photo.png"
    cache = tmp_path / "cache.csv"
    write_facts([PhotoFacts(str(path), 0, 0, "The file is missing.")], cache)
    draw_photo(path)
    assert inspect_photos([path], SETTINGS, cache=cache)["reason"].tolist() == [""]


def test_facts_are_written_and_read_to_the_last_bit(tmp_path):
    facts = [
        PhotoFacts('/a,\n"b" ñ.jpg', 5, 7, "", "JPEG", "RGB", 3, 2, True, 0.1 + 0.2, 1 / 3, 1e-300, "7" * 16, "", "x"),
        PhotoFacts("/lost\udcff.jpg", 0, 0, "The file is missing."),
    ]  # fmt: skip
    write_facts(facts, tmp_path / "facts.csv")
    assert read_facts(tmp_path / "facts.csv") == facts


@pytest.mark.parametrize("content", [b"", b"path,other\n1,2\n", b"\xff\xfe\x00", b"path"])
def test_a_cache_of_another_form_holds_no_facts(content, tmp_path):
    (tmp_path / "cache.csv").write_bytes(content)
    assert read_facts(tmp_path / "cache.csv") == []
    assert read_facts(tmp_path / "missing.csv") == []


def test_no_photo_has_a_table_of_the_same_types(tmp_path, draw_photo):
    nothing = inspect_photos([], SETTINGS)
    one = inspection.facts_table([facts_of(draw_photo(tmp_path / "photo.png"))])
    assert nothing.dtypes.to_dict() == one.dtypes.to_dict()
    assert len(nothing) == 0


def test_a_cache_that_cannot_be_written_is_told(tmp_path, draw_photo):
    path = draw_photo(tmp_path / "photo.png")
    with pytest.raises(DiskError, match="must be writable"):
        inspect_photos([path], SETTINGS, cache=path / "cache.csv")


def test_an_interrupted_inspection_goes_on_where_it_stood(tmp_path, draw_photo):
    slow = [tmp_path / f"slow{number}.png" for number in range(8)]  # enough for a busy machine to interrupt in time
    for path in slow:
        path.write_bytes(black_png(12_000))
    small = [draw_photo(tmp_path / f"{number}.png", seed=number) for number in range(5)]
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job inherits that it is ignored
        "from siamese.checks.inspection import inspect_photos\n"
        "from siamese.settings import CheckSettings\n"
        "if __name__ == '__main__':\n"
        "    told = lambda done, total: print(done, flush=True)\n"
        "    inspect_photos(sys.argv[2:], CheckSettings(workers=1), cache=__import__('pathlib').Path(sys.argv[1]),"
        " on_progress=told)\n"
    )
    cache = tmp_path / "cache.csv"
    arguments = [sys.executable, str(program), str(cache), *map(str, [*small, *slow])]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line) == len(small):
            break
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    process.communicate()
    assert time.monotonic() - start < 30  # a machine may be busy
    assert process.returncode != 0
    assert {fact.path for fact in read_facts(cache)} == {str(path) for path in small}
    counts = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    assert (counts[0], counts[-1]) == ("5", "13")
