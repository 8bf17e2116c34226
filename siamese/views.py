"""Further images of a photo, turned, cropped otherwise or changed at random, are compared as well and averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import ops

from siamese.augment import Augment, turn_images
from siamese.images import prepare_image
from siamese.manifest import Manifest
from siamese.scoring import Embedder, Read, Tile, score_pairs, score_tiles
from siamese.settings import AugmentationSettings, PreprocessingSettings, Turn, ViewSettings
from siamese.store import ImageStore


@dataclass(frozen=True)
class View:
    """One way to look at a photo; the defaults are the photo as it is stored.

    Attributes:
        turn: the photo is turned or flipped so.
        margin: margin of the crop, none for that of the preprocessing.
        crop: place of this crop among those that are read.
        draw: number of the random change, 0 for none.
        seed: of the random changes.
    """

    turn: Turn | None = None
    margin: float | None = None
    crop: int = 0
    draw: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        """What tells this view from others."""
        margin = "" if self.margin is None else f"margin {self.margin:g}"
        draw = f"draw {self.draw} of seed {self.seed}" if self.draw else ""
        return ", ".join(part for part in (self.turn, margin, draw) if part) or "plain"

    def of(self, images: np.ndarray, augmentation: AugmentationSettings) -> np.ndarray:
        """Returns `(count, height, width, channels)` images of `(count, num_crops, height, width, channels)` ones."""
        seen = images[:, self.crop]
        seen = turn_images(seen, self.turn) if self.turn else seen
        if not self.draw:
            return seen
        seed = np.random.SeedSequence([self.seed, self.draw]).generate_state(1)[0]
        change = _one_change(augmentation.model_dump_json(), int(seed), seen.shape[1:])
        return np.stack([change(image) for image in seen]) if len(seen) else seen.astype(np.float32)


class _AugmentAlways(Augment):
    """Changes images while a model answers, too."""

    def call(self, images: Any, training: bool = False) -> Any:
        return super().call(images, training=True)


@lru_cache(maxsize=8)
def _one_change(augmentation: str, seed: int, shape: tuple[int, ...]) -> Callable[[np.ndarray], Any]:
    """Returns what changes any image as it changes every other, so that an embedding does not depend on its company.

    A change may fall to a share of a batch; so each image is a batch of its own, under the same numbers.
    """
    layer = _AugmentAlways(AugmentationSettings.model_validate_json(augmentation), seed=seed)
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    start = ops.convert_to_numpy(layer.generator.state)

    def change(image: np.ndarray) -> np.ndarray:
        layer.generator.state.assign(start)
        return model.predict_on_batch(image[None])[0]

    return change


class PhotoViews:
    """The views that the settings ask for, in groups: embeddings are averaged within one, scores over them.

    Copies turned alike stay together, since a turned pattern is another animal. A photo's embedding is that of each
    group, side by side.

    Example:
    >>> PhotoViews(ViewSettings(turns=("flip",), margins=(0.1,)), AugmentationSettings()).names
    ('plain + margin 0.1', 'flip + flip, margin 0.1')
    >>> PhotoViews(ViewSettings(margins=(0.1,), average="scores"), AugmentationSettings()).names
    ('plain', 'margin 0.1')
    """

    def __init__(self, settings: ViewSettings, augmentation: AugmentationSettings) -> None:
        """Takes the views, and the random changes of the training."""
        self._augmentation = augmentation
        draws = [(crop, margin, 0) for crop, margin in enumerate((None, *settings.margins))]
        draws += [(0, None, draw) for draw in range(1, settings.draws + 1)]
        views = [
            [View(turn, margin, crop, draw, settings.seed if draw else 0) for crop, margin, draw in draws]
            for turn in (None, *settings.turns)
        ]
        self.groups = views if settings.average == "embeddings" else [[view] for group in views for view in group]

    @property
    def names(self) -> tuple[str, ...]:
        """What each group is made of; a catalog keeps them."""
        return tuple(" + ".join(view.name for view in group) for group in self.groups)

    def embed(
        self, embedder: Embedder, read: Read, num_images: int, on_progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Embeds the views of photos 0 to `num_images` - 1.

        Args:
            embedder: of the model.
            read: function from `(count,)` indices to `(count, num_crops, height, width, channels)` `uint8` images, the
                stored crop first.
            num_images: photos to embed.
            on_progress: called with (done, all) images after each batch.

        Returns:
            `(num_images, num_groups * embed_dim)` float32.
        """
        all_images, done = num_images * sum(map(len, self.groups)), 0

        def tell(now: int, _: int) -> None:
            if on_progress:
                on_progress(done + now, all_images)

        parts = []
        for group in self.groups:
            total = np.zeros(1, np.float32)
            for view in group:
                total = total + embedder.embed(self._seen(view, read), num_images, tell)
                done += num_images
            parts.append(total / np.float32(len(group)))
        return np.concatenate(parts, axis=1)

    def _seen(self, view: View, read: Read) -> Read:
        return lambda index: view.of(read(index), self._augmentation)


