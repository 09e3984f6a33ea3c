"""Synthetic tasks, systems to identify, a network held against the true system, and a task of one's own."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cellbench import cells, harness
from cellbench.harness import task
from cellbench.harness.case import Case
from cellbench.harness.cli import main
from cellbench.harness.data import systems
from cellbench.harness.learn.answers import figures
from cellbench.harness.learn.model import Model
from cellbench.harness.learn.system import dynamics, stepper
from cellbench.harness.learn.verdict import compared_with_system
from cellbench.harness.report import shapes
from cellbench.harness.rivals import rivals
from cellbench.harness.task import MANY_TO_MANY, Data, Sequences

SYSTEMS = ("oscillator", "chaotic_map", "chaotic_map:map=logistic", "linear_system", "pendulum")


def drawn(spec, seed=0):
    return task.draw(spec, np.random.default_rng(seed))


# what is drawn


def test_copy_shows_ten_symbols_and_asks_for_them_in_order_after_the_call():
    data = drawn("copy:delay=100:count=50")
    seen, y = data.train.x.argmax(2), data.train.y
    assert data.train.x.shape == (50, 120, 10) and data.output_size == 9
    assert (seen[:, 10:109] == 8).all() and (seen[:, 109] == 9).all() and (seen[:, 110:] == 8).all()
    assert np.array_equal(seen[:, :10], y[:, 110:]) and (y[:, :110] == 8).all()
    assert np.array_equal(data.train.scored, np.tile(np.arange(120) >= 110, (50, 1)))


def test_copys_answer_without_memory_has_the_loss_of_the_papers_over_all_steps():
    data = drawn("copy:delay=100:count=3000")
    assert abs(data.trivial_loss - math.log(8)) < 2e-3
    assert abs(data.trivial_loss * data.test.scored.mean() - 0.1733) < 3e-4


def test_parity_is_the_running_parity_of_the_bits_and_with_last_only_that_of_all():
    data, last = drawn("parity:steps=11"), drawn("parity:steps=11:last=true")
    odd = np.cumsum(data.train.x[..., 0], axis=1).astype(int) % 2
    assert np.array_equal(data.train.y, odd) and data.train.scored.all() and data.shape == MANY_TO_MANY
    assert np.array_equal(last.train.x, data.train.x) and np.array_equal(last.train.y, odd[:, -1])
    assert abs(data.trivial_loss - math.log(2)) < 2e-3


@pytest.mark.parametrize("steps", [10, 11, 20, 100])
def test_three_marks_stand_in_their_places_and_make_eight_classes(steps):
    data = drawn(f"temporal_order:steps={steps}:marks=3")
    symbols = data.train.x.argmax(2)
    places = np.argwhere(symbols < 2)[:, 1].reshape(-1, 3)
    for place, low, high in zip(places.T, (10, 33, 66), (20, 43, 76), strict=True):
        assert place.min() == low * steps // 100 and place.max() == high * steps // 100
    marks = np.take_along_axis(symbols, places, 1)
    assert np.array_equal(marks @ [4, 2, 1], data.train.y) and abs(data.trivial_loss - math.log(8)) < 0.01


def test_answering_one_to_adding_costs_a_sixth():
    y = drawn("adding:steps=20:count=40000").train.y
    assert abs(np.mean((y - 1) ** 2) - 1 / 6) < 3e-3


@pytest.mark.parametrize("spec", ["adding", "recall", "temporal_order", "copy", "parity"])
def test_a_synthetic_task_can_be_answered_without_error(spec):
    data = drawn(spec)
    assert data.floor == 0 < data.target_loss < data.trivial_loss
    assert data.shape == shapes.of_name(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "copy:delay=0",
        "copy:symbols=1",
        "parity:steps=0",
        "temporal_order:marks=4",
        "oscillator:radius=1.1",
        "oscillator:period=2",
        "chaotic_map:map=tent",
        "chaotic_map:steps=1",
        "linear_system:radius=1",
        "linear_system:noise=-1",
        "pendulum:dt=2",
        "pendulum:noise=nan",
        "linear_system:steps=1",
        "pendulum:steps=1",
    ],
)
def test_an_option_out_of_range_is_one_line_that_names_it(spec):
    name, _, option = spec.partition(":")
    with pytest.raises(ValueError, match=rf"^{name} has .*{option}[^\n]*$"):
        task.get(spec)


# floors: the loss of the best answer, computed another way


def regressed(data, lags):
    """Test loss of the least-squares answer from the last `lags` inputs (fewer at the start count as 0)."""
    parts = []
    for part in (data.train, data.test):
        x = np.pad(part.x[..., 0].astype(float), ((0, 0), (lags - 1, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, lags, axis=1)
        parts += [windows[part.scored], part.targets[:, 0].astype(float)]
    known, y, new, wanted = parts
    return float(np.mean((new @ np.linalg.lstsq(known, y, rcond=None)[0] - wanted) ** 2))


@pytest.mark.parametrize(
    "spec", ["linear_system", "linear_system:noise=0:process_noise=.2", "linear_system:system=1:radius=.5"]
)
def test_a_long_linear_filter_reaches_the_floor_of_the_linear_system(spec):
    data = drawn(f"{spec}:count=3000:steps=60")
    assert data.floor * 0.97 < regressed(data, 60) < data.floor * 1.05
    assert regressed(data, 2) > 1.05 * regressed(data, 60)


def test_no_linear_filter_beats_the_kalman_filters_floor_and_the_filter_itself_reaches_it():
    """Its answer is linear in the positions so far, so that least squares over them, step by step, is another
    way to it.
    """
    data = drawn("oscillator:steps=12:count=20000")
    losses = []
    for t in range(1, 12):
        known, new = (np.asarray(p.x[:, : t + 1, 0], float) for p in (data.train, data.test))
        weights = np.linalg.lstsq(known, data.train.y[:, t, 0].astype(float), rcond=None)[0]
        losses.append(np.mean((new @ weights - data.test.y[:, t, 0]) ** 2))
    assert np.isclose(np.mean(losses), data.floor, rtol=0.04) and data.floor > 0.05**2


def test_without_noise_the_systems_without_input_follow_from_their_last_values():
    two, one, henon = (
        drawn(f"{s}:noise=0:count=20") for s in ("oscillator", "chaotic_map:map=logistic", "chaotic_map")
    )
    x, y = two.train.x[..., 0].astype(float), two.train.y[..., 0]
    r, w = 0.98, 2 * np.pi / 11.3
    assert np.allclose(2 * r * np.cos(w) * x[:, 1:] - r**2 * x[:, :-1], y[:, 1:], atol=1e-5)
    x = one.train.x.astype(float)
    assert np.allclose(4 * x * (1 - x), one.train.y, atol=1e-5) and one.train.scored.all()
    x = henon.train.x[..., 0].astype(float)
    assert np.allclose(1 - 1.4 * x[:, 1:] ** 2 + 0.3 * x[:, :-1], henon.train.y[:, 1:, 0], atol=1e-5)
    assert (
        not henon.train.scored[:, 0].any()
        and henon.train.scored[:, 1:].all()
        and two.floor == one.floor == henon.floor == 0
    )
    assert drawn("chaotic_map:noise=.1").floor is None


# what is true of a system


@pytest.mark.parametrize(
    ("spec", "exponent", "tolerance"),
    [
        ("oscillator", math.log(0.98), 1e-9),
        ("oscillator:radius=1", 0.0, 1e-9),
        ("linear_system:radius=.7", math.log(0.7), 1e-9),
        ("linear_system:states=1", math.log(0.9), 1e-9),
        ("chaotic_map", 0.4192, 2e-3),
        ("chaotic_map:map=logistic", math.log(2), 2e-3),
    ],
)
def test_the_largest_exponent_is_that_of_the_closed_form(spec, exponent, tolerance):
    assert abs(task.get(spec).truth(drawn(spec)).lyapunov - exponent) < tolerance


@pytest.mark.parametrize("number", range(4))
def test_random_linear_systems_have_the_exponent_of_their_spectral_radius(number):
    found = task.get(f"linear_system:states=7:system={number}").truth(
        drawn(f"linear_system:states=7:system={number}")
    )
    assert abs(found.lyapunov - math.log(0.9)) < 1e-4


def test_the_lag_profile_of_a_linear_system_is_its_impulse_response():
    linear, found = (
        task.get("linear_system").linear(),
        task.get("linear_system").truth(drawn("linear_system")),
    )
    response = [(linear.c @ np.linalg.matrix_power(linear.a, k) @ linear.b).item() for k in range(60)]
    assert (
        np.allclose(found.lag_profile, np.log(np.abs(response)), rtol=0, atol=1e-9) and not found.autonomous
    )


@pytest.mark.parametrize("spec", SYSTEMS)
def test_a_systems_jacobians_and_reach_are_its_differences(spec):
    """Central differences of the last observation by every input, of a random start."""
    member, rng = task.get(spec), np.random.default_rng(0)
    system = {
        "oscillator": lambda: harness.tasks.oscillator.Delayed(0.98, 11.3),
        "linear_system": lambda: member.linear(),
        "pendulum": lambda: harness.tasks.pendulum.Pushed(0.3, 0.5, 4.0),
        "chaotic_map": lambda: member.system,
    }[spec.partition(":")[0]]()
    size = system.reading(np.zeros((1, 9))).shape[2]
    autonomous = member.truth(drawn(spec)).autonomous
    start, u = rng.uniform(0.1, 0.3, (2, size)), rng.random((6, 2, 1)) * (not autonomous)
    path = systems.run(system, start, u)
    logs = systems.log_reach(*systems.along(system, path, u), system.reading(path[-1]))
    for t in range(6):
        step = np.zeros_like(u)
        step[t] = 1e-6
        up, down = (system.observe(systems.run(system, start, u + s)[-1]) for s in (step, -step))
        assert np.allclose(
            logs[5 - t], np.log(np.linalg.norm(up - down, axis=1) / 2e-6), rtol=0, atol=1e-5
        ), t


def test_a_system_that_does_not_react_has_a_profile_of_minus_infinity():
    still = np.zeros((3, 2, 2, 2)), np.ones((3, 2, 2, 1)), np.ones((2, 1, 2))
    assert (
        np.allclose(systems.log_reach(*still)[0], math.log(2))
        and np.isneginf(systems.log_reach(*still)[1:]).all()
    )


def test_tasks_without_a_system_have_no_truth():
    assert task.get("adding").truth(drawn("adding")) is None


# a network held against the truth


def linear_network(a, b, c):
    """elman with the identity as activation, and a head, that are x' = a x + b u, y = c x."""
    cell = cells.get("elman", activation="identity", biases=0)
    return cell, {"weight_ih": b, "weight_hh": a}, (c, np.zeros(len(c)))


