"""equinox's cells against what equinox itself computes, both ways (nox -s exchange)."""

import numpy as np
import pytest
from support.exchange import BATCH, FORMS, INPUTS, UNITS, close, drawn, form_name, output, x_of

from cellbench import cells

eqx = pytest.importorskip("equinox", reason="equinox is not installed; nox -s exchange installs it")
jax = pytest.importorskip("jax")

KINDS = {"lstm": "LSTMCell", "gru": "GRUCell"}
X = x_of()


def redrawn(module, seed=3):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: (
            jax.numpy.asarray(0.6 * rng.standard_normal(a.shape), np.float32)
            if eqx.is_inexact_array(a)
            else a
        ),
        module,
    )


def cells_of(kind, form, bias=True):
    """equinox's cells from the input up, forward first."""
    directions, inputs, made = 1 + ("bidirectional" in form), INPUTS, []
    for depth in range(form.get("layers", 1)):
        for k in range(directions):
            cell = getattr(eqx.nn, kind)(inputs, UNITS, use_bias=bias, key=jax.random.key(0))
            made.append(redrawn(cell, 10 * depth + k))
        inputs = directions * UNITS
    return made


def run(made, form, x=X):
    """The outputs of these cells, (T, B, O): each is called step by step, as equinox has it."""
    directions, y = 1 + ("bidirectional" in form), x.astype(np.float32)
    for k in range(0, len(made), directions):
        one, other = _loop(made[k], y), None
        if directions == 2:
            other = _loop(made[k + 1], y[::-1])[::-1]
        y = one if other is None else np.concatenate([one, other], -1)
    return y


def _loop(cell, x):
    zeros = jax.numpy.zeros((BATCH, UNITS))
    state = (zeros, zeros) if isinstance(cell, eqx.nn.LSTMCell) else zeros
    outputs, step = [], jax.vmap(cell)
    for x_t in x:
        state = step(x_t, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return np.stack([np.asarray(h) for h in outputs])


def prefix_of(made, form):
    keys = [str(k) for k in range(len(made))]
    return list(zip(keys[::2], keys[1::2], strict=True)) if "bidirectional" in form else keys


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("form", FORMS, ids=form_name)
@pytest.mark.parametrize("name", KINDS)
def test_cells_of_equinox_are_read_as_equinox_computes_them(name, form, bias):
    made = cells_of(KINDS[name], form, bias)
    cell, params = cells.from_equinox(made, prefix=prefix_of(made, form))
    assert (cell.name, cell.layers, cell.bidirectional) == (
        name,
        form.get("layers", 1),
        "bidirectional" in form,
    )
    close(output(cell, params, X), run(made, form))


@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("form", FORMS, ids=form_name)
@pytest.mark.parametrize("name", KINDS)
def test_a_cell_s_arrays_compute_the_cell_in_equinox(name, form, biases):
    cell = cells.get(name, biases=biases, **form)
    params = drawn(cell)
    made = cells_of(KINDS[name], form, biases > 0)
    filled = [
        eqx.tree_at(
            lambda module, names=tuple(arrays): [getattr(module, n) for n in names],
            module,
            [jax.numpy.asarray(a, np.float32) for a in arrays.values()],
        )
        for module, arrays in zip(made, cells.to_equinox(cell, params), strict=True)
    ]
    close(run(filled, form), output(cell, params, X))


def test_the_cell_inside_a_module_is_found_and_one_of_two_is_asked_for():
    class Model(eqx.Module):
        encoder: eqx.nn.GRUCell
        out: eqx.nn.Linear

    class Two(eqx.Module):
        encoder: eqx.nn.GRUCell
        decoder: eqx.nn.LSTMCell

    (gru,), (lstm,) = cells_of("GRUCell", {}), cells_of("LSTMCell", {})
    cell, params = cells.from_equinox(Model(gru, eqx.nn.Linear(UNITS, 2, key=jax.random.key(0))))
    close(output(cell, params, X), run([gru], {}))
    with pytest.raises(ValueError, match=r"2 recurrent layers: encoder, decoder; say which"):
        cells.from_equinox(Two(gru, lstm))
    cell, params = cells.from_equinox(Two(gru, lstm), prefix="decoder")
    close(output(cell, params, X), run([lstm], {}))


def test_weights_of_bfloat16_are_read_as_they_are():
    (gru,) = cells_of("GRUCell", {})
    half = jax.tree.map(lambda a: a.astype(jax.numpy.bfloat16) if eqx.is_inexact_array(a) else a, gru)
    cell, params = cells.from_equinox(half)
    whole = jax.tree.map(lambda a: a.astype(np.float32) if eqx.is_inexact_array(a) else a, half)
    close(output(cell, params, X), run([whole], {}))
