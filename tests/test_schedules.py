from itertools import pairwise

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from siamese.errors import SettingsError, SiameseError
from siamese.schedules import adapted_noise, best_round, plateau_factor, rounds_of, should_stop, step_rates
from siamese.settings import PhaseSettings, TrainingSettings, settings_from_dict
from siamese.settings.training import AdaptiveNoiseSettings, EarlyStopSettings, PlateauSettings

SMOOTH = ["linear", "cosine", "one_cycle"]
ALL_RATES = st.sampled_from(["ratio", *SMOOTH])
LAST_RATES = st.floats(1e-9, 1)


def rates_of(*phases, num_steps=1):
    """The rate of every step of a schedule; phases are given as the fields of their settings."""
    schedule = TrainingSettings(schedule=phases).schedule
    return np.concatenate([step_rates(this, num_steps) for this in rounds_of(schedule)])


def fields_of_a_phase(rate=ALL_RATES, *, min_rounds=1, last=LAST_RATES):
    return st.fixed_dictionaries(
        {
            "rate": rate,
            "rounds": st.integers(min_rounds, 12),
            "epochs_per_round": st.integers(1, 4),
            "learning_rate": st.floats(1e-6, 1),
            "final_learning_rate": last,
            "peak_share": st.floats(0.05, 0.95),
        }
    )


# rounds


def test_rounds_are_counted_through_the_phases_and_values_run_in_equal_ratios():
    rounds = rounds_of(
        [
            PhaseSettings(rounds=1, epochs_per_round=10, noise=1000),
            PhaseSettings(rounds=3, learning_rate=1e-2, final_learning_rate=1e-4, noise=8, final_noise=2, l2=1e-3),
        ]
    )
    assert [this.number for this in rounds] == [1, 2, 3, 4]
    assert [this.phase for this in rounds] == [1, 2, 2, 2]
    assert [this.place for this in rounds] == [0, 0, 1, 2]
    assert [this.epochs for this in rounds] == [10, 1, 1, 1]
    assert [this.noise for this in rounds] == pytest.approx([1000, 8, 4, 2])
    assert [this.learning_rate for this in rounds] == pytest.approx([64e-5, 1e-2, 1e-3, 1e-4])
    assert [this.l2 for this in rounds] == [0, 1e-3, 1e-3, 1e-3]


def test_one_round_takes_the_first_values():
    phase = PhaseSettings(rounds=1, noise=8, final_noise=2, learning_rate=0.1, final_learning_rate=0.01)
    (this,) = rounds_of([phase])
    assert (this.noise, this.learning_rate) == (8, 0.1)


def test_a_round_knows_all_else_of_its_phase():
    phase = PhaseSettings(rounds=2, image_scale=0.5, min_photos=10, frozen=("stem", "stage1", "batch_norm"))
    assert [this.settings for this in rounds_of([phase])] == [phase, phase]


def test_a_cycle_ends_with_a_round():
    rounds = rounds_of([PhaseSettings(rounds=6, cycles=3, rate="cosine"), PhaseSettings(rounds=2)])
    assert [this.ends_cycle for this in rounds] == [False, True, False, True, False, True, False, True]


# the rate of a step, in numbers small enough to check by eye


def test_equal_ratios_change_the_rate_from_round_to_round_alone():
    rates = rates_of({"rounds": 3, "epochs_per_round": 2, "learning_rate": 0.1, "final_learning_rate": 0.001})
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_a_linear_rate_changes_at_every_step():
    rates = rates_of(
        {"rate": "linear", "rounds": 2, "learning_rate": 0.5, "final_learning_rate": 0.1, "epochs_per_round": 1},
        num_steps=3,
    )
    assert rates == pytest.approx([0.5, 0.42, 0.34, 0.26, 0.18, 0.1])


def test_a_cosine_falls_slowly_then_fast_then_slowly():
    rates = rates_of({"rate": "cosine", "rounds": 1, "learning_rate": 3.0, "final_learning_rate": 1.0}, num_steps=5)
    root = np.sqrt(0.5)
    assert rates == pytest.approx([3, 2 + root, 2, 2 - root, 1])


