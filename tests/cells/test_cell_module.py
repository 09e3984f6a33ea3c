"""A torch module as a cell: torch alone runs it, and its numbers are those of the equations."""

import re

import numpy as np
import pytest

from cellbench import cells, harness
from cellbench.cells.programs.formats import FORMATS, rounded
from cellbench.cells.programs.tolerance import MOST
from cellbench.harness.case import Case
from cellbench.harness.cli import main
from cellbench.harness.gradients import (
    input_reach,
    jacobian_product,
    lag_profile,
    lag_share,
    lyapunov_spectrum,
    precision,
)
from cellbench.harness.probe import NotOk
from cellbench.harness.programs import check, inputs, prepare

MODULES = '''
import torch
from torch import nn


class MyGRU(nn.Module):
    """A loop over a cell."""

    def __init__(self, input_size, hidden_size, scale=1.0):
        super().__init__()
        self.scale, self.cell = scale, nn.GRUCell(input_size, hidden_size)

    def forward(self, x, h=None):
        outputs = []
        for x_t in x:
            h = self.cell(self.scale * x_t, h)
            outputs.append(h)
        return torch.stack(outputs), h


class Step(nn.LSTMCell):
    pass


class Stack(nn.LSTM):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size, 2, batch_first=True)


class TwoWays(nn.LSTM):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size, bidirectional=True)


class NoState(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.rnn = nn.GRU(input_size, hidden_size, bidirectional=True)
        self.out = nn.Linear(2 * hidden_size, 7)

    def forward(self, x):
        return self.out(self.rnn(x)[0])


class Joint(nn.Module):
    """One matrix of [x; h], and an output that is no state."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.inside, self.out = nn.Linear(input_size + hidden_size, hidden_size), nn.Linear(hidden_size, 4)

    def forward(self, x, h):
        h = torch.tanh(self.inside(torch.cat([x, h], 1)))
        return self.out(h), h


class Narrow(nn.Module):
    """Computes in float16, whatever it is asked for."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.rnn = nn.RNN(input_size, hidden_size)

    def forward(self, x):
        return self.rnn(x)[0].to(torch.float16 if x.dtype == torch.float32 else x.dtype).to(x.dtype)


class NoSizes(nn.Module):
    def forward(self, x):
        return x


class LastOnly(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.rnn = nn.GRU(input_size, hidden_size)

    def forward(self, x):
        return self.rnn(x)[0][-1]
'''

