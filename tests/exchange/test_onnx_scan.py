"""Every cell as an ONNX model with Scan: onnxruntime computes what the float64 reference computes."""

from __future__ import annotations

import numpy as np
import pytest

from cellbench import cells
from cellbench.harness.cli import main

ort = pytest.importorskip("onnxruntime")
WITH_OPTIONS = ["gru:biases=0:readout=3", "lstm:proj_size=4", "elman:activation=relu", "minlstm:readout=2"]


def computed(session, x, state, dtype):
    given = {f"{name}0": value.astype(dtype) for name, value in state.items()}
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": x.astype(dtype), **given}), strict=True))


@pytest.fixture
def written(tmp_path):
    def write(cell, params, dtype="float64"):
        file = tmp_path / "cell.onnx"
        cells.to_onnx_scan(cell, params, file, dtype)
        return ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    return write


@pytest.mark.parametrize("name", [*cells.names(), *WITH_OPTIONS])
def test_onnxruntime_agrees_with_the_float64_reference_in_every_output_and_state(name, written):
    cell, rng = cells.get(name), np.random.default_rng(0)
    params = cell.init(6, 6, seed=1)
    session = written(cell, params)
    for steps, batch in ((1, 1), (9, 3)):  # one file, any workload
        x = rng.standard_normal((steps, batch, 6))
        state = {n: rng.uniform(0.2, 0.8, s) for n, s in cell.state_shapes(batch, 6).items()}
        program = cells.backend("numpy").prepare(
            cell, params, steps=steps, batch=batch, dtype="float64", direction="forward"
        )
        want, got = program.forward(x, state), computed(session, x, state, "float64")
        assert got.keys() == {"y", *(f"{n}_last" for n in state)}
        np.testing.assert_allclose(got["y"], want.output, rtol=1e-11, atol=1e-13)
        for n in state:
            np.testing.assert_allclose(got[f"{n}_last"], want.state[n], rtol=1e-11, atol=1e-13, err_msg=n)


@pytest.mark.parametrize("value", [0.0, 80.0, -80.0, np.nan])
def test_a_saturated_unit_and_a_nan_come_out_as_in_the_reference(value, written):
    cell = cells.get("slstm")
    params, x = cell.init(3, 5), np.full((4, 2, 3), value)
    zero = {n: np.zeros(s) for n, s in cell.state_shapes(2, 5).items()}
    want = (
        cells.backend("numpy")
        .prepare(cell, params, steps=4, batch=2, dtype="float64", direction="forward")
        .forward(x, zero)
    )
    got = computed(written(cell, params), x, zero, "float64")
    np.testing.assert_allclose(got["y"], want.output, rtol=1e-11, atol=1e-13)


def test_weights_are_written_in_float32_too(written):
    cell, x = cells.get("rglru"), np.random.default_rng(0).standard_normal((5, 2, 4))
    params, zero = cell.init(4, 4), {"h": np.zeros((2, 4))}
    want = (
        cells.backend("numpy")
        .prepare(cell, params, steps=5, batch=2, dtype="float64", direction="forward")
        .forward(x, zero)
    )
    got = computed(written(cell, params, "float32"), x, zero, "float32")
    assert got["y"].dtype == np.float32
    np.testing.assert_allclose(got["y"], want.output, rtol=2e-6, atol=2e-6)