def test_one_cycle_rises_from_a_25th_and_falls_to_a_10000th_of_that():
    rates = rates_of({"rate": "one_cycle", "rounds": 1, "learning_rate": 25.0, "peak_share": 0.5}, num_steps=5)
    assert rates == pytest.approx([1, 13, 25, 12.5 + 5e-5, 1e-4])


@pytest.mark.parametrize("peak_share", [0.01, 0.99])
def test_one_cycle_has_a_rise_and_a_fall_however_few_steps(peak_share):
    cycle = {"rate": "one_cycle", "learning_rate": 25.0, "final_learning_rate": 1.0, "peak_share": peak_share}
    assert rates_of(cycle, num_steps=3) == pytest.approx([1, 25, 1])
    assert rates_of(cycle, num_steps=2) == pytest.approx([1, 25])
    assert rates_of(cycle, num_steps=1) == pytest.approx([1])


def test_a_warm_up_is_a_rising_phase():
    rates = rates_of(
        {"rate": "linear", "learning_rate": 0.1, "final_learning_rate": 0.4},
        {"rate": "cosine", "learning_rate": 0.4, "final_learning_rate": 0.2},
        num_steps=3,
    )
    assert rates == pytest.approx([0.1, 0.25, 0.4, 0.4, 0.3, 0.2])


def test_a_kick_raises_the_rate_and_it_falls_back_until_the_next():
    rates = rates_of({"rounds": 9, "learning_rate": 1.0, "kick": 4.0, "kick_every": 3})
    assert rates == pytest.approx([1, 1, 1, 4, 2, 1, 4, 2, 1])


def test_kicks_do_not_depend_on_the_rounds():
    fields = {"learning_rate": 1.0, "final_learning_rate": 0.5, "rate": "linear", "kick": 4.0, "kick_every": 4}
    one = rates_of({"rounds": 1, "epochs_per_round": 12, **fields}, num_steps=2)
    assert rates_of({"rounds": 4, "epochs_per_round": 3, **fields}, num_steps=2) == pytest.approx(one)
    assert one[8] / one[7] > 3


# the rate of a step, properties


@given(
    fields=fields_of_a_phase(min_rounds=2, last=st.none() | LAST_RATES),
    num_steps=st.integers(1, 5),
    kick=st.sampled_from([1.0, 3.0]),
)
def test_rates_are_positive_and_one_a_step(fields, num_steps, kick):
    rates = rates_of({**fields, "kick": kick, "kick_every": 1}, num_steps=num_steps)
    assert len(rates) == fields["rounds"] * fields["epochs_per_round"] * num_steps
    assert (rates > 0).all()


@given(fields=fields_of_a_phase(min_rounds=2), num_steps=st.integers(3, 5))
def test_the_first_and_the_last_rate_are_those_of_the_settings(fields, num_steps):
    rates = rates_of(fields, num_steps=num_steps)
    first = fields["learning_rate"] / 25 if fields["rate"] == "one_cycle" else fields["learning_rate"]
    assert rates[0] == pytest.approx(first, rel=1e-12)
    assert rates[-1] == fields["final_learning_rate"]


@given(fields=fields_of_a_phase(st.sampled_from(["linear", "cosine"]), last=st.none()))
def test_without_a_last_rate_the_rate_falls_to_almost_zero(fields):
    rates = rates_of(fields, num_steps=4)
    assert (np.diff(rates) < 0).all()
    assert rates[-1] == pytest.approx(fields["learning_rate"] / 250_000)


@given(fields=fields_of_a_phase(st.sampled_from(["linear", "cosine"])), num_steps=st.integers(2, 5))
def test_the_rate_runs_through_the_rounds_of_a_phase_without_a_jump(fields, num_steps):
    rates = rates_of(fields, num_steps=num_steps)
    steepest = abs(rates[0] - rates[-1]) * np.pi / 2 / (len(rates) - 1)  # of half a cosine wave; a line is flatter
    assert np.abs(np.diff(rates)).max() <= steepest * (1 + 1e-6) + 1e-15


@given(fields=fields_of_a_phase(st.sampled_from(SMOOTH)), num_steps=st.integers(1, 5))
def test_how_a_phase_is_cut_into_rounds_does_not_change_its_rates(fields, num_steps):
    num_epochs = fields["rounds"] * fields["epochs_per_round"]
    whole = rates_of({**fields, "rounds": 1, "epochs_per_round": num_epochs}, num_steps=num_steps)
    assert np.array_equal(rates_of(fields, num_steps=num_steps), whole)


