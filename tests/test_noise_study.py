from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from siamese.errors import SiameseError
from siamese.models.pair_model import build_pair_model
from siamese.noise_study import noise_figure, noise_study
from siamese.schedules import rounds_of
from siamese.scoring import score_matrix
from siamese.settings import PhaseSettings
from siamese.training import Trainer
from siamese.training_images import TrainingImages

PHASE = PhaseSettings(learning_rate=2e-3)
TOLD = ["noise", "seed", "loss", "accuracy", "correct_pairs", "mean_score", "num_steps"]


@pytest.fixture(scope="module")
def trained(tiny_settings):
    """A trainer after two rounds, with an optimiser that remembers them."""
    identity = np.repeat(np.arange(6), 5)
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 160, (6, 16, 32, 1))
    photos = (patterns[identity] + rng.integers(0, 96, (30, 16, 32, 1))).astype(np.uint8)
    names = np.array([f"photo{row}" for row in range(30)], dtype=object)
    images = TrainingImages(lambda index: photos[index], identity, identity, names)
    trainer = Trainer(build_pair_model(tiny_settings), images, tiny_settings.training)
    for this in rounds_of(tiny_settings.training.schedule):
        trainer.run_round(this)
    return trainer


@pytest.fixture(scope="module")
def table(trained):
    return noise_study(trained, [100, 0], phase=PHASE, seeds=2)


def state_of(trainer):
    return [variable.numpy().copy() for variable in [*trainer.model.variables, *trainer.model.optimizer.variables]]


def same(first, second):
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_each_k_has_a_row_for_each_seed_with_what_the_epoch_told(table):
    assert table["noise"].tolist() == [100, 100, 0, 0]
    assert table["seed"].tolist() == [0, 1, 0, 1]
    shares = table[["accuracy", "correct_pairs", "mean_score"]].to_numpy()
    assert ((shares > 0) & (shares <= 1)).all()
    assert np.isfinite(table["loss"]).all()
    assert (table.filter(like="seconds_") > 0).all(axis=None)
    assert np.allclose(table["seconds_per_step"], table["seconds_fit"] / table["num_steps"])
    assert table["loss"].nunique() == 4


def test_every_k_begins_with_the_same_weights_and_the_same_optimiser_to_the_last_bit(trained, table):
    alone = noise_study(trained, [0], phase=PHASE)
    other_order = noise_study(trained, [0, 100], phase=PHASE)
    assert table.loc[[2], TOLD].reset_index(drop=True).equals(alone[TOLD])
    assert other_order.loc[1, TOLD].tolist() == table.loc[0, TOLD].tolist()


def test_the_memory_of_the_optimiser_takes_part(trained, table):
    kept = [variable.numpy().copy() for variable in trained.model.optimizer.variables]
    try:
        for variable in trained.model.optimizer.variables:
            variable.assign(np.zeros_like(variable.numpy()))
        forgetful = noise_study(trained, [100], phase=PHASE)
    finally:
        for variable, value in zip(trained.model.optimizer.variables, kept, strict=True):
            variable.assign(value)
    assert forgetful["mean_score"][0] != table["mean_score"][0]


def test_a_study_leaves_the_trainer_as_it_was_even_when_it_is_interrupted(trained):
    before = state_of(trained), trained.settings, trained.suspects
    noise_study(trained, [1], phase=PHASE)
    assert same(before[0], state_of(trained))

    def interrupt(done, total):
        assert not same(before[0], state_of(trained))  # an epoch was trained
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        noise_study(trained, [1], phase=PHASE, on_progress=interrupt)
    assert same(before[0], state_of(trained))
    assert trained.settings is before[1]
    assert trained.suspects is before[2]


def test_the_mean_score_is_that_of_the_weights_after_the_epoch(trained, table):
    before = state_of(trained)
    number = 1 + len(rounds_of(trained.settings.schedule))
    record = trained.run_round(replace(rounds_of([PHASE.model_copy(update={"noise": 100.0})])[0], number=number))
    photos = trained.images.read(np.arange(len(trained.images)))
    scores = expit(score_matrix(trained.model.comparator, np.asarray(trained.model.encoder(photos, training=False))))
    for variable, value in zip([*trained.model.variables, *trained.model.optimizer.variables], before, strict=True):
        variable.assign(value)
    assert table["loss"][0] == record.loss
    assert table["mean_score"][0] == pytest.approx(scores.mean(), rel=1e-4)
    assert table["mean_score"][0] != pytest.approx(record.mean_score, rel=1e-3)  # that of the weights before