def largest_is_real(number):
    values = np.linalg.eigvals(task.get(f"linear_system:system={number}").linear().a)
    return values[np.abs(values).argmax()].imag == 0


@pytest.mark.parametrize("number", [n for n in range(12) if largest_is_real(n)][:2])
def test_a_network_that_is_the_linear_system_has_its_exponent_and_profile(number):
    """Of systems whose largest eigenvalue is real, for which both averages settle exponentially."""
    spec = f"linear_system:system={number}"
    data, linear = drawn(spec), task.get(spec).linear()
    known = task.get(spec).truth(data)
    found = dynamics(*linear_network(linear.a, linear.b, linear.c), data, known.autonomous)
    assert abs(found.lyapunov - known.lyapunov) < 1e-8
    assert np.allclose(found.lag_profile, known.lag_profile, rtol=0, atol=1e-8)


def oscillating(radius=0.98, order=1):
    """The oscillator as a network: it keeps the last position, and answers 2 r cos(w) y_t - r^2 y_{t-1}.

    With order 2 in other coordinates: rotated by 1 radian.
    """
    a, b = np.array([[0, 0], [1.0, 0]]), np.array([[1.0], [0]])
    c = np.array([[2 * radius * np.cos(2 * np.pi / 11.3), -(radius**2)]])
    turn = np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]]) if order == 2 else np.eye(2)
    return linear_network(turn @ a @ turn.T, turn @ b, c @ turn.T)