@given(fields=fields_of_a_phase(st.sampled_from(["ratio", "linear"]), min_rounds=2), data=st.data())
def test_two_phases_that_meet_equal_the_whole(fields, data):
    first_rounds = data.draw(st.integers(1, fields["rounds"] - 1))
    whole = rates_of(fields, num_steps=3)
    cut = first_rounds * fields["epochs_per_round"] * 3
    first = {**fields, "rounds": first_rounds, "final_learning_rate": whole[cut - 1]}
    second = {**fields, "rounds": fields["rounds"] - first_rounds, "learning_rate": whole[cut]}
    assert rates_of(first, second, num_steps=3) == pytest.approx(whole, rel=1e-9)


@given(
    fields=fields_of_a_phase(st.just("one_cycle")),
    num_steps=st.integers(3, 5),
    fall=st.floats(1e-6, 0.5),
)
def test_one_cycle_rises_to_its_peak_once_and_falls(fields, num_steps, fall):
    last = max(fields["learning_rate"] * fall, 1e-9)
    rates = rates_of({**fields, "final_learning_rate": last}, num_steps=num_steps)
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(fields["learning_rate"], rel=1e-12)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert abs(peak - fields["peak_share"] * (len(rates) - 1)) <= 1


@given(
    fields=fields_of_a_phase(last=st.none() | LAST_RATES),
    cycles=st.integers(1, 5),
    num_steps=st.integers(1, 4),
)
def test_restarts_repeat_the_cycle(fields, cycles, num_steps):
    rates = rates_of({**fields, "rounds": cycles * fields["rounds"], "cycles": cycles}, num_steps=num_steps)
    assert np.array_equal(rates, np.tile(rates_of(fields, num_steps=num_steps), cycles))


# schedules of the literature, number by number


def ladder(*rows):
    """The rate of every epoch, from rows of (last epoch, rate)."""
    lasts = [0, *(last for last, _ in rows)]
    return np.repeat([rate for _, rate in rows], np.diff(lasts))


def test_the_table_of_piotte():
    rows = [  # rounds, epochs a round, learning rate, K, last K, L2
        (1, 10, 64e-5, 1000, None, 0),
        (10, 5, 64e-5, 100, 100**0.1, 0),
        (18, 5, 64e-5, 1, None, 0),
        (10, 5, 16e-5, 0.5, None, 0),
        (8, 5, 4e-5, 0.25, None, 0),
        (2, 5, 1e-5, 0.25, None, 0),
        (10, 5, 64e-5, 1, None, 2e-4),
        (10, 5, 16e-5, 0.5, None, 2e-4),
        (8, 5, 4e-5, 0.25, None, 2e-4),
        (2, 5, 1e-5, 0.25, None, 2e-4),
    ]
    names = ("rounds", "epochs_per_round", "learning_rate", "noise", "final_noise", "l2")
    phases = [dict(zip(names, row, strict=True)) for row in rows]
    expected = ladder(
        (150, 64e-5), (200, 16e-5), (240, 4e-5), (250, 1e-5), (300, 64e-5), (350, 16e-5), (390, 4e-5), (400, 1e-5)
    )
    assert rates_of(*phases) == pytest.approx(expected)
    rounds = rounds_of(TrainingSettings(schedule=phases).schedule)
    noise = np.repeat([this.noise for this in rounds], [this.epochs for this in rounds])
    falling = [(15 + 5 * step, 100 * 100 ** (-0.1 * step)) for step in range(10)]
    rest = [(150, 1), (200, 0.5), (250, 0.25), (300, 1), (350, 0.5), (400, 0.25)]
    assert noise == pytest.approx(ladder((10, 1000), *falling, *rest))
    assert (
        np.repeat([this.l2 for this in rounds], [this.epochs for this in rounds]).tolist() == [0] * 250 + [2e-4] * 150
    )


