import resource
import signal
import subprocess
import sys

import pytest

from siamese.errors import DiskError
from siamese.files import write_atomically, write_together


def test_write_atomically_makes_the_folder_and_the_file(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", lambda path: path.write_text("new"))
    assert (tmp_path / "a" / "b.txt").read_text() == "new"


def test_write_atomically_hands_over_a_path_with_the_same_ending(tmp_path):
    endings = []

    def write(path):
        endings.append(path.name)
        path.touch()

    write_atomically(tmp_path / "model.weights.h5", write)
    assert endings[0].endswith("model.weights.h5")
    assert endings[0] != "model.weights.h5"


def test_write_atomically_keeps_the_earlier_file_when_writing_fails(tmp_path):
    place = tmp_path / "note.txt"
    place.write_text("old")

    def write(path):
        path.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_atomically(place, write)
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_write_atomically_replaces_what_an_earlier_kill_left_behind(tmp_path):
    (tmp_path / ".unfinished-note.txt").write_text("half of an earlier attempt, and long")
    write_atomically(tmp_path / "note.txt", lambda path: path.write_text("whole"))
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    assert (tmp_path / "note.txt").read_text() == "whole"


def test_write_atomically_does_not_disturb_who_reads_the_earlier_file(tmp_path):
    place = tmp_path / "note.txt"
    place.write_text("old")
    with place.open() as reader:
        write_atomically(place, lambda path: path.write_text("new"))
        assert reader.read() == "old"


def test_write_atomically_says_what_to_do_when_the_folder_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"note.txt: the file must be writable\. Received: .*choose another folder"):
        write_atomically(tmp_path / "file" / "note.txt", lambda path: path.write_text("x"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from siamese.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), lambda path: path.write_bytes(bytes(5000)))
except ValueError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="the system has no limit on the size of files")
def test_write_atomically_keeps_the_earlier_file_when_the_disk_is_full(tmp_path):
    assert resource.RLIMIT_FSIZE is not None
    place = tmp_path / "data.bin"
    place.write_bytes(b"old")
    answer = subprocess.run([sys.executable, "-c", FULL_DISK, str(place)], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("DiskError")
    assert "Free space" in answer.stdout
    assert place.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [place]


def test_files_that_belong_together_stand_there_together(tmp_path):
    write_together(tmp_path / "new" / "folder", {"a.txt": b"one", "b.bin": b"\x00"})
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["a.txt", "b.bin"]
    assert (tmp_path / "new" / "folder" / "b.bin").read_bytes() == b"\x00"


def test_files_that_belong_together_stay_as_they_were_when_one_of_them_does_not_fit(tmp_path, full_disk):
    write_together(tmp_path, {"a.txt": b"one", "b.txt": b"two"})
    with full_disk(100), pytest.raises(DiskError, match="what stood there before is untouched"):
        write_together(tmp_path, {"a.txt": b"other", "b.txt": bytes(1000)})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.txt": b"one", "b.txt": b"two"}
