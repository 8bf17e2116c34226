import itertools
import time
from collections import Counter

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.augment import Augment
from siamese.errors import InfeasiblePairing, SettingsError, SiameseError
from siamese.models.comparator import Comparator
from siamese.models.encoder import build_encoder
from siamese.models.pair_model import PairModel
from siamese.recipes import resolve_settings
from siamese.schedules import rounds_of
from siamese.settings import (
    AdaptiveNoiseSettings,
    AugmentationSettings,
    EarlyStopSettings,
    EncoderSettings,
    MiningSettings,
    PhaseSettings,
    PlateauSettings,
    TrainingSettings,
)
from siamese.training import Trainer
from siamese.training_images import TrainingImages, choose_images, photos_of, with_turns

IDENTITY = np.repeat(np.arange(5), 4)
TWO_ROUNDS = TrainingSettings(
    seed=4,
    batch_size=8,
    pairs_per_image=2,
    schedule=(PhaseSettings(rounds=2, epochs_per_round=2, learning_rate=1e-3, noise=10, final_noise=1, l2=1e-4),),
)


def draw_images(identity=IDENTITY, group=None, shape=(16, 32, 1)):
    """Photos that show a pattern of their animal and much noise."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 160, (identity.max() + 1, *shape))
    photos = (patterns[identity] + rng.integers(0, 96, (len(identity), *shape))).astype(np.uint8)
    names = np.array([f"photo{row}" for row in range(len(identity))], dtype=object)
    return TrainingImages(lambda index: photos[index], identity, identity if group is None else group, names)


def make_trainer(settings, images=None, *, eagerly=False, **kwargs):
    keras.utils.set_random_seed(settings.seed)
    encoder = EncoderSettings(
        stem_filters=4,
        stem_kernel=3,
        stem_pool=False,
        stem_convolutions=0,
        widths=(8,),
        bottlenecks=(4,),
        depth=1,
        batch_norm_momentum=0.9,
    )
    model = PairModel(
        build_encoder((16, 32, 1), encoder),
        Comparator(4),
        Augment(AugmentationSettings()),
        ranking_weight=settings.ranking_weight,
    )
    trainer = Trainer(model, images or draw_images(), settings, **kwargs)
    trainer.model.run_eagerly = eagerly
    return trainer


def weights_of(trainer):
    return [weight.numpy() for weight in trainer.model.encoder.weights + trainer.model.comparator.weights]


def same(first, second):
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


class Story:
    """What a training told, and its weights after each round."""

    def __init__(self):
        self.records, self.weights, self.stages = [], [], []

    def run(self, folder, *, interrupt_in_round=None, settings=TWO_ROUNDS):
        def on_progress(stage, done, total):
            self.stages.append((stage, done, total))
            if stage == "fit" and len(self.records) + 1 == interrupt_in_round:
                raise KeyboardInterrupt

        def on_round(record):
            self.records.append(record)
            self.weights.append(weights_of(trainer))

        trainer = make_trainer(settings, on_progress=on_progress)
        self.history = trainer.train(folder, fingerprint="one training", on_round=on_round)
        return self


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return Story().run(folder), folder


# what a round is made of


def test_hard_positives_are_the_least_alike_photos_and_random_ones_are_drawn():
    plans = {}
    for positives in ("random", "hard"):
        mining = MiningSettings(positives=positives)
        settings = TWO_ROUNDS.model_copy(update={"batches": "pairs", "mining": mining})
        trainer = make_trainer(settings)
        record = trainer.run_round(rounds_of(settings.schedule)[0])
        assert np.isfinite(record.loss)
        plans[positives] = weights_of(trainer)
    assert not same(plans["random"], plans["hard"])


def test_pairs_that_look_mislabelled_are_left_out_and_listed(tmp_path):
    everything = TWO_ROUNDS.model_copy(update={"mining": MiningSettings(suspect_margin=-100.0)})
    trainer = make_trainer(everything)
    trainer.train(tmp_path, fingerprint="x", on_round=lambda record: None)
    assert len(trainer.suspects) == 20 * 16 // 2  # all pairs of different animals


def test_the_list_of_suspects_names_photos_and_says_how_far_they_stand_out(tmp_path):
    settings = TWO_ROUNDS.model_copy(update={"mining": MiningSettings(suspect_margin=0.0)})
    trainer = make_trainer(settings)
    trainer.train(tmp_path, fingerprint="x", on_round=lambda record: None)
    listed = pd.read_csv(tmp_path / "mining_suspects.csv")
    assert list(listed.columns) == ["image_a", "image_b", "score", "above_best_positive"]
    assert set(listed["image_a"]) <= set(trainer.images.image_ids)
    assert (listed["above_best_positive"] > 0).all()
    assert listed["above_best_positive"].is_monotonic_decreasing


def test_turned_copies_are_named_after_their_photo():
    turned = with_turns(draw_images(), ("flip",))
    assert turned.image_ids[[0, 20]].tolist() == ["photo0", "photo0 (flip)"]


# the schedule


def test_the_400_epochs_of_the_humpback_kernel_are_a_recipe():
    settings = resolve_settings("humpback_400", None, [])
    rounds = rounds_of(settings.training.schedule)
    epochs = [this for this in rounds for _ in range(this.epochs)]
    assert len(epochs) == 400
    table = [  # last epoch, learning rate, K, L2
        (10, 64e-5, 1000, 0),
        (60, 64e-5, None, 0),
        (150, 64e-5, 1.0, 0),
        (200, 16e-5, 0.5, 0),
        (240, 4e-5, 0.25, 0),
        (250, 1e-5, 0.25, 0),
        (300, 64e-5, 1.0, 2e-4),
        (350, 16e-5, 0.5, 2e-4),
        (390, 4e-5, 0.25, 2e-4),
        (400, 1e-5, 0.25, 2e-4),
    ]
    first = 0
    for last, rate, noise, l2 in table:
        for epoch in epochs[first:last]:
            assert (epoch.learning_rate, epoch.l2) == (pytest.approx(rate), pytest.approx(l2))
            assert noise is None or epoch.noise == noise
        first = last
    falling = [epoch.noise for epoch in epochs[10:60:5]]
    assert falling == pytest.approx([100 * 100 ** (-0.1 * step) for step in range(10)], rel=1e-5)
    # One matrix for the first ten epochs, then one each five.
    assert [this.epochs for this in rounds] == [10] + [5] * 78


def test_the_recipe_of_400_epochs_is_the_humpback_kernel_in_all_else():
    settings = resolve_settings("humpback_400", None, [])
    images, training, change = settings.preprocessing, settings.training, settings.augmentation
    assert (images.height, images.width, images.channels, images.margin, images.anisotropy) == (384, 384, 1, 0.05, 2.15)
    assert (training.batches, training.batch_size, training.ranking_weight) == ("pairs", 64, 0)
    assert (training.min_photos, training.images_per_round) == (2, None)
    assert (change.rotation, change.shear, change.zoom, change.shift) == (5, 5, (0.8, 1.0), 0.05)
    assert not any((change.perspective, change.gamma, change.gradient, change.noise, change.erase))
    assert change.new_identities == ()
    assert (settings.encoder.widths, settings.encoder.pooling) == ((128, 256, 384, 512), "max")
    assert settings.comparator.hidden_units == 32


# the images of a round


def test_without_a_limit_all_images_take_part(rng):
    assert choose_images(IDENTITY, IDENTITY, None, rng=rng).tolist() == list(range(20))
    assert choose_images(IDENTITY, IDENTITY, 20, rng=rng).tolist() == list(range(20))


@given(group=st.lists(st.integers(-1, 12), min_size=20, max_size=80).map(np.array), seed=st.integers(0, 999))
def test_a_round_takes_at_most_so_many_images_and_whole_groups_but_for_the_large_and_the_last(group, seed):
    limit = 16
    chosen = choose_images(group, group, limit, rng=np.random.default_rng(seed))
    assert len(chosen) <= limit
    assert np.array_equal(chosen, np.unique(chosen))
    sizes, taken = Counter(group.tolist()), Counter(group[chosen].tolist())
    cut = [code for code in taken if code >= 0 and taken[code] < min(sizes[code], max(2, limit // 8))]
    assert len(cut) <= 1
    assert all(count <= max(2, limit // 8) for code, count in taken.items() if code >= 0)


@given(group=st.lists(st.integers(-1, 6), min_size=4, max_size=60).map(np.array), least=st.integers(1, 5))
def test_individuals_with_few_photos_wait(group, least):
    chosen = choose_images(group, group, None, min_photos=least, rng=np.random.default_rng(0))
    sizes = Counter(group.tolist())
    named = chosen[group[chosen] >= 0]
    assert named.tolist() == [row for row, code in enumerate(group) if code >= 0 and sizes[code] >= least]
    assert all(photos_of(group)[row] == sizes[code] for row, code in enumerate(group) if code >= 0)


@given(
    group=st.lists(st.integers(-1, 6), min_size=12, max_size=60).map(np.array),
    limit=st.none() | st.integers(12, 40),
    seed=st.integers(0, 999),
)
def test_a_quarter_of_a_round_at_most_shows_unknown_individuals(group, limit, seed):
    chosen = choose_images(group, group, limit, rng=np.random.default_rng(seed))
    named, unknown = (group >= 0).sum(), (group < 0).sum()
    allowed = min(named / 3, limit / 4 if limit else np.inf)
    assert (group[chosen] < 0).sum() == min(unknown, int(allowed))
    assert len(chosen) <= (limit or len(group))


def test_every_round_chooses_anew(rng):
    group = np.repeat(np.arange(50), 2)
    first, second = (choose_images(group, group, 20, rng=rng) for _ in range(2))
    assert len(first) == len(second) == 20
    assert not np.array_equal(first, second)


def test_turned_copies_are_further_individuals():
    images = draw_images(np.array([0, 0, 1, -1]), np.array([3, 4, 5, -1]))
    turned = with_turns(images, ["flip", "turn180"])
    assert len(turned) == 12
    assert turned.identity.tolist() == [0, 0, 1, -1, 2, 2, 3, -1, 4, 4, 5, -1]
    assert turned.group.tolist() == [3, 4, 5, -1, 9, 10, 11, -1, 15, 16, 17, -1]
    stored = images.read(np.array([2, 0, 1]))
    batch = turned.read(np.array([2, 4, 9]))
    assert np.array_equal(batch[0], stored[0])
    assert np.array_equal(batch[1], stored[1][:, ::-1])
    assert np.array_equal(batch[2], stored[2][::-1, ::-1])
    assert np.array_equal(images.read(np.array([0])), stored[1:2])


# rounds


def test_a_training_tells_of_each_round(uninterrupted):
    story, folder = uninterrupted
    assert [record.round for record in story.records] == [1, 2]
    assert [record.noise for record in story.records] == pytest.approx([10, 1])
    for record in story.records:
        assert record.num_images == 20
        assert record.num_encoded == 20 + 2 * 24  # scored once, two epochs of three full batches
        assert np.isfinite([record.loss, record.accuracy, record.mean_score, record.correct_pairs]).all()
        assert 0 <= record.correct_pairs <= 1
        assert 0 < record.mean_score < 1
        assert min(record.seconds_embed, record.seconds_score, record.seconds_assign, record.seconds_fit) > 0
    assert [stage for stage, done, total in story.stages if done == total][:4] == ["embed", "assign", "fit", "assign"]
    pd.testing.assert_frame_equal(pd.read_csv(folder / "history.csv"), story.history)
    assert len(list((folder / "tensorboard").glob("events*"))) >= 1


def test_a_training_changes_the_weights_in_every_round(uninterrupted):
    story, _ = uninterrupted
    fresh = weights_of(make_trainer(TWO_ROUNDS))
    assert not same(fresh, story.weights[0])
    assert not same(story.weights[0], story.weights[1])


def test_an_interrupted_training_that_goes_on_ends_with_the_same_weights_to_the_last_bit(uninterrupted, tmp_path):
    story, _ = uninterrupted
    broken = Story()
    with pytest.raises(KeyboardInterrupt):
        broken.run(tmp_path, interrupt_in_round=2)
    assert same(broken.weights[0], story.weights[0])  # the same seed, the same weights
    resumed = Story().run(tmp_path)
    assert same(resumed.weights[-1], story.weights[-1])
    assert [record.round for record in resumed.records] == [1, 2]
    columns = ["round", "noise", "loss", "accuracy", "mean_score", "correct_pairs", "num_encoded"]
    assert resumed.history[columns].equals(story.history[columns])


def test_a_clock_that_jumps_changes_nothing(uninterrupted, tmp_path, monkeypatch):
    days = itertools.count(2e9, -86_400)  # a day back at every look
    monkeypatch.setattr(time, "time", lambda: next(days))
    story, _ = uninterrupted
    again = Story().run(tmp_path)
    assert same(again.weights[-1], story.weights[-1])
    assert next(days) < 2e9 - 86_400  # it was looked at
    assert (again.history.filter(like="seconds_") >= 0).all(axis=None)


def test_a_finished_training_does_not_train_again(uninterrupted):
    story, folder = uninterrupted
    again = Story().run(folder)
    assert same(again.weights[-1], story.weights[-1])
    assert again.stages == []
    assert again.history.equals(pd.read_csv(folder / "history.csv"))


def test_a_state_of_other_settings_is_refused(uninterrupted):
    _, folder = uninterrupted
    trainer = make_trainer(TWO_ROUNDS)
    fresh = weights_of(trainer)
    with pytest.raises(SiameseError, match="a run folder belongs to one training. Received: other settings or other"):
        trainer.train(folder, fingerprint="another training", on_round=print)
    assert same(weights_of(trainer), fresh)


def one_round(**changes):
    phase = PhaseSettings(noise=1, learning_rate=1e-3, **changes.pop("phase", {}))
    settings = TWO_ROUNDS.model_copy(update={"schedule": (phase,), **changes})
    trainer = make_trainer(settings, changes.pop("images", None), eagerly=True)
    return trainer, trainer.run_round(rounds_of(settings.schedule)[0])


def test_another_seed_gives_other_weights():
    assert not same(weights_of(one_round(seed=1)[0]), weights_of(one_round(seed=2)[0]))


def test_classical_pairs_train_too():
    trainer, record = one_round(batches="pairs", ranking_weight=0.0)
    assert float(trainer.model.optimizer.learning_rate.numpy()) == pytest.approx(1e-3)
    assert np.isfinite(record.loss)
    assert record.num_encoded == 20 + 10 * 8  # 20 positive pairs, two in each batch of eight images


def test_a_round_of_some_images_encodes_only_these():
    _, record = one_round(images_per_round=10)
    assert record.num_images <= 10


def test_a_strong_l2_penalty_shrinks_the_kernels():
    def size(l2):
        trainer, _ = one_round(phase={"l2": l2})
        kernels = [weight for weight in trainer.model.encoder.trainable_weights if weight.name == "kernel"]
        return sum(float((weight.numpy() ** 2).sum()) for weight in kernels)

    assert size(1.0) < size(0.0)


# rules that look at the rounds before


class Scripted:
    """A validation that gives values of a list, and remembers the weights it saw."""

    def __init__(self, values):
        self.values, self.seen, self.trainer = list(values), [], None

    def __call__(self):
        self.seen.append(weights_of(self.trainer))
        return {"validation_map5": self.values[len(self.seen) - 1], "validation_top1": 0.5}


def run_with(folder, values, *, interrupt_after=None, **changes):
    """Trains with a validation that gives these values, and returns the trainer and the records."""
    validate, records = Scripted(values), []
    settings = TWO_ROUNDS.model_copy(update={"validate_every": 1, **changes})
    trainer = validate.trainer = make_trainer(settings, validate=validate)

    def on_round(record):
        records.append(record)
        if record.round == interrupt_after:
            raise KeyboardInterrupt

    trainer.train(folder, fingerprint="x", on_round=on_round)
    return trainer, records


def rounds(count, **values):
    return (PhaseSettings(rounds=count, learning_rate=1e-3, noise=1, **values),)


def test_early_stopping_ends_without_gain_and_keeps_the_best_weights(tmp_path):
    stopping = {"early_stop": EarlyStopSettings(patience=2), "schedule": rounds(6)}
    trainer, records = run_with(tmp_path, [0.2, 0.5, 0.4, 0.3, 0.9, 0.9], **stopping)
    assert [record.validation_map5 for record in records] == [0.2, 0.5, 0.4, 0.3]
    assert same(weights_of(trainer), trainer.validate.seen[1])
    again, _ = run_with(tmp_path, [], **stopping)  # a finished run keeps them too
    assert same(weights_of(again), weights_of(trainer))


def test_a_plateau_lowers_the_rate_and_an_interruption_changes_nothing(tmp_path):
    rules = {"plateau": PlateauSettings(patience=1, factor=0.1), "schedule": rounds(4)}
    trainer, records = run_with(tmp_path / "whole", [0.5, 0.4, 0.6, 0.6], **rules)
    assert [record.learning_rate for record in records] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    with pytest.raises(KeyboardInterrupt):
        run_with(tmp_path / "parts", [0.5, 0.4], interrupt_after=2, **rules)
    resumed, records = run_with(tmp_path / "parts", [0.6, 0.6], **rules)
    assert [record.learning_rate for record in records] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    assert same(weights_of(resumed), weights_of(trainer))


def test_noise_that_adapts_follows_the_share_of_right_pairs(tmp_path):
    easy = AdaptiveNoiseSettings(low=0.0, high=0.001, factor=0.5)  # any share is too high
    _, records = run_with(tmp_path, [0.1] * 3, adaptive_noise=easy, schedule=rounds(3))
    assert [record.noise for record in records] == pytest.approx([1, 0.5, 0.25])


@pytest.mark.parametrize("averaging", ["swa", "ema"])
def test_averaged_weights_are_kept_and_an_interruption_changes_nothing(tmp_path, averaging):
    rules = {"averaging": averaging, "ema_momentum": 0.8, "schedule": rounds(3)}
    last, _ = run_with(tmp_path / "last", [0.1] * 3, schedule=rounds(3))
    whole, _ = run_with(tmp_path / "whole", [0.1] * 3, **rules)
    assert not same(weights_of(whole), weights_of(last))
    assert same(weights_of(whole), whole.validate.seen[-1])  # what was validated is what is kept
    with pytest.raises(KeyboardInterrupt):
        run_with(tmp_path / "parts", [0.1] * 2, interrupt_after=2, **rules)
    resumed, _ = run_with(tmp_path / "parts", [0.1], **rules)
    assert same(weights_of(resumed), weights_of(whole))


def test_the_mean_over_the_rounds_is_the_mean_of_what_would_have_been_kept(tmp_path):
    plain, _ = run_with(tmp_path / "plain", [0.1] * 3, schedule=rounds(3))
    kernels = [weights[0] for weights in plain.validate.seen]
    averaged, _ = run_with(tmp_path / "swa", [0.1] * 3, averaging="swa", schedule=rounds(3))
    np.testing.assert_allclose(weights_of(averaged)[0], np.mean(kernels, axis=0), rtol=1e-5, atol=1e-7)


def test_a_frozen_part_keeps_its_weights_until_a_later_phase(tmp_path):
    schedule = (*rounds(1, frozen=("comparator",)), *rounds(1))
    trainer, _ = run_with(tmp_path, [0.1] * 2, schedule=schedule)
    before = [weight.numpy() for weight in make_trainer(TWO_ROUNDS).model.comparator.weights]
    count = len(before)
    assert same(trainer.validate.seen[0][-count:], before)
    assert not same(trainer.validate.seen[1][-count:], before)


def test_frequent_individuals_first(tmp_path):
    images = draw_images(np.array([0] * 4 + [1] * 4 + [2] * 2 + [3] * 2))
    schedule = (*rounds(1, min_photos=3), *rounds(1))
    trainer = make_trainer(TWO_ROUNDS.model_copy(update={"schedule": schedule}), images)
    records = [trainer.run_round(this) for this in rounds_of(schedule)]
    assert [record.num_images for record in records] == [8, 12]


def test_a_phase_that_no_individual_reaches_is_refused():
    with pytest.raises(SettingsError, match="must be one that some individuals reach. Received: 9; the most photos of"):
        make_trainer(TWO_ROUNDS.model_copy(update={"schedule": rounds(1, min_photos=9)}))


def test_a_round_may_look_at_smaller_images():
    schedule = (*rounds(1, image_scale=0.5), *rounds(1))
    trainer = make_trainer(TWO_ROUNDS.model_copy(update={"schedule": schedule}))
    seen = [weights_of(trainer)]
    for this in rounds_of(schedule):
        trainer.run_round(this)
        assert trainer.model.scale == this.settings.image_scale
        seen.append(weights_of(trainer))
        assert not same(seen[-2], seen[-1])
    assert trainer.model.encoder.input_shape == (None, 16, 32, 1)


def test_a_scale_that_is_too_small_is_told_before_anything_is_trained():
    with pytest.raises(SettingsError, match="too small|at least"):
        make_trainer(TWO_ROUNDS.model_copy(update={"schedule": (*rounds(1), *rounds(1, image_scale=0.05))}))


def test_mirrored_individuals_train_and_change_what_is_learned():
    weights = [weights_of(one_round(pair_flips=share)[0]) for share in (0.0, 0.5)]
    assert not same(*weights)


def test_validation_without_anything_that_validates_is_refused():
    with pytest.raises(SettingsError, match="`validate_every` must be none where nothing validates"):
        make_trainer(TWO_ROUNDS.model_copy(update={"validate_every": 1}))


def test_an_individual_with_over_half_of_the_photos_is_refused():
    with pytest.raises(InfeasiblePairing, match="Received: 4 of 6"):
        make_trainer(TWO_ROUNDS, draw_images(np.array([0, 0, 0, 0, 1, 2])))