def test_the_warm_up_ladder_of_shen():
    frozen = ("stem", "stage1")  # the first two stages of a ResNet
    rows = [(4, 1e-4), (5, 2e-4), (30, 3e-4), (10, 1e-4), (10, 5e-5), (41, 1e-5)]
    phases = [{"epochs_per_round": epochs, "learning_rate": rate, "frozen": frozen} for epochs, rate in rows]
    expected = ladder((4, 1e-4), (9, 2e-4), (39, 3e-4), (49, 1e-4), (59, 5e-5), (100, 1e-5))
    assert rates_of(*phases) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "steps"), [(5e-4, (250, 350, 500)), (5e-4, (150, 200, 300)), (2.5e-4, (150, 200, 300))]
)
def test_the_halving_of_park(first, steps):
    phases = [
        {"epochs_per_round": last - before, "learning_rate": first / 2**halvings}
        for halvings, (before, last) in enumerate(pairwise((0, *steps)))
    ]
    expected = ladder((steps[0], first), (steps[1], first / 2), (steps[2], first / 4))
    assert rates_of(*phases) == pytest.approx(expected)


def test_the_restarts_of_bratannet_at_two_image_sizes():
    """64 epochs at 256 pixels, then 64 at 1024; cosine restarts, whose number and rates were not published."""
    cycle = {"rate": "cosine", "rounds": 16, "epochs_per_round": 4, "cycles": 4, "learning_rate": 1e-3}
    phases = [{**cycle, "image_scale": scale, "final_learning_rate": 1e-5} for scale in (0.25, 1.0)]
    rates = rates_of(*phases, num_steps=2)
    expected = [1e-5 + (1e-3 - 1e-5) * (1 + np.cos(np.pi * step / 31)) / 2 for step in range(32)]
    assert rates == pytest.approx(np.tile(expected, 8))
    assert np.flatnonzero(np.diff(rates) > 0).tolist() == [31, 63, 95, 127, 159, 191, 223]
    scales = [this.settings.image_scale for this in rounds_of(TrainingSettings(schedule=phases).schedule)]
    assert scales == [0.25] * 16 + [1.0] * 16


def test_the_one_cycle_of_the_seventh_place():
    """The head for 100 epochs at 6.7e-3, then all for 100 epochs at 2e-3, each one cycle of fastai."""
    cycle = {"rate": "one_cycle", "rounds": 20, "epochs_per_round": 5}
    phases = [{**cycle, "learning_rate": 6.7e-3, "frozen": ["encoder"]}, {**cycle, "learning_rate": 2e-3}]
    rates = rates_of(*phases, num_steps=10).reshape(2, 1000)
    for peak, cycle_rates in zip((6.7e-3, 2e-3), rates, strict=True):
        assert cycle_rates[[0, 300, 999]] == pytest.approx([peak / 25, peak, peak / 250_000])
        assert cycle_rates[150] == pytest.approx((peak / 25 + peak) / 2)  # half of the way up
        assert cycle_rates[533] == pytest.approx(peak * 0.75, rel=1e-3)  # a third of the way down
    frozen = [this.settings.frozen for this in rounds_of(TrainingSettings(schedule=phases).schedule)]
    assert frozen == [("encoder",)] * 20 + [()] * 20


def test_the_decay_after_a_burn_in_of_deepsense():
    """Rate 0.01, from epoch 15 on times 0.9955 an epoch, 501 epochs."""
    rates = rates_of(
        {"epochs_per_round": 15, "learning_rate": 0.01},
        {"rounds": 486, "learning_rate": 0.01 * 0.9955, "final_learning_rate": 0.01 * 0.9955**486},
    )
    assert rates == pytest.approx([0.01 * 0.9955 ** max(0, epoch - 15) for epoch in range(1, 502)])


# settings


def test_parts_have_names():
    frozen = ("stem", "stage1", "stage12", "encoder", "batch_norm")
    assert PhaseSettings(frozen=frozen).frozen == frozen
    for wrong in ("stage0", "stage", "head"):
        with pytest.raises(SettingsError, match=r"`training.schedule.0.frozen.0` is wrong.*Received: "):
            settings_from_dict({"training": {"schedule": [{"frozen": [wrong]}]}})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"rounds": 4, "cycles": 3}, "`cycles` must divide `rounds`.* Received: cycles=3, rounds=4"),
        ({"kick": 2.0}, "`kick_every` must be under the 1 epochs.* Received: kick=2.0, kick_every=None"),
        ({"rounds": 4, "kick": 2.0, "kick_every": 4}, "`kick_every` must be under the 4 epochs"),
        ({"frozen": ["encoder", "comparator"]}, "`frozen` must leave a part that trains"),
        ({"image_scale": 0.0}, "greater than 0"),
    ],
)
def test_a_phase_that_means_nothing_is_refused(fields, sentence):
    with pytest.raises(SettingsError, match=sentence):
        settings_from_dict({"training": {"schedule": [fields]}})


