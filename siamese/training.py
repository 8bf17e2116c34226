"""Rounds of score -> assign -> fit; each round leaves a record and a state to go on from."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from siamese.assignment import DENSE_IMAGES
from siamese.batches import BatchPlan, mirrored, plan_pairs, plan_walk
from siamese.candidates import PairScores
from siamese.errors import SettingsError, SiameseError
from siamese.fitting import fit_plan
from siamese.mining import NegativeMiner, hard_positives
from siamese.models.averaging import averaged, averaged_weights, reestimate_batch_norm
from siamese.models.comparator import Comparator
from siamese.models.freezing import set_frozen
from siamese.models.pair_model import PairModel, compile_pair_model
from siamese.pairs import Pairs, check_pairing, positive_pairs
from siamese.schedules import Round, adapted_noise, best_round, plateau_factor, rounds_of, should_stop, step_rates
from siamese.scoring import Embedder, factorise
from siamese.scoring.sources import ExactScores, FactorisedScores
from siamese.settings import PhaseSettings, TrainingSettings
from siamese.training_images import TrainingImages, choose_images, photos_of
from siamese.training_state import (
    Kept,
    Record,
    load_state,
    save_state,
    write_history,
    write_scalars,
    write_suspects,
)

MEAN_SCORE_IMAGES = 1024  # the mean score of a round is taken among so many of its images
STATISTICS_IMAGES = 4096  # batch statistics of averaged weights are taken over so many images

OnProgress = Callable[[str, int, int], None]
Validate = Callable[[], Mapping[str, float]]


@dataclass
class Trainer:
    """Trains a pair model on the hardest pairs of a collection.

    Attributes:
        model: the pair model; its encoder and comparator are trained in place.
        images: what to train on.
        settings: rounds, batches and seed.
        on_progress: called with (stage, done, all) while a stage runs.
        validate: measures the model as it is: `validation_map5` and `validation_top1`. None validates nothing.
        suspects: pairs of different identities that the latest round left out as probably mislabelled: columns image_a,
            image_b, score, above_best_positive; the most suspicious first.
    """

    model: PairModel
    images: TrainingImages
    settings: TrainingSettings
    on_progress: OnProgress = field(default=lambda stage, done, total: None)
    validate: Validate | None = None
    suspects: pd.DataFrame = field(init=False, default_factory=pd.DataFrame)

    def __post_init__(self) -> None:
        self._check()
        set_frozen(self.model, ())
        compile_pair_model(self.model, self.settings)
        self._embedders: dict[float, Embedder] = {}
        for phase in (*self.settings.schedule, PhaseSettings()):  # so that what cannot be done is told before it begins
            set_frozen(self.model, phase.frozen)
            self._embedders[phase.image_scale] = Embedder(self.model.look_at(phase.image_scale))
        self._kept = Kept()

    def _check(self) -> None:
        for phase in self.settings.schedule:
            ready = self.images.identity[photos_of(self.images.identity) >= phase.min_photos]
            if not (ready >= 0).any():
                raise SettingsError(
                    f"`min_photos` of a phase must be one that some individuals reach. Received: {phase.min_photos}; "
                    f"the most photos of one are {np.bincount(self.images.identity[self.images.identity >= 0]).max()}."
                )
            check_pairing(ready[ready >= 0])
        if self.settings.validate_every is not None and self.validate is None:
            raise SettingsError(
                "`validate_every` must be none where nothing validates. Received: "
                f"{self.settings.validate_every}. Give `validate`, or leave it out."
            )

    def train(self, folder: Path, *, fingerprint: str, on_round: Callable[[Record], None]) -> pd.DataFrame:
        """Runs the schedule's rounds that are not done yet, leaving a state after each.

        At the end the model has the weights to keep: those of the best round with early stopping, else their average
        where one is kept, else the last ones.

        Args:
            folder: the run folder; an interrupted training in it goes on where it stood.
            fingerprint: hash of the settings and the data, so that no other training goes on from the state.
            on_round: called with each round's record, the earlier ones' included.

        Returns:
            The history, one row a round.
        """
        records, self._kept = load_state(folder, self.model, fingerprint)
        for record in records:
            on_round(record)
        for this in rounds_of(self.settings.schedule)[len(records) :]:
            if self._has_stopped(records):
                break
            records.append(self.run_round(this, records))
            self._judge(this, records)
            if self.settings.mining.suspect_margin is not None:
                write_suspects(folder, self.suspects)
            save_state(folder, self.model, records, fingerprint, self._kept)
            write_history(folder, records)
            write_scalars(folder, records[-1])
            on_round(records[-1])
        set_frozen(self.model, ())
        self.model.set_weights(self._kept.best or self._weights_to_keep())
        return write_history(folder, records)

    def run_round(self, this: Round, before: Sequence[Record] = ()) -> Record:
        """Scores, assigns and fits once; from the same state it gives the same pairs, batches and, on CPU, weights.

        Args:
            this: the round.
            before: records of the rounds before it, which the rules for rate and noise look at.
        """
        phase, noise, factor = this.settings, self._noise(this, before), self._plateau_factor(this, before)
        rng = np.random.default_rng([self.settings.seed, this.number])
        images = self.images
        limit = self.settings.images_per_round
        chosen = choose_images(images.identity, images.group, limit, min_photos=phase.min_photos, rng=rng)
        record = Record(this.number, this.phase, this.learning_rate, noise, this.l2, len(chosen))
        self._prepare(this)
        scores = self._score(chosen, record)
        with _Seconds(record, "seconds_score"):
            miner = self._mine(scores, chosen, this, noise)
        sample = rng.permutation(len(chosen))[:MEAN_SCORE_IMAGES]
        record.mean_score = float(np.mean(1 / (1 + np.exp(-scores.within(sample)))))
        for epoch in range(this.epochs):
            plan = self._plan(miner, chosen, noise, record, rng, keep_share=epoch == 0)
            rates = factor * step_rates(this, len(plan))
            self._fit(plan, rates[epoch * len(plan) : (epoch + 1) * len(plan)], record)
            record.learning_rate = float(rates.mean())
        record.num_encoded += len(chosen)
        return record

    def _noise(self, this: Round, before: Sequence[Record]) -> float:
        """Returns K of a round: the schedule's, or what the model can take."""
        if self.settings.adaptive_noise is None:
            return this.noise
        first = self.settings.schedule[0].noise
        return adapted_noise(first, [record.correct_pairs for record in before], self.settings.adaptive_noise)

    def _plateau_factor(self, this: Round, before: Sequence[Record]) -> float:
        if self.settings.plateau is None:
            return 1.0
        of_phase = [record for record in before if record.phase == this.phase]
        by_loss = self.settings.plateau.metric == "loss"
        values = [-record.loss if by_loss else record.validation_map5 for record in of_phase]
        return plateau_factor(values, self.settings.plateau)

    def _has_stopped(self, before: Sequence[Record]) -> bool:
        rule = self.settings.early_stop
        return rule is not None and should_stop([record.validation_map5 for record in before], rule)

    def _judge(self, this: Round, records: list[Record]) -> None:
        """Adds the round to the average, validates the weights that would be kept, and keeps the best ones."""
        settings = self.settings
        averages = settings.averaging == "swa" and this.phase >= (settings.averaging_phase or len(settings.schedule))
        if averages and (this.ends_cycle or this.settings.cycles == 1):
            self._kept.mean.add(self.model.get_weights())
        every = settings.validate_every
        if every is None or (this.number % every and this.number < len(rounds_of(settings.schedule))):
            return
        with _Seconds(records[-1], "seconds_validate"), averaged(self.model, self._weights_to_keep()):
            assert self.validate is not None  # for the type checker; `_check` made sure of it
            for name, value in self.validate().items():
                setattr(records[-1], name, value)
            values = [record.validation_map5 for record in records]
            if settings.early_stop is not None and not np.isnan(values[-1]) and best_round(values) == len(values):
                self._kept.best = self.model.get_weights()

    def _weights_to_keep(self) -> list[np.ndarray]:
        """Returns the weights as they are, or their average with batch statistics that fit it."""
        if self.settings.averaging == "ema":
            weights = averaged_weights(self.model)
        elif self._kept.mean.count:
            weights = self._kept.mean.weights
        else:
            return self.model.get_weights()
        with averaged(self.model, weights):
            sample = np.linspace(0, len(self.images) - 1, min(len(self.images), STATISTICS_IMAGES)).astype(np.intp)
            reestimate_batch_norm(
                self.model.encoder,
                lambda index: self.images.read(sample[index]),
                len(sample),
                min(self.settings.batch_size, len(sample)),
                self.model.augment,
            )
            return self.model.get_weights()

    def _prepare(self, this: Round) -> None:
        set_frozen(self.model, this.settings.frozen)
        self.model.look_at(this.settings.image_scale)
        self.model.l2.assign(this.l2)
        self.model.augment.generator.state.assign([self.settings.seed, this.number])

    def _score(self, chosen: np.ndarray, record: Record) -> PairScores:
        with _Seconds(record, "seconds_embed"):
            embeddings = self._embedders[self.model.scale].embed(
                lambda index: self.images.read(chosen[index]),
                len(chosen),
                lambda done, total: self.on_progress("embed", done, total),
            )
        with _Seconds(record, "seconds_score"):
            return round_scores(self.model.comparator, embeddings, seed=self.settings.seed)

    def _mine(self, scores: PairScores, chosen: np.ndarray, this: Round, noise: float) -> NegativeMiner:
        """Finds the candidates of the round, and keeps the pairs that are probably mislabelled for their list."""
        miner = NegativeMiner(
            scores,
            self.images.identity[chosen],
            noise=noise,
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
        noise: float,
        record: Record,
        rng: np.random.Generator,
        *,
        keep_share: bool,
    ) -> BatchPlan:
        group, identity = self.images.group[chosen], self.images.identity[chosen]
        with _Seconds(record, "seconds_assign"):
            self.on_progress("assign", 0, 1)
            if self.settings.mining.positives == "hard":
                positives = hard_positives(miner.scores, group, noise=noise, rng=rng)
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
                random_share=self.settings.random_share,
                rng=rng,
            )
        mirror = mirrored(plan.images, identity, self.settings.pair_flips, rng=rng)
        return replace(plan, images=chosen[plan.images], mirror=mirror)

    def _fit(self, plan: BatchPlan, rates: np.ndarray, record: Record) -> None:
        with _Seconds(record, "seconds_fit"):
            fitted = fit_plan(
                self.model, plan, self.images.read, rates, lambda done, total: self.on_progress("fit", done, total)
            )
        record.loss, record.accuracy = fitted["loss"], fitted["accuracy"]
        record.num_encoded += plan.images.size


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
