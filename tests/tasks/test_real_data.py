"""Tasks with real data (`cellbench data fetch`): counts, parts that share nothing, and baselines."""

import math
import re

import numpy as np
import pytest
from support.real_data import drawn, loaded

from cellbench.harness import task
from cellbench.harness.data.archives import members
from cellbench.harness.report import shapes
from cellbench.harness.tasks import mnist1d, pen_digits, sentiment, splice


def both(data, name):
    return np.concatenate([getattr(part, name) for part in (data.train, data.test)])


# sequences to learn from and to test on, steps, width of x or the number of tokens (None: see its own test)
SIZES = {
    "spoken_digits": (2700, 300, None, 13),
    "splice": (None, 600, 60, 8),
    "sentiment": (None, 600, None, None),
    "pen_digits": (7494, 3498, 8, 2),
    "pen_strokes": (7494, 3498, 8, 12),
    "mnist1d": (4000, 1000, 40, 1),
    "digits": (1437, 360, 8, 8),
    "digits:by=pixel": (1437, 360, 64, 1),
    "mnist": (4000, 1000, 28, 28),
    "mnist:by=pixel:permuted=true": (4000, 1000, 784, 1),
}


@pytest.mark.parametrize("spec", SIZES)
def test_a_task_has_its_counts_and_is_the_same_for_the_same_seed(spec):
    data, again = loaded(spec, 3), drawn(spec, 3)
    assert data.shape == shapes.of_name(spec)
    width = data.train.x.shape[2] if data.vocabulary is None else data.vocabulary
    found = (len(data.train), len(data.test), data.train.x.shape[1], width)
    assert all(want in (None, have) for want, have in zip(SIZES[spec], found, strict=True)), found
    for part, same in ((data.train, again.train), (data.test, again.test)):
        assert (
            part.x.dtype == (np.float32 if data.vocabulary is None else np.int64)
            and np.isfinite(part.x).all()
        )
        assert np.array_equal(part.x, same.x) and np.array_equal(part.y, same.y)
        beyond = np.arange(part.x.shape[1]) >= part.lengths[:, None]
        assert not part.x[beyond].any()
    assert data.trivial_loss > data.target_loss > 0


@pytest.mark.parametrize("spec", ["spoken_digits", "splice", "sentiment", "mnist"])
def test_another_seed_splits_otherwise(spec):
    assert not np.array_equal(loaded(spec, 0).test.x, loaded(spec, 1).test.x)


def test_spoken_digits_are_the_3000_utterances():
    data = loaded("spoken_digits")
    assert np.array_equal(np.bincount(both(data, "y")), np.full(10, 300))
    lengths = both(data, "lengths")
    assert (lengths.min(), lengths.max(), np.median(lengths)) == (6, 92, 17)
    assert abs(data.trivial_loss - math.log(10)) < 0.01
    frames = np.concatenate([x[:n] for x, n in zip(data.train.x, data.train.lengths, strict=True)])
    assert np.allclose(frames.mean(0), 0, atol=1e-3) and np.allclose(frames.std(0), 1, atol=1e-3)


def test_splice_has_3006_distinct_windows_in_2666_groups():
    loaded("splice")
    windows, y = splice.parsed()
    assert (
        len(windows) == 3006
        and {len(w) for w in windows} == {60}
        and set("".join(windows)) == set(splice.LETTERS)
    )
    assert len(np.unique(splice.overlapping(windows))) == 2666
    assert (
        abs(np.bincount(y).max() / len(y) - 0.55) < 0.001 and splice.CLASSES[np.bincount(y).argmax()] == "N"
    )


@pytest.mark.parametrize("seed", range(3))
def test_no_20_nucleotides_in_a_row_are_in_both_parts_of_splice(seed):
    data = loaded("splice", seed)
    train, test = (
        {x[k : k + 20].tobytes() for x in part.x for k in range(41)} for part in (data.train, data.test)
    )
    assert not train & test and len(data.train) > 2200
    assert abs(data.trivial_loss - 1.0) < 0.05 and abs(data.chance_accuracy - 0.55) < 0.06


def test_windows_that_overlap_through_others_are_one_group():
    whole = "".join(np.random.default_rng(0).choice(list("ACGT"), 200))
    windows = [whole[k : k + 60] for k in (0, 40, 80, 140)]  # 20, 20 and 0 nucleotides shared
    groups = splice.overlapping(windows)
    assert groups[0] == groups[1] == groups[2] != groups[3]


