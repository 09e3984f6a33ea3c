"""Makes the stored files: small models of other libraries, and beside each what its library computes.

    nox -s exchange && PYTHONPATH=tests .nox/exchange/bin/python tests/data/make.py

NAME.npz holds x (T, B, I) and y (T, B, O) of the model in NAME.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import equinox as eqx
import flax
import flax.linen
import flax.nnx
import jax
import keras
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from support.exchange import INPUTS, UNITS, x_of

HERE = Path(__file__).parent
X = x_of()
BY_SEQUENCE = X.swapaxes(0, 1).astype(np.float32)


def drawn(shape, seed):
    return (0.6 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def keep(name, y, x=X):
    """Stores what a library computed beside the file."""
    np.savez_compressed(HERE / f"{name}.npz", x=x.astype(np.float32), y=np.asarray(y, np.float32))


def keras_files():
    """Both directions and a Dense; a stack as a whole model in .h5; weights alone."""
    layers = keras.layers
    both = layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True), name="both")
    stack = [
        layers.GRU(UNITS, return_sequences=True, reset_after=after, name=name)
        for after, name in ((True, "low"), (True, "high"))
    ]
    models = {
        "bidirectional_lstm.keras": [both, layers.Dense(2, name="out")],
        "stacked_gru.h5": stack,
        "simple_rnn.weights.h5": [layers.SimpleRNN(UNITS, return_sequences=True)],
    }
    for name, made in models.items():
        model = keras.Sequential([keras.Input((None, INPUTS)), *made])
        model.set_weights([drawn(a.shape, k) for k, a in enumerate(model.get_weights())])
        file = HERE / "keras" / name
        model.save_weights(file) if ".weights" in name else model.save(file)
        keep(f"keras/{name}", np.asarray(model(BY_SEQUENCE)).swapaxes(0, 1))


def flax_files():
    """A stack of linen and both directions of nnx, as flax serialises them."""
    nn, nnx = flax.linen, flax.nnx
    model = nn.Sequential([nn.RNN(nn.OptimizedLSTMCell(UNITS)), nn.RNN(nn.OptimizedLSTMCell(UNITS))])
    tree = model.init(jax.random.key(0), BY_SEQUENCE)
    tree = jax.tree.map(lambda a: drawn(a.shape, a.size + a.ndim), tree)
    (HERE / "flax/linen_stack.msgpack").write_bytes(flax.serialization.to_bytes(tree))
    keep("flax/linen_stack.msgpack", np.asarray(model.apply(tree, BY_SEQUENCE)).swapaxes(0, 1))
    one, other = (nnx.RNN(nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(k))) for k in range(2))
    pair = nnx.Bidirectional(one, other)
    state = nnx.to_pure_dict(nnx.state(pair, nnx.Param))
    state = jax.tree.map(lambda a: drawn(a.shape, a.size + a.ndim), state)
    nnx.update(pair, state)
    (HERE / "flax/nnx_pair.msgpack").write_bytes(flax.serialization.msgpack_serialize(state))
    keep("flax/nnx_pair.msgpack", np.asarray(pair(BY_SEQUENCE, rngs=nnx.Rngs(0))).swapaxes(0, 1))


def equinox_files():
    """The arrays of a GRUCell by name."""
    cell = eqx.nn.GRUCell(INPUTS, UNITS, key=jax.random.key(0))
    cell = jax.tree.map(lambda a: drawn(a.shape, a.size) if eqx.is_inexact_array(a) else a, cell)
    names = ("weight_ih", "weight_hh", "bias", "bias_n")
    np.savez_compressed(HERE / "equinox/gru.npz", **{f"cell/{n}": getattr(cell, n) for n in names})
    state, outputs = np.zeros((X.shape[1], UNITS), np.float32), []
    for x_t in X.astype(np.float32):
        state = jax.vmap(cell)(x_t, state)
        outputs.append(np.asarray(state))
    keep("equinox/gru.npz", outputs)


class Model(torch.nn.Module):
    """A model as people have it: a recurrence, and a layer on it. first: a first state that it learns."""

    def __init__(self, kind, *, first=False, **options):
        super().__init__()
        self.rnn = getattr(torch.nn, kind)(INPUTS, UNITS, **options)
        self.out = torch.nn.Linear(UNITS * (1 + self.rnn.bidirectional), 2)
        self.h0 = torch.nn.Parameter(torch.zeros(1, 1, UNITS)) if first else None
        with torch.no_grad():
            for k, leaf in enumerate(self.parameters()):
                leaf.copy_(torch.from_numpy(drawn(tuple(leaf.shape), k)))

    def forward(self, x):
        rows = x.shape[0 if self.rnn.batch_first else 1]
        y = self.rnn(x) if self.h0 is None else self.rnn(x, self.h0.repeat(1, rows, 1))
        return self.out(y[0])


def torch_files():
    """state_dicts of whole models, and models that torch exports."""
    x = torch.from_numpy(X.astype(np.float32))
    lstm, gru = Model("LSTM", num_layers=2, bidirectional=True), Model("GRU")
    save_file(lstm.state_dict(), HERE / "safetensors/lstm.safetensors")
    torch.save(gru.state_dict(), HERE / "safetensors/gru.pt")
    with torch.no_grad():
        keep("safetensors/lstm.safetensors", lstm.rnn(x)[0].numpy())
        keep("safetensors/gru.pt", gru.rnn(x)[0].numpy())
    fixed = Model("LSTM", num_layers=2, bidirectional=True, batch_first=True).eval()
    first = Model("GRU", first=True).eval()
    for name, model, given in (("batch_first", fixed, x.transpose(0, 1)), ("first_state", first, x)):
        torch.onnx.export(model, (given,), HERE / f"onnx/{name}.onnx", input_names=["x"], dynamo=False)
        with torch.no_grad():
            y = model(given).numpy()
        keep(f"onnx/{name}.onnx", y.swapaxes(0, 1) if name == "batch_first" else y)


def onnx_files():
    """A node whose file holds the lengths of its sequences, as onnxruntime runs it."""
    arrays = {
        "W": drawn((2, 4 * UNITS, INPUTS), 1),
        "R": drawn((2, 4 * UNITS, UNITS), 2),
        "B": drawn((2, 8 * UNITS), 3),
        "P": drawn((2, 3 * UNITS), 4),
        "lengths": np.array([len(X), 4], np.int32),
        "shape": np.array([0, 0, -1]),
    }
    slots = ["x", "W", "R", "B", "lengths", "", "", "P"]
    nodes = [
        helper.make_node("LSTM", slots, ["Y"], hidden_size=UNITS, direction="bidirectional"),
        helper.make_node("Transpose", ["Y"], ["turned"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["turned", "shape"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", 1, ["T", X.shape[1], INPUTS])]
    outputs = [helper.make_tensor_value_info("y", 1, ["T", X.shape[1], 2 * UNITS])]
    held = [numpy_helper.from_array(a, name) for name, a in arrays.items()]
    graph = helper.make_graph(nodes, "lengths", inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, HERE / "onnx/lengths.onnx")
    session = onnxruntime.InferenceSession(str(HERE / "onnx/lengths.onnx"))
    keep("onnx/lengths.onnx", session.run(["y"], {"x": X.astype(np.float32)})[0])


def main():
    for folder in ("keras", "flax", "equinox", "safetensors", "onnx"):
        (HERE / folder).mkdir(exist_ok=True)
    warnings.simplefilter("ignore")  # of exporters, about themselves
    for make in (keras_files, flax_files, equinox_files, torch_files, onnx_files):
        make()
    total = sum(file.stat().st_size for file in HERE.rglob("*.*") if file.is_file())
    print(f"{total / 1000:.0f} kB in {HERE}")


if __name__ == "__main__":
    sys.exit(main())