@pytest.mark.parametrize("fields", [{"low": 0.7, "high": 0.7}, {"smallest": 10, "largest": 1}])
def test_limits_of_the_adaptive_noise_are_in_order(fields):
    with pytest.raises(ValidationError, match="`low` must be under `high`, and `smallest` not above `largest`"):
        AdaptiveNoiseSettings(**fields)


# plateaus and the end

values_of_rounds = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, float("nan")]), max_size=25)


def test_a_plateau_divides_the_rate_by_five():
    settings = PlateauSettings(factor=0.2, patience=2, smallest=0.01)
    values = [0.5, 0.6, 0.6, 0.6, 0.59, 0.58, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    factors = [plateau_factor(values[:count], settings) for count in range(len(values) + 1)]
    expected = [1, 1, 1, 1, 0.2, 0.2, 0.04, 0.04, 0.04, 0.01, 0.01, 0.01, 0.01, 0.01]
    assert factors == pytest.approx(expected)


@given(
    values=st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.4]), max_size=15),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.07]),
)
def test_plateaus_and_stops_are_those_of_keras(plain_model, values, patience, min_delta):
    plain_model.optimizer.learning_rate.assign(1.0)
    plain_model.stop_training = False
    fields = {"monitor": "value", "mode": "max", "patience": patience, "min_delta": min_delta}
    plateau = keras.callbacks.ReduceLROnPlateau(factor=0.5, min_lr=1 / 8, cooldown=0, **fields)
    stop = keras.callbacks.EarlyStopping(**fields)
    for callback in (plateau, stop):
        callback.set_model(plain_model)
        callback.on_train_begin()
    early = EarlyStopSettings(patience=patience, min_delta=min_delta)
    settings = PlateauSettings(factor=0.5, patience=patience, min_delta=min_delta, smallest=1 / 8)
    stopped = False
    for epoch, value in enumerate(values):
        plateau.on_epoch_end(epoch, {"value": value})
        stop.on_epoch_end(epoch, {"value": value})
        rate = float(keras.ops.convert_to_numpy(plain_model.optimizer.learning_rate))
        assert plateau_factor(values[: epoch + 1], settings) == pytest.approx(rate)
        stopped = stopped or should_stop(values[: epoch + 1], early)
        assert stopped == plain_model.stop_training


@pytest.fixture(scope="module")
def plain_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    return model


@given(values=values_of_rounds, patience=st.integers(1, 4), factor=st.floats(0.1, 0.9))
def test_the_factor_of_plateaus_never_rises(values, patience, factor):
    settings = PlateauSettings(patience=patience, factor=factor, smallest=0.05)
    factors = [plateau_factor(values[:count], settings) for count in range(len(values) + 1)]
    assert factors[0] == 1
    assert (np.diff(factors) <= 0).all()
    assert min(factors) >= 0.05


@given(values=values_of_rounds, patience=st.integers(1, 4))
def test_rounds_that_were_not_measured_do_not_count(values, patience):
    measured = [value for value in values if not np.isnan(value)]
    for rule, settings in (
        (plateau_factor, PlateauSettings(patience=patience)),
        (should_stop, EarlyStopSettings(patience=patience)),
    ):
        assert rule(values, settings) == rule(measured, settings)


def test_a_training_stops_when_its_patience_is_over():
    settings = EarlyStopSettings(patience=2, min_delta=0.05)
    values = [0.5, 0.6, 0.64, 0.7, 0.7, 0.74]
    assert [should_stop(values[:count], settings) for count in range(7)] == [False] * 6 + [True]


@given(values=values_of_rounds)
def test_the_best_round_is_the_first_of_the_best(values):
    assume(not np.isnan(values).all())
    number = best_round(values)
    assert values[number - 1] == np.nanmax(values)
    assert values[number - 1] not in values[: number - 1]


