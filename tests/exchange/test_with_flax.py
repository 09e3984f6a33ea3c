"""Trees of flax.linen and flax.nnx against what flax itself computes, both ways (nox -s exchange)."""

import numpy as np
import pytest
from support.exchange import BATCH, FORMS, INPUTS, UNITS, close, drawn, form_name, output, x_of

from cellbench import cells

flax = pytest.importorskip("flax", reason="flax is not installed; nox -s exchange installs it")
jax = pytest.importorskip("jax")
nn, nnx = flax.linen, pytest.importorskip("flax.nnx")

LINEN = {
    "lstm": ("LSTMCell", "OptimizedLSTMCell"),
    "gru": ("GRUCell",),
    "elman": ("SimpleCell",),
}
KINDS = [(name, kind) for name, kinds in LINEN.items() for kind in kinds]
X = x_of()


def given(x=X):
    return x.swapaxes(0, 1).astype(np.float32)


def layer_of(kind, both, units=UNITS):
    """A recurrent layer of linen."""
    one = nn.RNN(getattr(nn, kind)(units))
    return nn.Bidirectional(one, nn.RNN(getattr(nn, kind)(units))) if both else one


def sequence_of(kind, form, readout=0):
    layers = [layer_of(kind, "bidirectional" in form) for _ in range(form.get("layers", 1))]
    layers += [nn.Dense(readout)] if readout else []
    return layers[0] if len(layers) == 1 else nn.Sequential(layers)


def redrawn(tree, seed=3):
    """A tree of these shapes; linen starts biases at zero, which would hide where they go."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: (0.6 * rng.standard_normal(a.shape)).astype(np.float32), tree)


def prefix_of(held, form):
    """The layers of a Sequential in their order."""
    if "layers_0" not in held["params"]:
        return None
    ends = ("/forward_rnn", "/backward_rnn") if "bidirectional" in form else None
    layers = [key for key in held["params"] if "kernel" not in held["params"][key]]
    dense = [key for key in held["params"] if key not in layers]
    return [tuple(key + end for end in ends) if ends else key for key in layers] + dense


@pytest.mark.parametrize("form", FORMS, ids=form_name)
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_tree_of_linen_is_read_as_flax_computes_it(name, kind, form):
    model = sequence_of(kind, form)
    held = redrawn(model.init(jax.random.key(0), given()))
    cell, params = cells.from_flax(held, prefix=prefix_of(held, form))
    assert (cell.name, cell.layers, cell.bidirectional) == (
        name,
        form.get("layers", 1),
        "bidirectional" in form,
    )
    close(output(cell, params, X), np.asarray(model.apply(held, given())).swapaxes(0, 1))


@pytest.mark.parametrize("readout", [0, 2])
@pytest.mark.parametrize("biases", [1, 2])
@pytest.mark.parametrize("form", FORMS, ids=form_name)
@pytest.mark.parametrize("name", LINEN)
def test_a_cell_s_tree_computes_the_cell_in_linen(name, form, biases, readout):
    cell = cells.get(name, biases=biases, readout=readout, **form)
    params = drawn(cell)
    model = sequence_of(LINEN[name][-1], form, readout)
    held = jax.tree.map(lambda a: a.astype(np.float32), cells.to_flax(cell, params))
    close(np.asarray(model.apply(held, given())).swapaxes(0, 1), output(cell, params, X))
    again, back = cells.from_flax(held, prefix=prefix_of(held, form))
    close(output(again, back, X), output(cell, params, X))


@pytest.mark.parametrize("name", LINEN)
def test_a_file_that_flax_serialised_is_read_as_the_model(name, tmp_path):
    model = sequence_of(LINEN[name][-1], {"bidirectional": True})
    held = redrawn(model.init(jax.random.key(0), given()))
    (tmp_path / "m.msgpack").write_bytes(flax.serialization.to_bytes(held))
    cell, params = cells.from_flax(tmp_path / "m.msgpack")
    close(output(cell, params, X), np.asarray(model.apply(held, given())).swapaxes(0, 1))


def test_a_simple_cell_s_activation_is_what_is_said(tmp_path):
    model = nn.RNN(nn.SimpleCell(UNITS, activation_fn=nn.relu))
    held = redrawn(model.init(jax.random.key(0), given()))
    cell, params = cells.from_flax(held, "elman:activation=relu")
    close(output(cell, params, X), np.asarray(model.apply(held, given())).swapaxes(0, 1))


def nnx_layer(kind, both, inputs=INPUTS):
    def one(seed):
        return nnx.RNN(getattr(nnx, kind)(inputs, UNITS, rngs=nnx.Rngs(seed)))

    return nnx.Bidirectional(one(0), one(1)) if both else one(0)


def nnx_redrawn(module, seed=3):
    rng = np.random.default_rng(seed)
    state = nnx.state(module, nnx.Param)
    nnx.update(
        module,
        jax.tree.map(lambda a: jax.numpy.asarray(0.6 * rng.standard_normal(a.shape), np.float32), state),
    )
    return nnx.state(module, nnx.Param)


@pytest.mark.parametrize("both", [False, True], ids=["one", "bidirectional"])
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_state_of_nnx_is_read_as_flax_computes_it(name, kind, both):
    module = nnx_layer(kind, both)
    state = nnx_redrawn(module)
    want = np.asarray(module(given(), rngs=nnx.Rngs(0)) if both else module(given())).swapaxes(0, 1)
    for tree in (state, nnx.to_pure_dict(state)):
        cell, params = cells.from_flax(tree)
        assert (cell.name, cell.bidirectional) == (name, both)
        close(output(cell, params, X), want)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_layers_of_an_nnx_module_are_read_in_the_order_of_the_prefix(name, kind):
    class Stack(nnx.Module):
        def __init__(self):
            self.top = nnx_layer(kind, False, UNITS)
            self.low = nnx_layer(kind, False)
            self.out = nnx.Linear(UNITS, 2, rngs=nnx.Rngs(2))

        def __call__(self, x):
            return self.out(self.top(self.low(x)))

    module = Stack()
    state = nnx_redrawn(module)
    cell, params = cells.from_flax(state, prefix=["low", "top", "out"])
    assert (cell.name, cell.layers, cell.readout) == (name, 2, 2)
    close(output(cell, params, X), np.asarray(module(given())).swapaxes(0, 1))
    with pytest.raises(ValueError, match=r"2 recurrent layers: .*low.*top.*say which: prefix="):
        cells.from_flax(state)


def test_cells_of_flax_that_no_cell_is_are_refused_by_name():
    conv = nn.ConvLSTMCell(2, (1,))
    held = conv.init(
        jax.random.key(0), conv.initialize_carry(jax.random.key(0), (BATCH, 3, 1)), np.zeros((BATCH, 3, 1))
    )
    with pytest.raises(ValueError, match=r"hh/kernel|none was found") as caught:
        cells.from_flax(held)
    assert "\n" not in str(caught.value)
    mgu = nn.RNN(nn.MGUCell(UNITS))
    with pytest.raises(ValueError, match="MGUCell"):
        cells.from_flax(mgu.init(jax.random.key(0), given()))