@pytest.mark.parametrize("order", [1, 2])
def test_a_network_that_is_the_oscillator_has_its_exponent_and_profile_when_it_runs_on_alone(order):
    data = drawn("oscillator")
    known = task.get("oscillator").truth(data)
    found = dynamics(*oscillating(order=order), data, known.autonomous)
    assert abs(found.lyapunov - known.lyapunov) < 1e-8
    assert np.allclose(found.lag_profile, known.lag_profile, rtol=0, atol=1e-8)


def test_a_network_with_another_damping_is_told_from_the_system():
    data = drawn("oscillator")
    known = task.get("oscillator").truth(data)
    found = dynamics(*oscillating(radius=0.97), data, known.autonomous)
    assert (
        abs(found.lyapunov - math.log(0.97)) < 1e-8 and abs(found.lag_profile - known.lag_profile).max() > 0.1
    )


@pytest.mark.parametrize("spec", ["gru", "lstm", "mlstm", "lru", "elman:readout=3"])
def test_a_nonlinear_networks_profile_alone_is_its_difference_quotient(spec, monkeypatch):
    """Central differences of the answer at the end by what is fed at each step of the loop."""
    monkeypatch.setattr("cellbench.harness.learn.system.LOOP", 40)
    cell, data = cells.get(spec), drawn("chaotic_map:count=10:steps=12")
    hidden = next(h for h in range(5, 40) if cell.unfit(1, h) is None)
    params, width = cell.init(1, hidden, 0), cell.output_size(1, hidden)
    rng = np.random.default_rng(0)
    head = rng.standard_normal((1, width)), rng.standard_normal(1)
    found = dynamics(cell, params, head, data, autonomous=True)
    x = torch.from_numpy(data.test.x[:16].swapaxes(0, 1).astype(float))

    def answer(nudge):
        states = [torch.zeros(s, dtype=torch.float64) for s in cell.state_shapes(16, hidden).values()]
        step, last = stepper(cell, params, head), x[0]
        for t in range(12):
            *states, last = step(*states, x[t] if t < 6 else last + nudge[t - 6])
        return last.numpy()

    for k in range(6):
        nudge = np.zeros(6)
        nudge[5 - k] = 1e-5
        slope = np.abs(answer(nudge) - answer(-nudge)) / 2e-5
        assert np.isclose(found.lag_profile[k], np.log(slope).mean(), rtol=0, atol=1e-4), k
    assert math.isfinite(found.lyapunov)