def test_sentiment_is_half_positive_and_its_rare_words_are_one_token():
    data = loaded("sentiment")
    sentences, y = sentiment.parsed()
    assert len(sentences) == 3000 and y.sum() == 1500 and np.median([len(s) for s in sentences]) == 10
    lengths = both(data, "lengths")
    assert (lengths.min(), lengths.max()) == (1, 73)
    tokens = np.concatenate([x[:n] for x, n in zip(data.train.x, data.train.lengths, strict=True)])
    counts = np.bincount(tokens, minlength=data.vocabulary)
    assert (
        counts[1:].min() == sentiment.OFTEN and counts[0] > 0
    )  # the words known are those of the training part
    assert abs(data.trivial_loss - math.log(2)) < 0.01


def test_no_sentence_is_in_both_parts_of_sentiment(monkeypatch):
    # with no rare words sentences of the test part that are alike would show
    monkeypatch.setattr(sentiment, "OFTEN", 1)
    data = drawn("sentiment")
    train, test = (
        {tuple(x[:n]) for x, n in zip(p.x, p.lengths, strict=True) if x[:n].all()}
        for p in (data.train, data.test)
    )
    assert not train & test


def test_pen_digits_are_in_uci_s_own_parts():
    data = loaded("pen_digits")
    assert np.bincount(data.train.y).tolist() == [780, 779, 780, 719, 780, 720, 720, 778, 719, 719]
    assert np.bincount(data.test.y).tolist() == [363, 364, 364, 336, 364, 335, 336, 364, 336, 336]
    first = [88, 92, 2, 99, 16, 66, 94, 37, 70, 0, 0, 24, 42, 65, 100, 100]  # of UCI's test file
    assert np.allclose(data.test.x[0].ravel() * 100, first, atol=1e-4)
    assert both(data, "x").min() == 0 and both(data, "x").max() == 1


def test_pen_strokes_give_the_digit_and_the_point_before():
    data = loaded("pen_strokes")
    points, digits = pen_digits.parts()[1]
    assert np.array_equal(data.test.y, points) and np.array_equal(data.test.x[:, 1:, 10:], points[:, :-1])
    assert (
        np.array_equal(data.test.x[:, :, :10].argmax(2), np.repeat(digits[:, None], 8, 1))
        and data.test.scored.all()
    )
    assert not data.test.x[:, 0, 10:].any()


def test_the_mean_path_of_a_digit_has_half_the_error_of_the_mean_path_of_all():
    loaded("pen_strokes")
    (train, known), (test, asked) = pen_digits.parts()
    paths = np.stack([train[known == k].mean(0) for k in range(10)])
    assert abs(((test - train.mean(0)) ** 2).mean() - 0.092) < 0.001
    assert abs(((test - paths[asked]) ** 2).mean() - 0.046) < 0.001


def test_mnist1d_is_the_package_s_own_and_leaves_numpy_s_random_state_alone():
    data = loaded("mnist1d")
    before = np.random.get_state()[1].copy()
    made = mnist1d.generated(members(mnist1d.ARCHIVE))
    assert np.array_equal(np.random.get_state()[1], before)
    assert np.array_equal(made["x"].astype(np.float32), data.train.x[:, :, 0]) and np.array_equal(
        made["y_test"], data.test.y
    )
    assert np.array_equal(np.bincount(both(data, "y")), np.full(10, 500))
    assert abs(both(data, "x").mean()) < 1e-6 and abs(both(data, "x").std() - 1) < 1e-6


def test_mnist_has_500_of_each_digit():
    data = loaded("mnist")
    assert np.array_equal(np.bincount(both(data, "y")), np.full(10, 500)) and both(data, "x").max() == 1


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_pixels_are_the_rows_read_one_by_one_and_permuted_in_one_order(name):
    rows, pixels, permuted = (
        loaded(f"{name}{options}") for options in ("", ":by=pixel", ":by=pixel:permuted=true")
    )
    assert np.array_equal(rows.test.x.reshape(len(rows.test), -1), pixels.test.x[:, :, 0])
    order = np.random.default_rng(0).permutation(pixels.test.x.shape[1])
    assert np.array_equal(permuted.test.x, pixels.test.x[:, order])
    assert np.array_equal(permuted.test.x, drawn(f"{name}:by=pixel:permuted=true").test.x)


def test_a_reading_that_there_is_not_is_refused_in_one_line():
    with pytest.raises(ValueError, match=re.escape("digits has by='column'; it reads by row or by pixel")):
        task.get("digits:by=column")
