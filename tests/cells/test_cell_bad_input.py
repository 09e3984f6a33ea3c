"""Every wrong input is a ValueError of one line that says the thing, the value and what is allowed."""

import re

import numpy as np
import pytest
from support.comparison import PLAIN, prepare, problem

from cellbench import cells


def refused(call, *words):
    """Checks that the call raises ValueError in one line holding the words."""
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, f"{word!r} is not in {message!r}"


@pytest.fixture
def case():
    return problem(cells.get(PLAIN))


def test_x_of_another_shape(backend, case):
    program = prepare(backend, case)
    for x in (
        case.x[:4],
        case.x[:, :2],
        case.x[..., :1],
        case.x[0],
        case.x.transpose(1, 0, 2),
        case.x[..., None],
    ):
        refused(lambda x=x: program.forward(x), "x", x.shape, (17, 3, 5), "(T, B, I)")


@pytest.mark.parametrize("dtype_of_x", ["int64", "complex128", "bool", "object", "datetime64[s]"])
def test_x_that_is_not_real_floating(backend, case, dtype_of_x):
    program = prepare(backend, case)
    refused(lambda: program.forward(np.zeros((17, 3, 5), dtype_of_x)), "x", dtype_of_x, "float32")


@pytest.mark.parametrize("kind", ["int64", "complex128", "bool"])
def test_a_tensor_that_is_not_real_floating(backend, case, kind):
    torch = pytest.importorskip("torch")
    program = prepare(backend, case)
    refused(lambda: program.forward(torch.zeros(17, 3, 5, dtype=getattr(torch, kind))), "x", kind, "float32")


def test_states_of_another_name_or_shape(spec, backend):
    case = problem(cells.get(spec))
    program = prepare(backend, case)
    first = case.cell.states[0]
    refused(lambda: program.forward(case.x, {**case.state, "nosuch": case.state[first]}), "nosuch", first)
    refused(lambda: program.forward(case.x, {}), "state", first)
    refused(lambda: program.forward(case.x, 3), "state is of type int; it must be a dict", first)
    for name in case.state:
        whole = case.state[name]
        part, wrong = case.state | {name: whole[:1]}, case.state | {name: whole.astype(int)}
        refused(lambda s=part: program.forward(case.x, s), name, whole[:1].shape, whole.shape)
        refused(lambda s=wrong: program.forward(case.x, s), name, "int64", "float32")


def test_cotangents_of_another_name_or_shape(backend, case):
    program = prepare(backend, case)
    program.forward(case.x)
    refused(lambda: program.backward(case.d_output[1:]), "d_output", (16, 3, 7), (17, 3, 7))
    refused(lambda: program.backward(case.d_output.astype(int)), "d_output", "int64")
    refused(lambda: program.backward(case.d_output, {"nosuch": case.d_output[0]}), "d_state", "nosuch")


def test_backward_without_a_forward(backend, case):
    refused(lambda: prepare(backend, case).backward(case.d_output), "backward", "forward")
    forward_only = prepare(backend, case, direction="forward")
    forward_only.forward(case.x)
    refused(lambda: forward_only.backward(case.d_output), "direction='forward'", "backward")


def test_a_trajectory_where_there_is_none(backend, case):
    program = prepare(backend, case)
    program.forward(case.x)
    if program.untraceable() is None:
        assert set(program.backward(case.d_output, trace=True).trajectory) == set(case.state)
    else:
        refused(lambda: program.backward(case.d_output, trace=True), "trajectory", backend)
    assert program.backward(case.d_output).trajectory is None


def test_parameters_of_another_name_or_shape(spec, backend):
    case = problem(cells.get(spec))
    prepare(backend, case)  # or skips

    def make(params):
        return lambda: cells.backend(backend).prepare(case.cell, params, steps=2, batch=2)

    for name, value in case.params.items():
        refused(make({k: v for k, v in case.params.items() if k != name}), name)
        refused(make(case.params | {name: value[:-1]}), case.cell.name)
        refused(make(case.params | {name: value[..., None]}), name)
    refused(make(case.params | {"weight_xy": value}), "weight_xy", case.cell.name)
    refused(make({}), "weight_ih")


def test_parameters_that_are_not_real_floating(backend, case):
    for kind in ("complex128", "int64"):
        params = case.params | {"weight_hh": case.params["weight_hh"].astype(kind)}
        refused(
            lambda p=params: cells.backend(backend).prepare(case.cell, p, steps=2, batch=2), "weight_hh", kind
        )