def test_the_profile_of_several_answers_is_their_joint_norm():
    data, cell = drawn("pendulum"), cells.get("gru")
    params, weight = cell.init(1, 5, 0), np.random.default_rng(1).standard_normal((2, 5))
    both, one, other = (
        dynamics(cell, params, (w, np.zeros(len(w))), data, False) for w in (weight, weight[:1], weight[1:])
    )
    assert (
        both.lag_profile > np.maximum(one.lag_profile, other.lag_profile)
    ).all() and both.lyapunov == one.lyapunov < 0


def test_a_network_whose_answer_cannot_be_fed_back_is_refused():
    cell = cells.get("gru")
    with pytest.raises(ValueError, match="answers 2 values and takes 1"):
        dynamics(cell, cell.init(1, 5, 0), (np.zeros((2, 5)), np.zeros(2)), drawn("oscillator"), True)


# a task of one's own

OWN = '''\
"""Is the mean of a noisy sequence above zero?"""

from dataclasses import dataclass

import numpy as np

from cellbench.harness.task import Data, Sequences, Task


@dataclass(frozen=True)
class MyTask(Task):
    steps: int = 12

    def data(self, rng):
        return Data(self.draw(rng, 256), self.draw(rng, 64), classes=2, target_loss=0.3)

    def draw(self, rng, count):
        x = rng.standard_normal((count, self.steps, 3))
        return Sequences(x, np.full(count, self.steps), x[:, :, 0].mean(1) > 0)
'''
SMALL = [
    "cells=[gru]",
    "backends=[numba]",
    "probes=[training]",
    "seeds=1",
    "probe.training.epochs=1",
    "probe.training.hidden_size=4",
]


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_task.py").write_text(OWN)
    return tmp_path


def test_a_task_of_ones_own_runs_is_listed_and_reported(own, capsys):
    assert len(OWN.splitlines()) < 40
    spec = "my_task.py:MyTask:steps=9"
    assert main(["run", "--plan", f"tasks=[{own}/{spec}]", *SMALL]) == 0
    assert " MyTask:steps=9 " in (plan := capsys.readouterr().out) and "my_task.py" not in plan
    assert main(["run", "results=runs", f"tasks=[{spec}]", *SMALL]) == 0
    assert " MyTask:steps=9 " in (progress := capsys.readouterr().err) and "my_task.py" not in progress
    frame = harness.load("runs")
    assert set(frame.task) == {spec} and set(frame.status) == {"ok"} and (frame.metric == "test_loss").any()
    assert (frame.metric == "shape.many to one").any()
    assert main(["report", "runs", "--output", "page"]) == 0
    assert "MyTask" in Path("page/index.html").read_text() and "MyTask" in capsys.readouterr().out


def test_a_changed_file_makes_other_cases(own, capsys):
    ids = []
    for text in (OWN, OWN.replace("mean(1) > 0", "mean(1) > 1")):
        Path("my_task.py").write_text(text)
        harness.case._source.cache_clear()
        assert main(["run", "--plan", "tasks=[my_task.py:MyTask]", *SMALL]) == 0
        ids.append(capsys.readouterr().out.split()[0])
    assert ids[0] != ids[1]


