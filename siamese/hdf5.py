"""HDF5 files whose arrays have a fixed place, so that they are filled by plain writes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np


def reserve(file: h5py.File, name: str, shape: tuple[int, ...], dtype: str) -> int:
    """Gives a dataset a fixed place in one piece, and writes nothing there.

    Args:
        file: an open file; what is reserved last stands behind all else.
        name: of the dataset.
        shape: of the dataset.
        dtype: little-endian NumPy type, such as `<f4` or `u1`.

    Returns:
        The byte of the file behind its end.
    """
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)  # the same values make the same bytes
    kind = h5py.h5t.py_create(np.dtype(dtype))
    data = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), plan)
    return int(data.get_offset() + np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize)


def write_head(path: Path, lay_out: Callable[[h5py.File], int]) -> None:
    """Writes a file of reserved arrays, which read as zeros until they are filled.

    HDF5 writes in memory alone, because it cannot close a file it failed to write: the process then ends with a
    segmentation fault (h5py issue 914). It leaves out what is reserved last, and so does the memory.

    Args:
        path: the file to make.
        lay_out: fills an open file and returns the byte behind its end.

    Raises:
        OSError: the file could not be written.
    """
    head = io.BytesIO()
    with h5py.File(head, "w") as file:
        end = lay_out(file)
    with path.open("wb") as disk:
        disk.write(head.getbuffer())
        disk.truncate(max(end, len(head.getbuffer())))