def test_parameters_may_be_nested_lists_or_are_refused_by_name(backend, case):
    params = case.params | {"weight_hh": case.params["weight_hh"].tolist()}
    try:
        program = cells.backend(backend).prepare(case.cell, params, steps=17, batch=3, dtype="float64")
    except ValueError as error:
        assert "weight_hh" in str(error)
    else:
        assert np.array_equal(program.forward(case.x).output, prepare(backend, case).forward(case.x).output)


@pytest.mark.parametrize("size", [0, -3, 2.0, True, "4", None, np.nan])
def test_sizes_that_are_no_positive_whole_numbers(backend, size, case):
    cell = case.cell
    for name, call in {
        "input_size": lambda: cell.parameter_shapes(size, 4),
        "hidden_size": lambda: cell.init(4, size),
        "batch": lambda: cell.state_shapes(size, 4),
        "steps": lambda: prepare(backend, case, steps=size),
    }.items():
        refused(call, name, repr(size), "at least 1")
    refused(lambda: cell.operations(size, 4), "input_size", repr(size))
    refused(lambda: prepare(backend, case, batch=size), "batch", repr(size))


def test_numpy_integers_are_sizes(case):
    assert case.cell.parameter_count(np.int64(5), np.int32(7)) == case.cell.parameter_count(5, 7)


def test_unknown_dtype_device_and_direction(backend, case):
    wrong = [
        ("dtype", "float8", ", ".join(cells.backend(backend).dtypes)),
        ("device", "tpu", "cpu"),
        ("direction", "sideways", "forward, backward"),
    ]
    for what, value, allowed in wrong:
        asked = {"steps": 1, "batch": 1, what: value}
        refused(
            lambda a=asked: cells.backend(backend).prepare(case.cell, case.params, **a), what, value, allowed
        )


def test_unknown_names():
    refused(
        lambda: cells.get("lstn"),
        "unknown cell 'lstn'",
        "did you mean 'lstm'?",
        ", ".join(cells.names()),
        "cells/zoo/",
    )
    refused(
        lambda: cells.backend("nunpy"), "unknown backend 'nunpy'", "'numpy'", ", ".join(cells.backend_names())
    )
    for name in ("", "LSTM!", "a b", "../elman", "__init__"):
        refused(lambda n=name: cells.get(n), "unknown cell", repr(name))


@pytest.mark.parametrize("name", ["rnn", "SimpleRNN", "simple_rnn"])
def test_another_name_of_a_cell_is_answered_with_its_name_here(name):
    refused(lambda: cells.get(name), f"unknown cell {name!r}; that is 'elman' here;")


def test_an_unknown_name_with_nothing_near_is_a_readable_line():
    with pytest.raises(ValueError, match=re.escape("unknown cell 'xyzzy'") + r"[;.] ?cells: "):
        cells.get("xyzzy")


def test_options_that_are_unknown_or_of_another_type():
    refused(lambda: cells.get("elman:bias=1"), "'bias'", "did you mean 'biases'?", "activation")
    refused(lambda: cells.get("elman", bias=1), "'bias'", "did you mean 'biases'?", "activation")
    refused(lambda: cells.get("elman:biases=two"), "biases", "'two'", "int")
    refused(lambda: cells.get("elman:activation=tahn"), "activation", "'tahn'", "tanh, relu, identity")
    refused(lambda: cells.get("elman", biases=3), "biases", 3, "0, 1", "2")
    refused(lambda: cells.get("elman", biases=1.0), "biases", "1.0")
    refused(lambda: cells.get("elman", biases=True), "biases", "True")
    refused(lambda: cells.get("elman", readout=-1), "readout", -1)
    refused(lambda: cells.get("elman", activation=["tanh"]), "activation", "tanh, relu, identity")
    refused(lambda: cells.backend("numpy:fast=1"), "'fast'")


def test_options_that_are_no_options_are_not_listed():
    with pytest.raises(ValueError) as caught:
        cells.get("elman", nosuch=1)
    assert str(caught.value).endswith("options: biases, readout, layers, bidirectional, activation")


def test_keywords_and_text_give_the_same_cell():
    assert cells.get("elman", activation="relu", biases=1) == cells.get("elman:activation=relu:biases=1")
    assert cells.get("elman:activation=relu", biases=1).options == "biases=1:activation=relu"
    assert cells.get("elman").options == ""