def test_an_installed_task_is_listed_by_its_entry_point(own, monkeypatch, capsys):
    info = own / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[cellbench.tasks]\nmine = my_task:MyTask\n")
    monkeypatch.syspath_prepend(str(own))
    assert "mine" in task.names() and type(task.get("mine")).__name__ == "MyTask"
    assert main(["list", "tasks"]) == 0
    assert "Is the mean of a noisy sequence above zero?" in capsys.readouterr().out


# data that do not fit

X, LENGTHS, Y, VALUES = np.zeros((4, 5, 2)), np.full(4, 5), np.array([0, 1, 2, 1]), np.zeros((4, 1))
NAN = np.where(np.arange(5)[:, None] == 3, np.nan, X)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ((X, LENGTHS, Y[:3]), "4 sequences, 4 lengths and 3 targets"),
        ((X, 0 * LENGTHS, Y), "lengths are 0 to 0; they must be 1 to 5"),
        ((X, LENGTHS + 1, Y), "lengths are 6 to 6; they must be 1 to 5"),
        ((X, LENGTHS + 0.5, Y), "of float32; they must be .* whole"),
        ((X[:0], LENGTHS[:0], Y[:0]), "no sequence"),
        ((X[..., None], LENGTHS, Y), "must be \\(N, T, I\\)"),
        ((NAN, LENGTHS, Y), "inputs x have 8 values that are not finite.*first at \\(0, 3, 0\\)"),
        ((X, LENGTHS, VALUES + np.nan), "targets y have 4 values that are not finite"),
        ((X + 1e300, LENGTHS, Y), "40 values .* in float32"),
        ((np.full((4, 5, 2), "a"), LENGTHS, Y), "must be an array of numbers"),
        ((X, LENGTHS, 3), "one row a sequence"),
        (
            (X, LENGTHS, np.zeros((4, 5)), np.ones((4, 3), bool)),
            "scored is \\(4, 3\\); it must be \\(4, 5\\)",
        ),
        ((X, LENGTHS, np.zeros((4, 5)), np.zeros((4, 5), bool)), "no target counts"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*(invalid value|overflow)")
def test_arrays_that_do_not_fit_are_refused_in_one_line(part, said):
    with pytest.raises(ValueError, match=said) as raised:
        Sequences(*part)
    assert "\n" not in str(raised.value)


STEPS = np.ones((4, 5), bool)


@pytest.mark.parametrize(
    ("part", "options", "said"),
    [
        ((X, LENGTHS, Y), {"classes": 2}, "targets are 0 to 2; classes are 0 to 1"),
        ((X, LENGTHS, Y - 1), {"classes": 3}, "targets are -1 to 1"),
        ((X, LENGTHS, VALUES), {"classes": 3}, "whole numbers for 3"),
        ((X, LENGTHS, Y[:, None]), {"classes": 3}, "y are \\(4, 1\\).* must be \\(N,\\)"),
        ((X, LENGTHS, Y), {"classes": None}, "\\(N, K\\) values, or classes"),
        ((X, LENGTHS, Y + 0.0), {"classes": None}, "\\(N, K\\)"),
        (
            (X, LENGTHS, np.zeros((4, 4), int), STEPS[:, :4]),
            {"classes": 3, "shape": MANY_TO_MANY},
            "4 steps and x has 5",
        ),
        (
            (X, LENGTHS, np.zeros((4, 5), int)),
            {"classes": 3, "shape": MANY_TO_MANY},
            "must say which targets count",
        ),
        (
            (X, LENGTHS - 1, np.zeros((4, 5), int), STEPS),
            {"classes": 3, "shape": MANY_TO_MANY},
            "step 4 of sequence 0, .* 4 steps",
        ),
        (
            (X, LENGTHS, np.zeros((4, 5)), STEPS),
            {"classes": None, "shape": MANY_TO_MANY},
            "\\(N, T, K\\) values",
        ),
        ((np.zeros((4, 5), int), LENGTHS, Y), {"classes": 3}, "tokens of a vocabulary"),
        (
            (np.full((4, 5), 7), LENGTHS, Y),
            {"classes": 3, "vocabulary": 7},
            "tokens are 7 to 7; they must be 0 to 6",
        ),
        ((X, LENGTHS, Y), {"classes": 3, "shape": "one to one"}, "shape is 'one to one'"),
    ],
)
def test_data_that_do_not_fit_their_shape_are_refused_in_one_line(part, options, said):
    part = Sequences(*part)
    with pytest.raises(ValueError, match=said) as raised:
        Data(part, part, target_loss=0.1, **options)
    assert "\n" not in str(raised.value)


def test_parts_of_different_widths_are_refused():
    with pytest.raises(ValueError, match="as wide in both"):
        Data(Sequences(X, LENGTHS, Y), Sequences(X[..., :1], LENGTHS, Y), 3, 0.1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("mean(1) > 0", "mean(1)", "whole numbers for 2 classes"),
        ("np.full(count, self.steps)", "np.zeros(count, int)", "0 to 0"),
        ("return Data(", "return (lambda *a, **k: a)(", "returned tuple; it must return"),
        ("return Data(", "return {}['a'] or Data(", "KeyError: 'a'"),
        ("return Data(", "assert not 1; Data(", "AssertionError"),
    ],
)
def test_data_that_do_not_fit_are_told_with_the_tasks_name(own, old, new, said):
    Path("my_task.py").write_text(OWN.replace(old, new))
    with pytest.raises(ValueError, match=rf"^task 'my_task.py:MyTask': [^\n]*{said}"):
        drawn("my_task.py:MyTask")


