import keras
import numpy as np
import pandas as pd
import pytest

from siamese.errors import DiskError, SiameseError
from siamese.models.averaging import RunningMean
from siamese.training_state import STATE, Kept, Record, load_state, save_state, write_history, write_scalars

RECORDS = [
    Record(1, 1, 64e-5, 1000.0, 0.0, 20, num_encoded=68, loss=0.69, accuracy=0.5),
    Record(2, 1, 64e-5, 1 / 3, 2e-4, 20, num_encoded=68, loss=0.1234567890123, mean_score=0.4),
]


def make_model(seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    model.compile(optimizer=keras.optimizers.Adam(), loss="mse", weighted_metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    for place, variable in enumerate(model.variables + model.optimizer.variables):
        variable.assign(np.full(variable.shape, place + seed, variable.dtype))
    return model


def values_of(model):
    return [variable.numpy() for variable in model.variables + model.optimizer.variables]


def test_a_folder_without_a_state_has_no_records(tmp_path):
    model = make_model()
    before = values_of(model)
    assert load_state(tmp_path, model, "print") == ([], Kept())
    assert all(np.array_equal(one, other) for one, other in zip(before, values_of(model), strict=True))


def test_a_state_brings_back_weights_optimiser_and_records(tmp_path):
    saved, fresh = make_model(), make_model(seed=50)
    save_state(tmp_path, saved, RECORDS, "print", Kept())
    records, _ = load_state(tmp_path, fresh, "print")
    assert [vars(record).items() - vars(other).items() for record, other in zip(records, RECORDS, strict=True)] == [
        {(name, value) for name, value in vars(record).items() if value != value} for record in records
    ]  # nan is the only thing unlike itself
    assert all(np.array_equal(one, other) for one, other in zip(values_of(saved), values_of(fresh), strict=True))


def test_a_state_brings_back_averaged_and_best_weights_to_the_bit(tmp_path, rng):
    model = make_model()
    mean, best = ([rng.normal(size=weight.shape) for weight in model.get_weights()] for _ in range(2))
    save_state(tmp_path, model, RECORDS, "print", Kept(RunningMean(3, mean), best))
    _, kept = load_state(tmp_path, make_model(), "print")
    assert kept.mean.count == 3
    for one, other in zip(mean + best, kept.mean.weights + kept.best, strict=True):
        assert np.array_equal(one, other)


def test_a_later_state_replaces_the_earlier_one(tmp_path):
    save_state(tmp_path, make_model(), RECORDS[:1], "print", Kept())
    save_state(tmp_path, make_model(), RECORDS, "print", Kept())
    assert len(load_state(tmp_path, make_model(), "print")[0]) == 2
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


def test_a_state_of_other_settings_or_photos_is_refused_and_changes_nothing(tmp_path):
    save_state(tmp_path, make_model(), RECORDS, "print", Kept())
    fresh = make_model(seed=50)
    before = values_of(fresh)
    with pytest.raises(SiameseError, match="other settings or other photos.* Choose another run folder, or delete"):
        load_state(tmp_path, fresh, "another print")
    assert all(np.array_equal(one, other) for one, other in zip(before, values_of(fresh), strict=True))


@pytest.mark.parametrize("share", [0, 0.1, 0.6, 0.99])
def test_a_state_cut_short_is_told_to_be_damaged(tmp_path, share):
    save_state(tmp_path, make_model(), RECORDS, "print", Kept())
    content = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(content[: int(share * len(content))])
    with pytest.raises(SiameseError, match=r"state.npz: the state is damaged .* Delete it to start again."):
        load_state(tmp_path, make_model(), "print")


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04 hello"])
def test_a_file_that_is_no_state_is_told_to_be_damaged(tmp_path, content):
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(SiameseError, match="the state is damaged"):
        load_state(tmp_path, make_model(), "print")


def test_a_full_disk_leaves_the_earlier_state(tmp_path, full_disk):
    save_state(tmp_path, make_model(), RECORDS[:1], "print", Kept())
    with full_disk(1000), pytest.raises(DiskError, match="state.npz: the file must be writable"):
        save_state(tmp_path, make_model(seed=50), RECORDS, "print", Kept())
    assert len(load_state(tmp_path, make_model(), "print")[0]) == 1


def test_the_history_has_a_row_for_each_round(tmp_path):
    history = write_history(tmp_path, RECORDS)
    assert history["round"].tolist() == [1, 2]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "history.csv"), history)


def test_the_numbers_of_a_round_go_to_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_scalars(tmp_path, RECORDS[0])
    write_scalars(tmp_path, RECORDS[1])
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "accuracy", "mean_score", "noise", "learning_rate", "seconds_fit"} <= set(events.Tags()["tensors"])
    assert [event.step for event in events.Tensors("loss")] == [1, 2]


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "tensorboard").touch()  # a file where the folder should be
    with pytest.raises(DiskError, match="tensorboard: the log must be writable. Received: "):
        write_scalars(tmp_path, RECORDS[0])


def test_a_full_disk_is_told_for_the_log_too(tmp_path, full_disk):
    with full_disk(100), pytest.raises(DiskError, match="tensorboard: the log must be writable. Received: "):
        write_scalars(tmp_path, RECORDS[0])