OWN = """
import numpy as np
from cellbench.cells import GatedCell, State, tanh

class Rows(GatedCell):
    gates = ("h",)
    states = ("h",)

    def equations(self, wx, wh, prev):
        return State(h=tanh(wx.h + wh.h))

    def step(self, params, x, state):
        h = {body}
        return h, State(h=h)
"""


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("state.h + np.ones(x.shape[0])[:, None]", "for each row of the batch"),
        ("state.h[:, ::2]", "in steps of 2"),
        ("state.h[:, np.arange(state.h.shape[1])]", "indexes by ndarray"),
        ("state.h.clip(0)", "cannot be recorded"),
    ],
)
def test_a_step_that_no_scan_has_is_refused_in_one_line(tmp_path, body, named):
    file = tmp_path / "rows.py"
    file.write_text(OWN.format(body=body))
    cell = cells.get(f"{file}:Rows")
    with pytest.raises(ValueError, match=named) as refused:
        cells.to_onnx_scan(cell, cell.init(2, 2), tmp_path / "m.onnx")
    assert "\n" not in str(refused.value) and not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("options", "more", "named"),
    [
        ({"layers": 2}, {}, "a stack of layers"),
        ({}, {"dtype": "float16"}, "float32 or float64"),
        ({}, {"path": "none/there/m.onnx"}, "no folder"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(tmp_path, options, more, named):
    cell = cells.get("gru", **options)
    arguments = {"path": tmp_path / "m.onnx", "dtype": "float32"} | more
    with pytest.raises(ValueError, match=named):
        cells.to_onnx_scan(cell, cell.init(2, 2), **arguments)


def exported(*arguments):
    return main(["export", "--as", "onnx", *map(str, arguments)])


def test_the_command_line_writes_the_weights_of_a_file(tmp_path):
    cell, file = cells.get("slstm"), tmp_path / "slstm.onnx"
    params, x = cell.init(3, 5, seed=2), np.random.default_rng(0).standard_normal((4, 2, 3))
    np.savez(tmp_path / "slstm.npz", **params)
    file.write_text("an older one")
    weights = ("--weights", tmp_path / "slstm.npz", "--dtype", "float64")
    assert exported("--cell", "slstm", "--output", file, *weights) == 0
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    zero = {n: np.zeros(s) for n, s in cell.state_shapes(2, 5).items()}
    program = cells.backend("numpy").prepare(
        cell, params, steps=4, batch=2, dtype="float64", direction="forward"
    )
    got = computed(session, x, zero, "float64")
    np.testing.assert_allclose(got["y"], program.forward(x, zero).output, rtol=1e-11, atol=1e-13)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slstm.npz", "slstm.onnx"]


def test_the_command_line_draws_weights_of_the_sizes_that_are_named(tmp_path, capsys):
    sizes = ("--input-size", 3, "--hidden-size", 7)
    assert exported("--cell", "minlstm", "--output", tmp_path / "m.onnx", *sizes) == 0
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    got = computed(session, np.ones((2, 4, 3)), {"h": np.zeros((4, 7))}, "float32")
    assert got["y"].shape == (2, 4, 7) and "drawn weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--cell gru", "--output FILE.onnx"),
        ("--output m.onnx", "--cell CELL"),
        ("--cell lstn --output m.onnx", "did you mean 'lstm'"),
        ("--cell gru:layers=2 --output m.onnx", "a stack of layers"),
        ("--cell gru --output none/m.onnx", "no folder 'none'"),
        ("--cell gru --output .", "is a folder"),
        ("--cell gru --output m.onnx RUN", "leave out 'RUN'"),
        ("--cell gru --output m.onnx --weights lost.npz", "no file 'lost.npz'"),
        ("--cell gru --output m.onnx --weights words.npz", "weight_ih"),
        ("--cell lstm --output m.onnx --weights w.npz", "weight_ih"),
        ("--cell gru --output m.onnx --weights w.json", "it is no archive, or a damaged one"),
        ("--cell gru --output m.onnx --weights w.npy", "it holds one array without a name"),
        ("--cell gru --output /dev/full", "'/dev/full': No space left on device"),
        ("--cell gru --output m.onnx --weights w.npz --hidden-size 5", "leave out --hidden-size"),
        ("--cell gru --output m.onnx --dtype float16", "float64"),
    ],
)
def test_what_the_command_line_cannot_write_is_one_line_and_leaves_the_file_as_it_was(
    arguments, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    params = cells.get("gru").init(3, 5)
    np.savez("w.npz", **params)
    np.save("w.npy", params["weight_ih"])
    (tmp_path / "w.json").write_text("{}")
    np.savez("words.npz", **{name: np.full(array.shape, "a") for name, array in params.items()})
    (tmp_path / "m.onnx").write_text("an older one")
    assert exported(*arguments.split()) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error and "allow_pickle" not in error
    assert (tmp_path / "m.onnx").read_text() == "an older one"


def test_a_form_of_tables_takes_no_cell(capsys):
    assert main(["export", "--as", "csv", "--cell", "gru"]) == 2
    assert "give --as onnx too" in capsys.readouterr().err
