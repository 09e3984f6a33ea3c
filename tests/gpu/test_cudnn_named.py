"""Which of cuDNN's algorithms ran is read off kernel names; a call that leaves cuDNN is a mismatch.

The names were recorded by others on A100 and Blackwell devices; the counts around them are made up.
"""

from dataclasses import replace

import numpy as np
import pytest
from support.comparison import problem

from cellbench import cells
from cellbench.cells.backends import _cudnn
from cellbench.cells.backends._cudnn import algorithm
from cellbench.harness import programs
from cellbench.harness.case import Case
from cellbench.harness.probe import NotOk
from cellbench.harness.studies.gpu.pretend import pretend_cuda

T = 256
GEMM = "cutlass_80_tensorop_s1688gemm_128x128_16x5_tn_align4"
PERSISTENT = {
    "void RNN_blockPersist_fp_GRU<float, float, float, 128>(...)": 1,
    "void persistRNN_addBias<float, float>(...)": 1,
    "persistRNN_init(int*)": 1,
    GEMM: 1,
}
HALF = {"void RNN_blockPersist_fp_LSTM_HMMA<__half, __half, float, 160>": 1}
BACK = {"void RNN_blockPersist_bp_LSTM<float, 128>": 1, "ampere_sgemm_128x64_nt": 2}
STATIC = {"void RNN_persist_fp<__half, 1024>": 1, "volta_h884gemm_128x64_ldg8_tn": 1}
STANDARD = {"void elemWiseRNNcell<float, float, 2>": T, "ampere_sgemm_32x32_sliced1x4_tn": T + 1}
BACK_BY_STEPS = {
    "void LSTM_elementWise_bp1<float>": T,
    "nvjet_tss_128x32": T,
    "GENERIC_elementWise_bp2<float>": T,
}
FOUND = {
    "persistent": [PERSISTENT, HALF, HALF | BACK, PERSISTENT | {"Memcpy DtoD (Device -> Device)": 2}],
    "static persistent": [STATIC],
    "standard": [STANDARD, STANDARD | BACK_BY_STEPS, {"GRU_elementWise_bp1<float>": T, GEMM: T}],
    "several: persistent, standard": [PERSISTENT | BACK_BY_STEPS],
    "several: standard, static persistent": [STATIC | STANDARD],
}


@pytest.mark.quick
@pytest.mark.parametrize(("names", "named"), [(n, k) for k, several in FOUND.items() for n in several])
def test_recorded_kernel_names_tell_the_algorithm(names, named):
    assert algorithm(names, T) == named


@pytest.mark.quick
def test_what_is_not_known_is_said_with_its_names():
    assert algorithm(PERSISTENT | {"cudnn_rnn_v10_kernel": 1}, T) == "unknown: cudnn_rnn_v10_kernel"
    assert algorithm({}, T) == "unknown: no kernels"
    assert algorithm({GEMM: 3}, T) == "unknown: products alone"
    many = {f"kernel_{k}": 1 for k in range(5)}
    assert algorithm(many, T) == "unknown: kernel_0, kernel_1, kernel_2 and 2 more"


@pytest.mark.quick
def test_launches_a_step_must_fit_the_name():
    (name, _), *_ = PERSISTENT.items()
    assert algorithm({name: T}, T) == f"unknown: {name} ({T} launches in {T} steps)"
    assert algorithm({"void elemWiseRNNcell<float>": 1}, T).startswith("unknown: void elemWise")
    # of several layers each has its own launch, and of a single step there is nothing to tell
    assert algorithm({name: 4}, 3, layers=4) == "persistent"
    assert algorithm({"void elemWiseRNNcell<float>": 12}, 3, layers=4) == "standard"
    assert algorithm({name: 1}, 1) == "persistent"


@pytest.fixture
def of_cudnn(monkeypatch):
    """A device on which torch.nn calls cuDNN, with these kernels."""
    seen = []

    def launches(run):
        run()
        seen.append(run.__self__)
        return PERSISTENT

    monkeypatch.setattr(_cudnn, "operations", lambda run: {"aten._cudnn_rnn.default"})
    monkeypatch.setattr(_cudnn, "launches", launches)
    return seen


@pytest.mark.quick
def test_native_on_cuda_names_its_algorithm_and_keeps_what_it_computed(of_cudnn):
    case = problem(cells.get("gru"), steps=4)
    with pretend_cuda():
        program = cells.backend("native").prepare(case.cell, case.params, steps=4, batch=3, device="cuda")
        assert program.mismatch() is None
        out = program.forward(case.x, case.state)
        assert program.implementation.startswith("cuDNN ") and program.implementation.endswith(", persistent")
        (profiled,) = of_cudnn
        assert profiled is not program and (profiled.steps, profiled.direction) == (4, "backward")
        assert (program.host(program.output) == out.output).all()
        assert np.isfinite(program.backward(case.d_output).x).all()


CASE = Case(
    "throughput",
    "gru",
    "native",
    "cuda",
    "float32",
    steps=3,
    batch=2,
    input_size=5,
    hidden_size=7,
    direction="forward",
)


@pytest.mark.quick
def test_native_on_cuda_without_cudnn_is_a_mismatch_and_torch_is_none():
    params = cells.get("gru").init(5, 7)
    with pretend_cuda():
        with pytest.raises(NotOk, match=r"is cuDNN, and torch\.nn leaves it for") as refused:
            programs.prepare(CASE, params)
        assert refused.value.status == "mismatch"
        assert programs.prepare(replace(CASE, backend="torch"), params).mismatch() is None
    # on the CPU the library is oneDNN or ATen, and `implementation` says which
    assert programs.prepare(replace(CASE, device="cpu"), params).mismatch() is None