QUICK = ["probe.throughput.processes=1", "probe.throughput.sample_s=0.01"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("modules") / "mine.py"
    path.write_text(MODULES)
    return path


def drawn(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def of_zoo(name, inputs=4, units=6, prefix="", **options):
    """A cell of the zoo, its arrays, and the same arrays under a module's names."""
    cell = cells.get(name, **options)
    params = cell.init(inputs, units, seed=1)
    return cell, params, {prefix + k: v for k, v in params.items()}


def differences(file, name, zoo, prefix="", **options):
    """The largest difference of outputs, states and gradients from the zoo's equations, by array."""
    cell, params, mine = of_zoo(zoo, prefix=prefix, **options)
    x, d_output, arrays = drawn(9, 3, 4), drawn(9, 3, 6), {}
    for key, backend, one, held in (
        ("zoo", "numpy", cell, params),
        ("mine", "torch", cells.get(f"{file}:{name}"), mine),
    ):
        program = cells.backend(backend).prepare(one, held, steps=9, batch=3, dtype="float64")
        out = program.forward(x)
        grads = program.backward(d_output, trace=not cell.stacked)
        path = grads.trajectory or {}
        named = {"output": out.output, "x": grads.x} | {f"d_{k}": v for k, v in path.items()}
        named |= {k.removeprefix(prefix): v for k, v in grads.params.items()}
        states = {k: v if v.ndim == 2 or one is cell else v.swapaxes(0, 1) for k, v in out.state.items()}
        arrays[key] = named | states
    assert set(arrays["zoo"]) == set(arrays["mine"])
    return {k: abs(arrays["mine"][k] - v).max() for k, v in arrays["zoo"].items()}


@pytest.mark.parametrize("name, zoo, prefix", [("MyGRU", "gru", "cell."), ("Step", "lstm", "")])
def test_a_module_computes_what_the_equations_do_with_every_state_and_gradient(file, name, zoo, prefix):
    found = differences(file, name, zoo, prefix)
    assert {"output", "x", "h", "d_h", "weight_hh"} <= set(found)
    assert max(found.values()) < 1e-12, found


def test_a_stack_in_a_module_computes_what_the_zoo_s_does(file):
    assert max(differences(file, "Stack", "lstm", layers=2).values()) < 1e-12


def test_a_module_s_gradient_by_lag_is_that_of_the_equations(file):
    cell, params, mine = of_zoo("gru", prefix="cell.")
    module, x = cells.get(f"{file}:MyGRU"), drawn(60, 3, 4)
    expected = lag_profile(cell, params, x).log_norm
    for backend in ({}, {"backend": "torch", "dtype": "float64"}):
        assert abs(lag_profile(module, mine, x, **backend).log_norm - expected).max() < 1e-9
    of_zoo_s, of_module = (
        lyapunov_spectrum(c, p, x[:, :1], k=3, transient=5).exponents
        for c, p in ((cell, params), (module, mine))
    )
    assert abs(of_zoo_s - of_module).max() < 1e-10


def test_two_layers_have_a_gradient_by_lag_of_their_joint_state(file):
    import torch

    module = cells.get(f"{file}:Stack")
    params, x = module.init(4, 5), drawn(6, 1, 4)
    lstm = torch.nn.LSTM(4, 5, 2).double()
    lstm.load_state_dict({k: torch.from_numpy(v) for k, v in params.items()})
    state = [torch.zeros(2, 1, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    output, _ = lstm(torch.from_numpy(x), tuple(state))
    whole = torch.autograd.grad(output[-1].sum(), state)
    expected = np.log(np.sqrt(sum(float((g**2).sum()) for g in whole)))
    assert abs(lag_profile(module, params, x).log_norm[-1, 0] - expected) < 1e-9


def test_products_and_parameters_are_those_of_the_equations(file):
    cell, module = cells.get("gru"), cells.get(f"{file}:MyGRU")
    assert module.parameter_count(4, 6) == cell.parameter_count(4, 6)
    assert module.operations(4, 6).forward_products == cell.operations(4, 6).forward_products


def test_an_option_of_the_constructor_is_an_option_of_the_cell(file):
    module = cells.get(f"{file}:MyGRU:scale=2")
    assert module.arguments == {"scale": 2.0} and module.options == "scale=2.0"
    with pytest.raises(ValueError, match="which has no option 'layers' here"):
        cells.get(f"{file}:MyGRU:layers=2")


def test_one_matrix_of_input_and_state_has_its_sizes_found(file):
    module = cells.get(f"{file}:Joint")
    assert module.sizes(module.init(3, 8)) == (3, 8) and module.output_size(3, 8) == 4


@pytest.mark.parametrize(
    "name, reason",
    [
        ("NoSizes", r"NoSizes\(3, 5\) cannot be built: TypeError"),
        ("LastOnly", "LastOnly gives no output for every step"),
    ],
)
def test_a_module_that_cannot_stand_beside_cells_is_refused_in_one_line(file, name, reason):
    with pytest.raises(ValueError, match=reason) as refusal:
        cells.get(f"{file}:{name}")
    assert "\n" not in str(refusal.value)


def test_every_other_backend_says_that_a_module_has_no_equations(file):
    module = cells.get(f"{file}:MyGRU")
    for name in ("numpy", "numba", "native"):
        assert re.search("which backend torch|backend torch runs", cells.backend(name).unsupported(module))


def test_a_module_without_a_state_is_told_what_its_gradient_needs(file):
    module = cells.get(f"{file}:NoState")
    with pytest.raises(ValueError, match="let it take one: forward"):
        lag_profile(module, module.init(4, 6), drawn(6, 2, 4))


def test_a_run_has_a_row_for_a_module_and_one_that_is_wrong_beside_it(file, tmp_path):
    sizes = [
        f"workload.{k}={v}" for k, v in {"steps": 5, "batch": 2, "input_size": 3, "hidden_size": 4}.items()
    ]
    modules = f"cells=[{file}:MyGRU,{file}:NoState,{file}:Narrow]"
    options = ["probes=[throughput,gradient_decay]", "backends=[torch]", "seeds=1", "direction=forward"]
    assert main(["run", modules, *options, *QUICK, *sizes, f"results={tmp_path}"]) == 1
    frame = harness.load(tmp_path)
    status = {(r.cell, r.probe): r.status for r in frame.itertuples()}
    assert status["MyGRU", "throughput"] == status["NoState", "throughput"] == "ok"
    assert status["Narrow", "throughput"] == "wrong"
    assert status["MyGRU", "gradient_decay"] == "ok" and status["NoState", "gradient_decay"] == "unsupported"


def test_a_module_that_reads_in_two_directions_has_no_state_to_follow(file):
    cell = cells.get(f"{file}:TwoWays")
    params = cell.init(4, 3)
    with pytest.raises(ValueError, match=r"^TwoWays gives something else where it is called step by step"):
        lag_profile(cell, params, drawn(9, 3, 4))
    program = cells.backend("torch").prepare(cell, params, steps=9, batch=3, dtype="float64")
    program.forward(drawn(9, 3, 4))
    with pytest.raises(ValueError, match="something else step by step"):
        program.backward(drawn(9, 3, 6), trace=True)
    assert cells.get(f"{file}:MyGRU").stepwise and cells.get(f"{file}:Stack").stepwise


def test_show_prints_the_source_of_a_module_s_forward(file, capsys):
    assert main(["show", f"{file}:MyGRU"]) == 0
    printed = capsys.readouterr()
    assert "for x_t in x:" in printed.out and "forward (" in printed.out and "def step" not in printed.out
    assert "scale=1.0" in printed.out and "biases" not in printed.out and printed.err == ""


def test_a_stack_of_the_zoo_and_the_module_of_torch_nn_have_the_same_gradients(file):
    cell, params, mine = of_zoo("lstm", 4, 6, layers=2)
    module, x = cells.get(f"{file}:Stack"), drawn(40, 1, 4)
    pairs = [(cell, params), (module, mine)]
    # of the module it is not known that its output is a state, so that its first lag is 1
    whole, other = (lag_profile(c, p, x).log_norm[1:] for c, p in pairs)
    assert np.allclose(whole, other, rtol=1e-12, atol=1e-12)
    whole, other = (lyapunov_spectrum(c, p, x, transient=10).exponents for c, p in pairs)
    assert np.allclose(whole[0], other[0], atol=0.05) and np.isclose(whole.sum(), other.sum(), rtol=1e-10)
    whole, other = (jacobian_product(c, p, x, [1, 7, 40]) for c, p in pairs)
    assert np.allclose(whole.log_spectral, other.log_spectral, rtol=1e-12, atol=1e-12)
    assert np.allclose(whole.log_frobenius, other.log_frobenius, rtol=1e-12, atol=1e-12)
    for name in ("weight_hh_l0", "weight_ih_l1", "bias_hh_l1"):
        whole, other = (lag_share(c, p, x, parameter=name) for c, p in pairs)
        assert np.allclose(whole.signed, other.signed, rtol=1e-10, atol=1e-13)
        assert np.allclose(whole.gradient, other.gradient, rtol=1e-11, atol=1e-15)
    whole, other = (input_reach(c, p, x).log_norm for c, p in pairs)
    assert np.allclose(whole, other, rtol=1e-12, atol=1e-12)
    whole, other = (precision(c, p, x, dtypes=["float64"])["float64"].log_norm for c, p in pairs)
    assert np.allclose(whole, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["MyGRU", "Step", "Stack", "NoState", "Joint"])
def test_modules_compute_in_the_narrow_formats_as_float64_does(file, name, dtype):
    case = Case("throughput", f"{file}:{name}", "torch", "cpu", dtype, 1, 17, 3, 5, 7, "backward")
    given = inputs(case, seed=1)
    program = prepare(case, given.params)
    program.load(given.x, None, given.d_output)
    program.run()
    out, grads = program.read()
    error, allowed = check((out, grads), given, case)
    assert FORMATS[dtype].eps / 64 < error <= allowed <= MOST  # rounded as the format rounds
    assert np.array_equal(rounded(out.output, dtype), out.output)
    out.output[3, 1, 0] += 10 * allowed * np.abs(out.output).max()
    with pytest.raises(NotOk, match=f"output is off the float64 reference .* in {dtype}"):
        check((out, grads), given, case)


def test_a_run_in_bfloat16_has_rows_that_say_so(file, tmp_path):
    sizes = ["workload.steps=9", "workload.batch=2", "workload.input_size=3", "workload.hidden_size=4"]
    asked = [f"cells=[gru,{file}:MyGRU]", "backends=[numpy,torch,native]", "direction=backward", "seeds=1"]
    probes = "probes=[parameters,throughput,gradient_decay]"
    assert main(["run", *sizes, *asked, *QUICK, probes, "dtype=bfloat16", f"results={tmp_path}"]) == 0
    frame = harness.load(tmp_path)
    measured = frame[frame["probe"] == "throughput"]
    assert set(measured["dtype"]) == {"bfloat16"}
    status = measured.groupby(["cell", "backend"])["status"].first().to_dict()
    assert status == {
        ("gru", "numpy"): "unsupported",
        ("gru", "torch"): "ok",
        ("gru", "native"): "ok",
        ("MyGRU", "numpy"): "unsupported",
        ("MyGRU", "torch"): "ok",
        ("MyGRU", "native"): "unsupported",
    }
    reasons = measured.loc[(measured["cell"] == "gru") & (measured["backend"] == "numpy"), "reason"]
    assert reasons.iloc[0].startswith("backend numpy has no dtype bfloat16; it has float32, float64")
    followed = frame[frame["probe"] == "gradient_decay"]
    assert set(followed["dtype"]) == {"float64"} and (followed["status"] == "ok").all()
    size = frame[frame["metric"] == "parameter_bytes"].set_index("cell")["value"]
    assert size["gru"] == 2 * cells.get("gru").parameter_count(3, 4)