@pytest.mark.parametrize("values", [[], [float("nan")] * 3])
def test_without_a_measured_round_there_is_no_best(values):
    with pytest.raises(SiameseError, match=f"`values` must hold a measured round. Received: {len(values)} rounds"):
        best_round(values)


# K

BAND = AdaptiveNoiseSettings(low=0.6, high=0.7, factor=0.631, smallest=0.1, largest=1000)


def test_noise_falls_above_the_band_rises_under_it_and_stays_within():
    settings = AdaptiveNoiseSettings(low=0.6, high=0.7, factor=0.5, smallest=10, largest=100)
    shares = [0.8, 0.65, 0.6, 0.7, 0.71, 0.9, 0.9, 0.5, 0.59]
    noises = [adapted_noise(80, shares[:count], settings) for count in range(len(shares) + 1)]
    assert noises == [80, 40, 40, 40, 40, 20, 10, 10, 20, 40]
    assert adapted_noise(80, [0.1] * 5, settings) == 100
    assert adapted_noise(1, [], settings) == 10


shares_of_rounds = st.lists(st.floats(0, 1), max_size=30)


@given(first=st.floats(0, 1e5), shares=shares_of_rounds)
def test_noise_stays_within_its_limits(first, shares):
    assert 0.1 <= adapted_noise(first, shares, BAND) <= 1000


@given(first=st.floats(0.1, 1000), pairs=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30))
def test_a_model_that_judges_more_pairs_rightly_gets_no_easier_ones(first, pairs):
    shares, better = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    assert adapted_noise(first, better, BAND) <= adapted_noise(first, shares, BAND) * (1 + 1e-12)


def run_of_noise(first, share_of, num_rounds=40):
    shares, noises = [], []
    for number in range(num_rounds):
        noises.append(adapted_noise(first, shares, BAND))
        shares.append(share_of(noises[-1], number))
    return noises, shares


@given(
    first=st.floats(0.1, 1000),
    middle=st.floats(1.0, 1.8),
    slope=st.floats(1.5, 3.0),
    lowest=st.floats(0.4, 0.55),
)
def test_noise_settles_where_the_share_lies_in_the_band(first, middle, slope, lowest):
    """A model whose share rises with the logarithm of K from `lowest` to 1, by under a tenth a factor."""

    def share_of(noise, number):
        return lowest + (1 - lowest) / (1 + np.exp(-slope * (np.log10(noise) - middle)))

    noises, shares = run_of_noise(first, share_of)
    assert len(set(noises[-15:])) == 1
    assert BAND.low <= shares[-1] <= BAND.high


def test_noise_swings_by_one_factor_where_a_factor_jumps_over_the_band():
    noises, _ = run_of_noise(100, lambda noise, number: 0.9 if noise > 5 else 0.1)
    low, high = sorted(set(noises[-20:]))
    assert low < 5 < high == pytest.approx(low / BAND.factor)


def test_noise_settles_on_a_measured_model():
    """Share of the pairs judged rightly by a trained model of simulated flukes, 1,277 photos of 381 animals."""
    measured = {0.1: 0.615, 1: 0.617, 3: 0.632, 5: 0.646, 10: 0.685, 30: 0.761, 50: 0.788, 100: 0.843, 300: 0.907}
    logs, shares = np.log10(list(measured)), list(measured.values())
    for first in (0.1, 3, 1000):
        noises, seen = run_of_noise(first, lambda noise, number: np.interp(np.log10(noise), logs, shares))
        assert len(set(noises[-20:])) == 1
        assert BAND.low <= seen[-1] <= BAND.high


def test_noise_follows_a_model_that_learns():
    """The share at any K rises from round to round, so the band asks for ever harder pairs."""

    def share_of(noise, number):
        return 0.5 + 0.5 / (1 + np.exp(-2 * (np.log10(noise) - 2.5 + number / 15)))

    noises, shares = run_of_noise(100, share_of)
    assert noises[-1] < noises[10] / 10
    assert all(0.55 < share < 0.75 for share in shares[10:])


def test_rules_leave_their_values_alone():
    values = [0.5, 0.4, 0.4]
    plateau_factor(values, PlateauSettings())
    should_stop(values, EarlyStopSettings())
    best_round(values)
    adapted_noise(1.0, values, BAND)
    assert values == [0.5, 0.4, 0.4]