def test_absent_data_and_exhausted_memory_stay_what_they_are(own):
    for error in ("task.DataAbsent('not here')", "MemoryError('too large')"):
        Path("my_task.py").write_text(
            OWN.replace("return Data(", f"from cellbench.harness import task; raise {error}; Data(")
        )
        with pytest.raises((task.DataAbsent, MemoryError), match=r"^(not here|too large)$"):
            drawn("my_task.py:MyTask")


METHODS = {
    "rivals(self, data)": lambda mine, data: rivals(data, mine),
    "truth(self, data)": lambda mine, data: compared_with_system(mine, data, model(data)),
    "figures(self, data, answers)": lambda mine, data: figures(mine, data, model(data), 16),
}


def model(data):
    case = Case("training", "gru", "numpy", "cpu", "float32", input_size=3, hidden_size=4)
    return Model(case, cells.get("gru").init(3, 4, 0), data.output_size, 0)


@pytest.mark.parametrize("method", METHODS)
def test_whatever_a_tasks_own_method_raises_names_the_task(own, method):
    Path("my_task.py").write_text(f"{OWN}\n    def {method}:\n        return self.nothing\n")
    mine, data = task.get("my_task.py:MyTask"), drawn("my_task.py:MyTask")
    with pytest.raises(ValueError, match=r"^task 'MyTask': AttributeError: .*'nothing'$"):
        METHODS[method](mine, data)


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("rivals(self, data)", "[('mine', 0.5)]", "rivals\\(data\\) gave \\('mine', 0.5\\)"),
        ("figures(self, data, answers)", "{'mine': 'a'}", "could not convert .* 'a'"),
    ],
)
def test_what_a_tasks_own_method_may_not_give_names_the_task(own, method, answer, said):
    Path("my_task.py").write_text(f"{OWN}\n    def {method}:\n        return {answer}\n")
    with pytest.raises(ValueError, match=f"^task 'MyTask': {said}"):
        METHODS[method](task.get("my_task.py:MyTask"), drawn("my_task.py:MyTask"))


def test_tasks_that_fail_are_rows_that_name_them_and_take_no_other_along(own):
    """One whose code raises, with the line that did; one whose data do not fit; one that is well."""
    Path("bad_task.py").write_text(OWN.replace("return Data(", "return {}['a'] or Data("))
    Path("nan_task.py").write_text(OWN.replace("Sequences(x,", "Sequences(x * np.nan,"))
    specs = {name: f"{name}_task.py:MyTask" for name in ("bad", "nan", "my")}
    assert main(["run", "results=runs", f"tasks=[{','.join(specs.values())}]", *SMALL]) == 1
    frame = harness.load("runs")
    rows = {name: frame[frame.task == spec] for name, spec in specs.items()}
    assert {name: set(some.status) for name, some in rows.items()} == {
        "bad": {"failed"},
        "nan": {"failed"},
        "my": {"ok"},
    }
    line = 1 + next(n for n, text in enumerate(OWN.splitlines()) if "return Data(" in text)
    bad, nan = (rows[name].reason.iloc[0] for name in ("bad", "nan"))
    assert bad == f"ValueError: task 'bad_task.py:MyTask': KeyError: 'a' (bad_task.py:{line})"
    assert "'nan_task.py:MyTask': the inputs x have" in nan and "\n" not in nan
