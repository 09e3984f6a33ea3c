"""Answers without memory or with a short one, against brute force, closed forms and tasks that need just what
they have.
"""

import json
import math
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest

from cellbench.harness import rivals as package
from cellbench.harness.rivals import by_shape, rivals
from cellbench.harness.rivals.contexts import contexts, witten_bell
from cellbench.harness.rivals.nearest import nearest
from cellbench.harness.rivals.order_free import moments
from cellbench.harness.rivals.windows import window
from cellbench.harness.task import MANY_TO_MANY, ONE_TO_MANY, TO_SEQUENCE, Data, Rival, Sequences, Task

pytestmark = pytest.mark.quick


def brute_force(history, y, asked, c, classes):
    """Witten-Bell's definition, written out for one class after one context."""
    lower = 1 / classes if not asked else brute_force([h[1:] for h in history], y, asked[1:], c, classes)
    after = Counter(b for h, b in zip(history, y, strict=True) if h == asked)
    return (after[c] + len(after) * lower) / (sum(after.values()) + len(after)) if after else lower


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_interpolated_counts_are_those_of_the_definition_and_sum_to_one(steps):
    rng = np.random.default_rng(steps)
    history, y = rng.integers(0, 4, (40, steps)), rng.integers(0, 5, 40)
    asked = np.array([[i, j][:steps] for i in range(5) for j in range(5)])  # token 4 was never seen
    found = witten_bell(history, y, asked, 6)
    tuples = [tuple(h) for h in history.tolist()]
    expected = [[brute_force(tuples, y.tolist(), tuple(q), c, 6) for c in range(6)] for q in asked.tolist()]
    assert np.allclose(found, expected, rtol=1e-12) and np.allclose(found.sum(1), 1) and (found > 0).all()


def next_token(tokens, lengths=None):
    lengths = np.full(len(tokens), tokens.shape[1] - 1) if lengths is None else lengths
    within = np.arange(tokens.shape[1] - 1) < lengths[:, None]
    return Sequences(tokens[:, :-1] * within, lengths, tokens[:, 1:] * within, within)


def exclusive_or(rng, count):
    """Each bit is the exclusive or of the two before it, turned over one time in ten: only a context of two
    tells it.
    """
    bits = rng.integers(0, 2, (count, 60))
    for t in range(2, 60):
        bits[:, t] = bits[:, t - 1] ^ bits[:, t - 2] ^ (rng.random(count) < 0.1)
    return next_token(bits)


def test_only_a_trigram_foretells_what_depends_on_the_last_two_tokens():
    rng = np.random.default_rng(0)
    found = by_shape(Data(exclusive_or(rng, 3000), exclusive_or(rng, 1000), 2, 0.5, MANY_TO_MANY, 2))
    assert [r.name for r in found] == ["unigram", "bigram", "trigram"]
    entropy = -0.1 * math.log(0.1) - 0.9 * math.log(0.9)
    first = math.log(2) - entropy  # a target in 59 has but one token before it
    assert all(abs(r.loss - math.log(2)) < 0.01 for r in found[:2])
    assert abs(found[2].loss - entropy - first / 59) < 0.01 and abs(found[2].accuracy - 0.9) < 0.02


def test_counts_leave_out_what_is_beyond_the_lengths_or_does_not_count():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 3, (20, 9))
    short = next_token(tokens, np.full(20, 4))
    spoilt = Sequences(short.x + 2 * ~short.scored, short.lengths, short.y + 2 * ~short.scored, short.scored)
    data = [Data(part, part, 3, 0.5, MANY_TO_MANY, 5) for part in (short, spoilt)]
    assert by_shape(data[0]) == by_shape(data[1])


def test_tokens_that_are_no_earlier_targets_are_called_inputs():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (50, 10))
    part = Sequences(x, np.full(50, 10), (x + 1) % 4, np.ones_like(x, bool))
    found = by_shape(Data(part, part, 4, 0.5, MANY_TO_MANY, 4))
    assert [r.name for r in found] == ["no input", "present input", "last two inputs"]
    assert found[0].accuracy < 0.5 and found[1].accuracy == found[2].accuracy == 1