def test_an_epoch_is_one_alone_whatever_the_phase_would_do_in_many(trained):
    told = []

    class Told(Trainer):
        def run_round(self, this, *before):
            told.append(this)
            return super().run_round(this, *before)

    trainer = Told(trained.model, trained.images, trained.settings)
    many = PhaseSettings(rounds=9, epochs_per_round=4, learning_rate=1e-3, final_learning_rate=1e-5, noise=9, l2=1e-4)
    noise_study(trainer, [7, 3], phase=many)
    assert [this.noise for this in told] == [7, 7, 3]  # the first one is not counted: what compiles, compiles in it
    assert {(this.epochs, this.learning_rate, this.l2) for this in told} == {(1, 1e-3, 1e-4)}
    assert all(this.number > len(rounds_of(trained.settings.schedule)) for this in told)


def test_progress_is_told_epoch_by_epoch_and_steps_are_counted(trained):
    told, stages = [], []
    trainer = Trainer(trained.model, trained.images, trained.settings, lambda *stage: stages.append(stage))
    rows = noise_study(trainer, [2, 1], phase=PHASE, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    assert (
        rows["num_steps"].tolist() == [total for stage, done, total in stages if stage == "fit" and done == total][1:]
    )


@pytest.mark.parametrize(
    ("noises", "seeds", "sentence"),
    [
        ([], 1, "`noises` must be one or more numbers that are 0 or above. Received: noises=\\[\\]"),
        ([1, -1], 1, "0 or above. Received: noises=\\[1, -1\\]"),
        ([float("nan")], 1, "0 or above. Received: noises=\\[nan\\]"),
        ([1, 1], 1, "`noises` must be different. Received: noises=\\[1, 1\\]"),
        ([1], 0, "`seeds` must be at least 1. Received: seeds=0"),
    ],
)
def test_what_cannot_be_studied_is_refused(trained, noises, seeds, sentence):
    with pytest.raises(SiameseError, match=sentence):
        noise_study(trained, noises, phase=PHASE, seeds=seeds)


def drawn_rows(noises, seeds):
    rng = np.random.default_rng(3)
    rows = [(noise, seed) for noise in noises for seed in range(seeds)]
    names = ["loss", "accuracy", "correct_pairs", "mean_score"]
    names += [f"seconds_{stage}" for stage in ("embed", "score", "assign", "fit", "per_step")]
    values = {name: rng.random(len(rows)) for name in names}
    return pd.DataFrame(rows, columns=["noise", "seed"]).assign(num_steps=5, **values)


def test_the_picture_shows_the_means_in_the_order_of_the_table():
    rows = drawn_rows([100, 0.5, 0], seeds=2)
    loss, shares, mean_score, seconds = noise_figure(rows).axes
    line, points = loss.lines
    assert line.get_ydata() == pytest.approx(rows["loss"].to_numpy().reshape(3, 2).mean(axis=1))
    assert points.get_ydata() == pytest.approx(rows["loss"].to_numpy())
    assert points.get_xdata().tolist() == [0, 0, 1, 1, 2, 2]
    assert [label.get_text() for label in loss.get_xticklabels()] == ["100", "0.5", "0"]
    assert [text.get_text() for text in shares.get_legend().get_texts()] == [
        "accuracy while fitting",
        "scored rightly before",
    ]
    assert len(shares.lines) == 4
    assert len(mean_score.lines) == 2
    heights = np.array([bar.get_height() for bar in seconds.patches]).reshape(4, 3).sum(axis=0)
    stages = rows[["seconds_embed", "seconds_score", "seconds_assign", "seconds_fit"]].sum(axis=1).to_numpy()
    assert heights == pytest.approx(stages.reshape(3, 2).mean(axis=1))


def test_the_picture_of_one_seed_has_no_points():
    loss, *_ = noise_figure(drawn_rows([1], seeds=1)).axes
    assert len(loss.lines) == 1
