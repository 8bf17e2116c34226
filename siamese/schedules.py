"""The rounds of a schedule, the learning rate of every step, and rules that look at the rounds that are finished.

All are pure functions of the settings and of what the history keeps, so a training that goes on needs no further state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siamese.errors import SiameseError
from siamese.settings import AdaptiveNoiseSettings, EarlyStopSettings, PhaseSettings, PlateauSettings

# One-cycle of fastai 1.0 (`OneCycleScheduler`): from a 25th of the highest rate up, and down to a 10,000th of that.
ONE_CYCLE_START = 1 / 25
ALMOST_ZERO = ONE_CYCLE_START / 10_000


@dataclass(frozen=True)
class Round:
    """One round of the schedule.

    Attributes:
        number: place in the schedule, from 1.
        phase: number of the phase, from 1.
        place: place in the phase, from 0.
        noise: K, the width of the noise on the scores.
        settings: the phase, with all else that its rounds share.
    """

    number: int
    phase: int
    place: int
    noise: float
    settings: PhaseSettings

    @property
    def epochs(self) -> int:
        """Epochs fitted under one score matrix."""
        return self.settings.epochs_per_round

    @property
    def l2(self) -> float:
        """L2 penalty on the convolution kernels."""
        return self.settings.l2

    @property
    def learning_rate(self) -> float:
        """Learning rate of the first epoch, were it one step."""
        return float(step_rates(self, 1)[0])

    @property
    def ends_cycle(self) -> bool:
        """Whether the learning rate arrives at the end of its way in this round."""
        return (self.place + 1) % (self.settings.rounds // self.settings.cycles) == 0


def rounds_of(schedule: Sequence[PhaseSettings]) -> list[Round]:
    """Unrolls the schedule: one entry a round, K in equal ratios from `noise` to `final_noise`.

    Example:
    >>> [round(r.noise, 2) for r in rounds_of([PhaseSettings(rounds=3, noise=100, final_noise=1)])]
    [100.0, 10.0, 1.0]
    """
    rounds: list[Round] = []
    for number, phase in enumerate(schedule, start=1):
        for place, noise in enumerate(_in_equal_ratios(phase.noise, phase.final_noise, phase.rounds)):
            rounds.append(Round(len(rounds) + 1, number, place, noise, phase))
    return rounds


def step_rates(this: Round, num_steps: int) -> np.ndarray:
    """Computes the learning rate of every optimiser step of a round.

    A rate that runs from step to step runs through all rounds of the phase (or of the cycle) without a jump; the first
    and the last step have the first and the last rate exactly. Cosine: Loshchilov and Hutter 2017 (SGDR), one-cycle:
    Smith 2018 in the form of fastai. A kick raises the rate to `kick` times itself; it falls back in equal ratios until
    the next one. (The deepsense.io team raised the rate by hand during a slow decay; its numbers are not published.)

    Args:
        this: the round.
        num_steps: optimiser steps of one epoch, taken to be the same in all epochs of the phase.

    Returns:
        `(epochs * num_steps,)` floats, all positive.

    Example:
    >>> phase = PhaseSettings(rounds=2, learning_rate=0.5, final_learning_rate=0.1, rate="linear")
    >>> [step_rates(this, num_steps=3).round(2).tolist() for this in rounds_of([phase])]
    [[0.5, 0.42, 0.34], [0.26, 0.18, 0.1]]
    """
    phase, count = this.settings, this.epochs * num_steps
    rounds = phase.rounds // phase.cycles
    place = this.place % rounds
    if phase.rate == "ratio":
        rates = np.full(count, _in_equal_ratios(phase.learning_rate, phase.final_learning_rate, rounds)[place])
    else:
        rates = _smooth_rates(phase, place * count + np.arange(count), rounds * count - 1)
    return rates * _kicks(phase, this.place * count + np.arange(count), num_steps)


def _in_equal_ratios(first: float, last: float | None, count: int) -> list[float]:
    if last is None or count == 1 or first == 0:
        return [first] * count
    return [float(value) for value in np.geomspace(first, last, count)]


def _smooth_rates(phase: PhaseSettings, step: np.ndarray, last_step: int) -> np.ndarray:
    """Returns the rates at some steps of a cycle, of the steps 0 to `last_step`."""
    first, last = phase.learning_rate, phase.final_learning_rate or phase.learning_rate * ALMOST_ZERO
    if phase.rate == "linear":
        return _linear(first, last, step / max(last_step, 1))
    if phase.rate == "cosine":
        return _cosine(first, last, step / max(last_step, 1))
    peak = np.clip(round(phase.peak_share * last_step), 1, max(last_step - 1, 1))  # a step of its own
    rise = _cosine(first * ONE_CYCLE_START, first, step / peak)
    return np.where(step <= peak, rise, _cosine(first, last, (step - peak) / max(last_step - peak, 1)))


def _linear(first: float, last: float, share: np.ndarray) -> np.ndarray:
    return first * (1 - share) + last * share  # exact at both ends, which first + (last - first) * share is not


def _cosine(first: float, last: float, share: np.ndarray) -> np.ndarray:
    return _linear(first, last, (1 - np.cos(np.pi * share)) / 2)


def _kicks(phase: PhaseSettings, step: np.ndarray, num_steps: int) -> np.ndarray | float:
    if phase.kick_every is None:
        return 1.0
    between = phase.kick_every * num_steps
    fallen = (step % between) / max(between - 1, 1)
    return np.where(step < between, 1.0, phase.kick ** (1 - fallen))


def plateau_factor(values: Sequence[float], settings: PlateauSettings) -> float:
    """Computes what the learning rate is multiplied by after some rounds, as Keras' `ReduceLROnPlateau` would.

    Args:
        values: one a finished round, higher is better (a loss changes its sign); nan was not measured and does not
            count. Those of the current phase alone, since a phase sets its own rate.
        settings: how long a plateau is, and what it does.

    Returns:
        At most 1; it never rises as rounds are added.

    Example:
    >>> plateau_factor([0.5, 0.8, 0.8, 0.7], PlateauSettings(patience=2, factor=0.2))
    0.2
    """
    plateaus = sum(waited // settings.patience for waited in _waits(values, settings.min_delta))
    return max(settings.factor**plateaus, settings.smallest)


def should_stop(values: Sequence[float], settings: EarlyStopSettings) -> bool:
    """Tells whether the latest rounds brought no gain for as long as the settings' patience.

    Args:
        values: one a finished round, higher is better; nan was not measured and does not count.
        settings: the patience, and what a gain is.

    Example:
    >>> should_stop([0.5, 0.8, 0.8, 0.7], EarlyStopSettings(patience=2))
    True
    """
    return _waits(values, settings.min_delta)[-1] >= settings.patience


def best_round(values: Sequence[float]) -> int:
    """Returns the number, from 1, of the round with the highest value; of equal ones the first. nan was not measured.

    Raises:
        SiameseError: no round was measured.

    Example:
    >>> best_round([0.5, float("nan"), 0.8, 0.8])
    3
    """
    if np.all(np.isnan(values)):
        raise SiameseError(
            f"`values` must hold a measured round. Received: {len(values)} rounds, none measured. "
            "Give the collection a validation side, or train without early stopping."
        )
    return int(np.nanargmax(values)) + 1


def _waits(values: Sequence[float], min_delta: float) -> list[int]:
    """Returns how many measured rounds without a gain stand before the first round with one, and after each."""
    best, waits = -np.inf, [0]
    for value in values:
        if value > best + min_delta:
            best = value
            waits.append(0)
        elif not np.isnan(value):
            waits[-1] += 1
    return waits


def adapted_noise(first: float, accuracies: Sequence[float], settings: AdaptiveNoiseSettings) -> float:
    """Computes K of the next round, so that the pairs are as hard as the model can take.

    Each finished round lowers K by a factor where more than `high` of its pairs were judged rightly, raises it by as
    much where fewer than `low` were, and leaves it between. It replaces a table of K made by hand (Piotte 2018 lowered
    K by 0.631 every five epochs). The share rises with K, so K settles where the share lies between the two, provided
    that one factor moves the share by less than the width of the band; else it swings about the band by one factor.

    Args:
        first: K of the first round, positive.
        accuracies: of each finished round, the share of its chosen pairs that its score matrix judged rightly.
        settings: the band of the share, the factor, and the limits of K.

    Returns:
        K within the limits.

    Example:
    >>> round(adapted_noise(100, [0.9, 0.8, 0.65], AdaptiveNoiseSettings(low=0.6, high=0.7, factor=0.5)), 1)
    25.0
    """
    noise = _within(first, settings)
    for accuracy in accuracies:
        if accuracy > settings.high:
            noise = _within(noise * settings.factor, settings)
        elif accuracy < settings.low:
            noise = _within(noise / settings.factor, settings)
    return noise


def _within(noise: float, settings: AdaptiveNoiseSettings) -> float:
    return min(max(noise, settings.smallest), settings.largest)