def test_the_context_in_a_decoder_is_its_own_targets_after_a_start():
    part = Sequences(np.zeros((1, 2), int), np.array([2]), np.array([[5, 6, 7]]), np.ones((1, 3), bool))
    data = Data(part, part, 8, 0.5, TO_SEQUENCE, 1)
    assert contexts(data, part).tolist() == [[8, 8], [8, 5], [5, 6]]
    assert [r.name for r in by_shape(data)] == ["unigram", "bigram", "trigram"]


def labelled(rng, count, answer):
    x = rng.standard_normal((count, 6, 2)).astype(np.float32)
    return Sequences(x, np.full(count, 6), answer(x).astype(np.int64))


@pytest.mark.parametrize(
    ("answer", "sees"),
    [(lambda x: x[:, 0, 1] > 0, (False, True)), (lambda x: x.std(1)[:, 0] > 0.9, (True, False))],
)
def test_the_order_free_model_sees_the_moments_and_the_other_the_positions(answer, sees):
    rng = np.random.default_rng(0)
    order_free, positions = by_shape(Data(labelled(rng, 2000, answer), labelled(rng, 500, answer), 2, 0.1))
    assert (order_free.accuracy > 0.9, positions.accuracy > 0.9) == sees


def test_moments_are_those_of_the_steps_within_each_length():
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((3, 7, 2)).astype(np.float32), np.array([7, 1, 4])
    found = moments(Sequences(x, lengths, np.zeros(3, int)))
    for row, one, n in zip(found, x, lengths, strict=True):
        assert np.allclose(row, [*one[:n].mean(0), *one[:n].std(0)], atol=1e-6)


def test_sequences_of_different_lengths_have_no_model_of_positions():
    rng = np.random.default_rng(0)
    part = Sequences(rng.integers(0, 9, (60, 5)), np.array([3, 5] * 30), np.array([0, 1] * 30))
    assert [r.name for r in by_shape(Data(part, part, 2, 0.1, vocabulary=9))] == ["bag of 1-2-grams, linear"]


def test_a_bag_knows_which_words_stood_side_by_side():
    rng = np.random.default_rng(0)
    x = rng.permuted(np.tile(np.arange(6), (800, 1)), axis=1)
    follows = np.array([1 in row[1:] and row[list(row).index(1) - 1] == 0 for row in x], dtype=int)
    part = Sequences(x, np.full(800, 6), follows)
    bag = by_shape(Data(part, part, 2, 0.1, vocabulary=6))[0]
    assert bag.accuracy > 0.98 > 0.9 > np.mean(follows == 0)


def test_a_regression_of_whole_sequences_has_the_error_of_least_squares():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 4, 1)).astype(np.float32)
    part = Sequences(x, np.full(3000, 4), x.mean(1) + 0.1 * rng.standard_normal((3000, 1)))
    assert all(abs(r.loss - 0.01) < 0.002 for r in by_shape(Data(part, part, None, 0.02)))


def summing(rng, count, back):
    x = rng.standard_normal((count, 30, 1)).astype(np.float32)
    y = sum(np.pad(x, ((0, 0), (k, 0), (0, 0)))[:, :30] for k in range(back))
    return Sequences(x, np.full(count, 30), y, np.ones((count, 30), bool))


def test_a_window_answers_what_lies_inside_it_and_no_more():
    rng = np.random.default_rng(0)
    found = {}
    for back in (1, 3, 12):
        data = Data(summing(rng, 200, back), summing(rng, 50, back), None, 0.1, MANY_TO_MANY)
        found[back] = {r.name: r.loss for r in by_shape(data)}
    assert found[1]["present input, linear"] < 1e-6
    assert found[3]["last 8 inputs, linear"] < 1e-4 < 1 < found[3]["present input, linear"]
    assert found[12]["last 8 inputs, linear"] > 1


