"""Rounds of score -> assign -> fit; each round leaves a record and a state to go on from."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from siamese.assignment import DENSE_IMAGES
from siamese.augment import turn_images
from siamese.batches import BatchPlan, PairBatches, plan_pairs, plan_walk
from siamese.candidates import PairScores
from siamese.errors import SiameseError
from siamese.mining import NegativeMiner, hard_positives
from siamese.models.comparator import Comparator
from siamese.models.pair_model import PairModel, compile_pair_model
from siamese.pairs import Pairs, check_pairing, positive_pairs
from siamese.scoring import Embedder, Read, factorise
from siamese.scoring.sources import ExactScores, FactorisedScores
from siamese.settings import PhaseSettings, TrainingSettings, Turn
from siamese.training_state import Record, load_state, save_state, write_history, write_scalars, write_suspects

MEAN_SCORE_IMAGES = 1024  # the mean score of a round is taken among so many of its images

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrainingImages:
    """What a training sees of a collection.

    Attributes:
        read: function from `(count,)` indices to `(count, height, width, channels)` `uint8` images.
        identity: `(num_images,)` codes; different codes are different animals, -1 is an unknown individual.
        group: `(num_images,)` codes; equal codes are positive pairs (one animal, one side of it).
        image_ids: `(num_images,)` names, for the list of suspected pairs.
    """

    read: Read
    identity: np.ndarray
    group: np.ndarray
    image_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)


def with_turns(images: TrainingImages, turns: Sequence[Turn]) -> TrainingImages:
    """Adds a turned copy of every image as further identities (Shen, Park and Qiao 2019 with flips)."""
    count = len(images)

    def read(index: np.ndarray) -> np.ndarray:
        batch = images.read(index % count).copy()
        for number, turn in enumerate(turns, start=1):
            turned = index // count == number
            if turned.any():
                batch[turned] = turn_images(batch[turned], turn)
        return batch

    names = [images.image_ids, *(images.image_ids + f" ({turn})" for turn in turns)]
    identity, group = (_repeated(codes, len(turns)) for codes in (images.identity, images.group))
    return TrainingImages(read, identity, group, np.concatenate(names))


def _repeated(codes: np.ndarray, times: int) -> np.ndarray:
    step = int(codes.max()) + 1
    return np.concatenate([np.where(codes < 0, codes, codes + copy * step) for copy in range(times + 1)])


@dataclass(frozen=True)
class Round:
    """One round of the schedule, its number counted from 1."""

    number: int
    phase: int
    epochs: int
    learning_rate: float
    noise: float
    l2: float


def rounds_of(schedule: Sequence[PhaseSettings]) -> list[Round]:
    """Unrolls the schedule: one entry a round, values with a `final_` twin in equal ratios.

    Example:
    >>> [round(r.noise, 2) for r in rounds_of([PhaseSettings(rounds=3, noise=100, final_noise=1)])]
    [100.0, 10.0, 1.0]
    """
    rounds: list[Round] = []
    for number, phase in enumerate(schedule, start=1):
        rates = _in_equal_ratios(phase.learning_rate, phase.final_learning_rate, phase.rounds)
        noises = _in_equal_ratios(phase.noise, phase.final_noise, phase.rounds)
        for rate, noise in zip(rates, noises, strict=True):
            rounds.append(Round(len(rounds) + 1, number, phase.epochs_per_round, rate, noise, phase.l2))
    return rounds


def _in_equal_ratios(first: float, last: float | None, count: int) -> list[float]:
    if last is None or count == 1 or first == 0:
        return [first] * count
    return [float(value) for value in np.geomspace(first, last, count)]


@dataclass
class Trainer:
    """Trains a pair model on the hardest pairs of a collection.

    Attributes:
        model: the pair model; its encoder and comparator are trained in place.
        images: what to train on.
        settings: rounds, batches and seed.
        on_progress: called with (stage, done, all) while a stage runs.
        suspects: pairs of different identities that the latest round left out as probably mislabelled: columns image_a,
            image_b, score, above_best_positive; the most suspicious first.
    """

    model: PairModel
    images: TrainingImages
    settings: TrainingSettings
    on_progress: OnProgress = field(default=lambda stage, done, total: None)
    suspects: pd.DataFrame = field(init=False, default_factory=pd.DataFrame)

    def __post_init__(self) -> None:
        check_pairing(self.images.identity[self.images.identity >= 0])
        compile_pair_model(self.model, self.settings.schedule[0].learning_rate)
        self.model.optimizer.build(self.model.trainable_variables)
        self._embedder = Embedder(self.model.encoder)

    def train(self, folder: Path, *, fingerprint: str, on_round: Callable[[Record], None]) -> pd.DataFrame:
        """Runs the schedule's rounds that are not done yet, leaving a state after each.

        Args:
            folder: the run folder; an interrupted training in it goes on where it stood.
            fingerprint: hash of the settings and the data, so that no other training goes on from the state.
            on_round: called with each round's record, the earlier ones' included.

        Returns:
            The history, one row a round.
        """
        records = load_state(folder, self.model, fingerprint)
        for record in records:
            on_round(record)
        for this in rounds_of(self.settings.schedule)[len(records) :]:
            records.append(self.run_round(this))
            if self.settings.mining.suspect_margin is not None:
                write_suspects(folder, self.suspects)
            save_state(folder, self.model, records, fingerprint)
            write_history(folder, records)
            write_scalars(folder, records[-1])
            on_round(records[-1])
        return write_history(folder, records)

    def run_round(self, this: Round) -> Record:
        """Scores, assigns and fits once; the same seed and round give the same pairs, batches and, on CPU, weights."""
        rng = np.random.default_rng([self.settings.seed, this.number])
        chosen = choose_images(self.images.identity, self.images.group, self.settings.images_per_round, rng=rng)
        record = Record(this.number, this.phase, this.learning_rate, this.noise, this.l2, len(chosen))
        scores = self._score(chosen, record)
        self._prepare(this)
        with _Seconds(record, "seconds_score"):
            miner = self._mine(scores, chosen, this)
        sample = rng.permutation(len(chosen))[:MEAN_SCORE_IMAGES]
        record.mean_score = float(np.mean(1 / (1 + np.exp(-scores.within(sample)))))
        for epoch in range(this.epochs):
            plan = self._plan(miner, chosen, this, record, rng, keep_share=epoch == 0)
            self._fit(plan, record)
        record.num_encoded += len(chosen)
        return record

    def _prepare(self, this: Round) -> None:
        self.model.optimizer.learning_rate.assign(this.learning_rate)
        self.model.l2.assign(this.l2)
        self.model.augment.generator.state.assign([self.settings.seed, this.number])

    def _score(self, chosen: np.ndarray, record: Record) -> PairScores:
        with _Seconds(record, "seconds_embed"):
            embeddings = self._embedder.embed(
                lambda index: self.images.read(chosen[index]),
                len(chosen),
                lambda done, total: self.on_progress("embed", done, total),
            )
        with _Seconds(record, "seconds_score"):
            return round_scores(self.model.comparator, embeddings, seed=self.settings.seed)

    def _mine(self, scores: PairScores, chosen: np.ndarray, this: Round) -> NegativeMiner:
        """Finds the candidates of the round, and keeps the pairs that are probably mislabelled for their list."""
        miner = NegativeMiner(
            scores,
            self.images.identity[chosen],
            noise=this.noise,
            seed=[self.settings.seed, this.number],
            settings=self.settings.mining,
            keys=chosen,
        )
        pairs, names = miner.suspects, self.images.image_ids[chosen]
        self.suspects = pd.DataFrame(
            {
                "image_a": names[pairs.left],
                "image_b": names[pairs.right],
                "score": pairs.score,
                "above_best_positive": pairs.excess,
            }
        )
        return miner

    def _plan(
        self,
        miner: NegativeMiner,
        chosen: np.ndarray,
        this: Round,
        record: Record,
        rng: np.random.Generator,
        *,
        keep_share: bool,
    ) -> BatchPlan:
        group, identity = self.images.group[chosen], self.images.identity[chosen]
        with _Seconds(record, "seconds_assign"):
            self.on_progress("assign", 0, 1)
            if self.settings.mining.positives == "hard":
                positives = hard_positives(miner.scores, group, noise=this.noise, rng=rng)
            else:
                positives = positive_pairs(group, rng=rng)
            negatives = miner.draw()
            self.on_progress("assign", 1, 1)
        if keep_share:
            record.correct_pairs = _correct_share(miner.scores, positives, negatives)
        batch_size = min(self.settings.batch_size, len(chosen))
        if self.settings.batches == "pairs":
            plan = plan_pairs(positives, negatives, batch_size=batch_size, rng=rng)
        else:
            plan = plan_walk(
                positives,
                negatives,
                group=group,
                identity=identity,
                scores=miner.scores,
                limit=miner.limit,
                batch_size=batch_size,
                pairs_per_image=self.settings.pairs_per_image,
                rng=rng,
            )
        return BatchPlan(chosen[plan.images], plan.left, plan.right, plan.target, plan.weight)

    def _fit(self, plan: BatchPlan, record: Record) -> None:
        with _Seconds(record, "seconds_fit"):
            progress = keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: self.on_progress("fit", batch + 1, len(plan))
            )
            fitted = self.model.fit(PairBatches(plan, self.images.read), shuffle=False, verbose=0, callbacks=[progress])
        record.loss, record.accuracy = fitted.history["loss"][-1], fitted.history["accuracy"][-1]
        record.num_encoded += plan.images.size


def choose_images(
    identity: np.ndarray, group: np.ndarray, limit: int | None, *, rng: np.random.Generator
) -> np.ndarray:
    """Chooses the images of one round: all, or a random subset of whole positive groups, at most `limit` images.

    Piotte proposed subsets of fixed size so that the assignment's time stays linear in the collection.
    Of a group larger than an eighth of the limit, a random part is taken, so that every round has many identities.

    Returns:
        Sorted image indices.
    """
    if limit is None or len(group) <= limit:
        return np.arange(len(group))
    keys = np.where(group < 0, int(group.max()) + 1 + np.arange(len(group)), group)  # each unknown is a group
    order = rng.permutation(len(keys))
    order = order[np.argsort(rng.permutation(int(keys.max()) + 1)[keys[order]], kind="stable")]
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return np.sort(order[place < max(2, limit // 8)][:limit])


def round_scores(comparator: keras.layers.Layer, embeddings: np.ndarray, *, seed: int) -> PairScores:
    """Freezes the comparator as it is, so that all epochs of a round see the same scores.

    More images than a whole matrix is held for are scored by the factorised comparator, where it is a `Comparator`.
    """
    if len(embeddings) > DENSE_IMAGES and isinstance(comparator, Comparator):
        with contextlib.suppress(SiameseError):  # no factorised form is exact enough
            return FactorisedScores(factorise(comparator, embeddings, seed=seed), embeddings)
    frozen = type(comparator).from_config(comparator.get_config())
    frozen.build([embeddings.shape, embeddings.shape])
    frozen.set_weights(comparator.get_weights())
    return ExactScores(frozen, embeddings)


def _correct_share(scores: PairScores, positives: Pairs, negatives: Pairs) -> float:
    same, other = (scores.pairs(pairs.left, pairs.right) for pairs in (positives, negatives))
    return float(np.concatenate([same > 0, other < 0]).mean())


class _Seconds:
    """Adds the seconds of a block to a field of the record."""

    def __init__(self, record: Record, name: str) -> None:
        self.record, self.name = record, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        setattr(self.record, self.name, getattr(self.record, self.name) + time.perf_counter() - self.start)