def crop_settings(preprocessing: PreprocessingSettings, views: ViewSettings) -> list[PreprocessingSettings]:
    """Returns the preprocessing of each crop, the stored one first."""
    return [preprocessing, *(preprocessing.model_copy(update={"margin": margin}) for margin in views.margins)]


def read_crops(manifest: Manifest, preprocessing: PreprocessingSettings, views: ViewSettings) -> Read:
    """Reads every crop of photos from their files: what `PhotoViews.embed` reads where there are margins."""
    crops = crop_settings(preprocessing, views)

    def read(index: np.ndarray) -> np.ndarray:
        photos = [(manifest.paths[row], manifest.boxes[row], manifest.rotations[row]) for row in index]
        return np.stack(
            [[prepare_image(path, box, crop, rotation) for crop in crops] for path, box, rotation in photos]
        )

    return read


def read_views(
    store: ImageStore, manifest: Manifest, preprocessing: PreprocessingSettings, views: ViewSettings
) -> Read:
    """Reads what `PhotoViews.embed` needs of a collection: from its store, or from the files where there are margins.

    Args:
        store: of the collection.
        manifest: its photos, row by row those of the store.
        preprocessing: of the store.
        views: that will be embedded.
    """
    if views.margins:
        return read_crops(manifest, preprocessing, views)
    return lambda index: store.read(index)[:, None]


def mean_tiles(
    comparator: keras.layers.Layer, queries: np.ndarray, catalog: np.ndarray | None = None, *, num_views: int = 1
) -> Iterator[Tile]:
    """Scores each view of every query against the same view of every catalog photo, and averages.

    Args:
        comparator: any layer from two embeddings to a logit.
        queries: `(num_queries, num_views * embed_dim)` floats. Not changed.
        catalog: `(num_catalog, num_views * embed_dim)` floats, or None for the queries themselves: then only the tiles
            of the upper triangle are given.
        num_views: so many embeddings stand side by side.

    Yields:
        Tiles, as `score_tiles` does.
    """
    asked = np.split(queries, num_views, axis=1)
    known = [None] * num_views if catalog is None else np.split(catalog, num_views, axis=1)
    of_views = [score_tiles(comparator, *sides) for sides in zip(asked, known, strict=True)]
    for tiles in zip(*of_views, strict=True):
        yield Tile(tiles[0].rows, tiles[0].columns, np.mean([tile.scores for tile in tiles], axis=0))


def mean_scores(
    comparator: keras.layers.Layer, queries: np.ndarray, catalog: np.ndarray, *, num_views: int = 1
) -> np.ndarray:
    """Returns the `(num_queries, num_catalog)` float32 scores averaged over views, see `mean_tiles`.

    Args:
        comparator: any layer from two embeddings to a logit.
        queries: `(num_queries, num_views * embed_dim)` floats. Not changed.
        catalog: `(num_catalog, num_views * embed_dim)` floats. Not changed.
        num_views: so many embeddings stand side by side.
    """
    scores: np.ndarray = np.empty((len(queries), len(catalog)), np.float32)
    for tile in mean_tiles(comparator, queries, catalog, num_views=num_views):
        scores[tile.rows, tile.columns] = tile.scores
    return scores


def mean_of_pairs(
    comparator: keras.layers.Layer, embeddings: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, num_views: int
) -> np.ndarray:
    """Returns the `(num_pairs,)` float32 scores of pairs of photos, averaged over views.

    Args:
        comparator: any layer from two embeddings to a logit.
        embeddings: `(num_images, num_views * embed_dim)` floats. Not changed.
        rows: `(num_pairs,)` one photo of each pair.
        columns: `(num_pairs,)` the other one.
        num_views: so many embeddings stand side by side.
    """
    views = np.split(embeddings, num_views, axis=1)
    return np.mean([score_pairs(comparator, view, view, rows, columns) for view in views], axis=0)
