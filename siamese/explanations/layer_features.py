"""Features of a layer: what the encoder makes of photos on the way to the embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import keras
import numpy as np

from siamese.errors import SiameseError
from siamese.files import write_atomically
from siamese.hdf5 import reserve, write_head
from siamese.scoring import Embedder, Read

FORMAT_VERSION = 1
BLOCK_IMAGES = 64  # photos whose features are in memory at once


def layer_names(encoder: keras.Model) -> list[str]:
    """Returns the layers whose features can be asked for, from the photo to the embedding.

    Args:
        encoder: made by `build_encoder`.
    """
    layers = [layer for layer in encoder.layers if not isinstance(layer, keras.layers.InputLayer)]
    return [layer.name for layer in layers if isinstance(layer.output, keras.KerasTensor)]


def layer_features(encoder: keras.Model, layer: str, read: Read, num_images: int) -> Iterator[np.ndarray]:
    """Computes the features of a layer, a block of photos after the other.

    Args:
        encoder: made by `build_encoder`.
        layer: one of `layer_names`.
        read: function from `(count,)` indices to `(count, height, width, channels)` `uint8` images.
        num_images: photos 0 to `num_images` - 1 are read.

    Yields:
        `(count, ...)` float32; after the first axis the shape of the layer, such as rows, columns and channels.

    Raises:
        SiameseError: the encoder has no such layer; the sentence names those that it has.

    Example:
    >>> from siamese.models.encoder import build_encoder
    >>> from siamese.settings import EncoderSettings
    >>> small = EncoderSettings(widths=(8,), bottlenecks=(4,), depth=1)
    >>> images = np.zeros((3, 16, 32, 1), np.uint8)
    >>> [part.shape for part in layer_features(build_encoder((16, 32, 1), small), "stage1_pool", images.__getitem__, 3)]
    [(3, 2, 4, 64)]
    """
    shape = _layer_shape(encoder, layer)
    flat = keras.layers.Flatten()(encoder.get_layer(layer).output)
    embedder = Embedder(keras.Model(encoder.input, flat), batch_size=min(BLOCK_IMAGES, max(1, num_images)))
    for start in range(0, num_images, BLOCK_IMAGES):
        count = min(BLOCK_IMAGES, num_images - start)
        yield embedder.embed(_from(start, read), count).reshape(count, *shape)


def write_layer_features(
    path: Path,
    encoder: keras.Model,
    layer: str,
    read: Read,
    image_ids: np.ndarray,
    *,
    fingerprint: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes the features of a layer as HDF5: `image_ids`, and `features` row by row; memory holds a block of them.

    Args:
        path: the file; one that stood there is replaced in one move.
        encoder: made by `build_encoder`.
        layer: one of `layer_names`.
        read: as for `layer_features`.
        image_ids: `(num_images,)` names of the photos, one at least.
        fingerprint: names the model in the file.
        on_progress: called with (done, all) photos after each block.

    Raises:
        SiameseError: there is no photo or no such layer.
        ImageError: `read` cannot read a photo; nothing is written.
        DiskError: the file cannot be written; an earlier one is untouched.
    """
    if not len(image_ids):
        raise SiameseError("`image_ids` must name a photo at least. Received: none. Give photos.")
    shape = (len(image_ids), *_layer_shape(encoder, layer))

    def head(file: h5py.File) -> int:
        file["image_ids"] = np.array(image_ids, dtype=h5py.string_dtype())
        file.attrs.update({"format_version": FORMAT_VERSION, "layer": layer, "fingerprint": fingerprint})
        return reserve(file, "features", shape, "<f4")  # last, so that memory need not hold it

    def write(unfinished: Path) -> None:
        write_head(unfinished, head)
        with h5py.File(unfinished, "r") as file:
            begins = file["features"].id.get_offset()
        done = 0
        with unfinished.open("r+b") as disk:
            disk.seek(begins)
            for features in layer_features(encoder, layer, read, len(image_ids)):
                disk.write(features.astype("<f4").tobytes())
                done += len(features)
                if on_progress:
                    on_progress(done, len(image_ids))

    write_atomically(path, write)


def _from(start: int, read: Read) -> Read:
    return lambda index: read(start + index)


def _layer_shape(encoder: keras.Model, layer: str) -> tuple[int, ...]:
    """Returns the shape of one photo's features."""
    names = layer_names(encoder)
    if layer not in names:
        raise SiameseError(
            f"`layer` must be a layer of the encoder. Received: {layer!r}. Choose one of {', '.join(names)}."
        )
    return tuple(encoder.get_layer(layer).output.shape[1:])