def test_the_last_value_again_errs_by_the_steps_of_a_random_walk():
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((400, 41, 1)), 1).astype(np.float32)
    cue = np.ones((400, 40, 2), np.float32)  # the value stands in the third channel
    part = Sequences(
        np.concatenate([cue, walk[:, :-1]], 2), np.full(400, 40), walk[:, 1:], np.ones((400, 40), bool)
    )
    found = {r.name: r.loss for r in by_shape(Data(part, part, None, 0.1, MANY_TO_MANY))}
    assert abs(found["last value again"] - 1) < 0.05


def test_an_input_as_wide_as_the_answer_is_not_taken_for_the_last_value():
    rng = np.random.default_rng(0)
    data = Data(summing(rng, 50, 3), summing(rng, 50, 3), None, 0.1, MANY_TO_MANY)
    assert "last value again" not in {r.name for r in by_shape(data)}


def test_a_rival_of_float32_numbers_can_be_kept():
    assert json.dumps(asdict(Rival("mine", np.float32(0.5), np.float32(0.25), {"per": np.float32(2)})))


def test_the_condition_alone_gives_the_mean_of_its_class():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 300)
    x = np.zeros((300, 5, 4), np.float32)
    x[np.arange(300), :, label] = 1
    y = (label[:, None, None] * np.arange(5)[None, :, None] + rng.standard_normal((300, 5, 1))).astype(
        np.float32
    )
    x[:, 1:, 3:] = y[:, :-1]
    part = Sequences(x, np.full(300, 5), y, np.ones((300, 5), bool))
    found = {r.name: r.loss for r in by_shape(Data(part, part, None, 0.1, ONE_TO_MANY))}
    means = np.stack([y[label == k].mean(0) for k in range(3)])
    assert np.isclose(found["condition alone, linear"], np.mean((y - means[label]) ** 2), rtol=1e-4)


def test_a_window_begins_with_zeros():
    part = Sequences(
        np.arange(1, 4, dtype=np.float32).reshape(1, 3, 1),
        np.array([3]),
        np.zeros((1, 3, 1)),
        np.ones((1, 3), bool),
    )
    assert window(part, 2).tolist() == [[1, 0], [2, 1], [3, 2]]


def test_the_nearest_memory_of_a_known_sequence_is_its_own_target():
    rng = np.random.default_rng(0)
    x, y = rng.integers(1, 9, (50, 7)), rng.integers(0, 4, (50, 3))
    part = Sequences(x, np.full(50, 7), y, np.ones((50, 3), bool))
    asked = Sequences(x[[7, 3]], np.full(2, 7), y[:2], np.ones((2, 3), bool))
    assert np.array_equal(nearest(Data(part, asked, 4, 0.5, TO_SEQUENCE, 9)), y[[7, 3]])


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """How often rivals were computed, in a folder of the test's own."""
    monkeypatch.setenv("CELLBENCH_DATA", str(tmp_path))
    calls = []
    monkeypatch.setattr(
        package, "by_shape", lambda data: calls.append(data) or [Rival("one", math.nan, None, {"chrf": 3.0})]
    )
    return calls


def tokens(seed=0):
    part = next_token(np.random.default_rng(seed).integers(0, 3, (5, 4)))
    return Data(part, part, 3, 0.5, MANY_TO_MANY, 3)


def test_rivals_are_computed_once_for_the_same_data(counted):
    first, again = rivals(tokens()), rivals(tokens())
    assert (
        len(counted) == 1
        and math.isnan(again[0].loss)
        and first[0].figures == again[0].figures == {"chrf": 3.0}
    )
    rivals(tokens(seed=1))
    assert len(counted) == 2


class Own(Task):
    def rivals(self, data):
        return [Rival("own", 1.5)]


def test_a_task_adds_rivals_of_its_own(counted):
    assert [r.name for r in rivals(tokens(), Own())] == ["one", "own"] and len(rivals(tokens())) == 1


def test_damaged_rivals_are_computed_again(counted, tmp_path):
    rivals(tokens())
    (file,) = tmp_path.rglob("*.json")
    file.write_text(file.read_text()[:9])
    assert rivals(tokens())[0].name == "one" and len(counted) == 2
    rivals(tokens())
    assert len(counted) == 2


def test_rivals_that_cannot_be_kept_are_still_computed(counted, tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    assert rivals(tokens())[0].name == "one"
