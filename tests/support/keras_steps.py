"""Keras's recurrent layers in NumPy, transcribed from the step code of keras 3, by its names.

That is layers/rnn, implementation 2.

`units` are the columns of a gate: SimpleRNN one, LSTM i, f, c, o, GRU z, r, h. Nothing here knows the cells.
"""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def simple_rnn(inputs, states, kernel, recurrent_kernel, bias=None):
    (h_tm1,) = states
    h = inputs @ kernel
    if bias is not None:
        h = h + bias
    output = np.tanh(h + h_tm1 @ recurrent_kernel)
    return output, [output]


def lstm(inputs, states, kernel, recurrent_kernel, bias=None):
    h_tm1, c_tm1 = states
    z = inputs @ kernel
    z = z + h_tm1 @ recurrent_kernel
    if bias is not None:
        z = z + bias
    z0, z1, z2, z3 = np.split(z, 4, axis=1)
    i = sigmoid(z0)
    f = sigmoid(z1)
    c = f * c_tm1 + i * np.tanh(z2)
    o = sigmoid(z3)
    h = o * np.tanh(c)
    return h, [h, c]


def gru(inputs, states, kernel, recurrent_kernel, bias=None, reset_after=True):
    (h_tm1,) = states
    units = h_tm1.shape[1]
    input_bias, recurrent_bias = (0, 0) if bias is None else bias if reset_after else (bias, 0)
    matrix_x = inputs @ kernel + input_bias
    x_z, x_r, x_h = np.split(matrix_x, 3, axis=-1)
    matrix_inner = (
        h_tm1 @ (recurrent_kernel if reset_after else recurrent_kernel[:, : 2 * units]) + recurrent_bias
    )
    recurrent_z = matrix_inner[:, :units]
    recurrent_r = matrix_inner[:, units : units * 2]
    recurrent_h = matrix_inner[:, units * 2 :]
    z = sigmoid(x_z + recurrent_z)
    r = sigmoid(x_r + recurrent_r)
    recurrent_h = r * recurrent_h if reset_after else (r * h_tm1) @ recurrent_kernel[:, 2 * units :]
    hh = np.tanh(x_h + recurrent_h)
    h = z * h_tm1 + (1 - z) * hh
    return h, [h]


def gru_reset_before(*arguments):
    return gru(*arguments, reset_after=False)


CELLS = {"elman": simple_rnn, "lstm": lstm, "gru": gru, "gru_reset_before": gru_reset_before}
STATES = {"lstm": ("h", "c")}


def keras_layer(name, arrays, x, state=None, readout=0):
    """Output (T, B, O) and last states of the layer with these weights, and of a Dense after it."""
    arrays, dense = (arrays[:-2], arrays[-2:]) if readout else (arrays, None)
    names = STATES.get(name, ("h",))
    states = [np.zeros((x.shape[1], len(arrays[1]))) if state is None else state[s] for s in names]
    outputs = []
    for x_t in x:
        output, states = CELLS[name](x_t, states, *arrays)
        outputs.append(output)
    y = np.stack(outputs)
    y = y if dense is None else y @ dense[0] + dense[1]
    return {"output": y} | {f"state.{s}": v for s, v in zip(names, states, strict=True)}
