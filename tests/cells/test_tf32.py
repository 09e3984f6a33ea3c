"""float32 on CUDA is float32, tf32 a format of its own, and sums are float32, whatever PyTorch is allowed."""

import pytest
import torch
from torch.backends import cuda, cudnn

from cellbench import cells
from cellbench.cells.backends._torch_products import products
from cellbench.cells.backends._torch_program import TorchProgram
from cellbench.cells.programs.formats import stored
from cellbench.harness.studies.gpu import pretend
from cellbench.harness.studies.gpu.pretend import pretend_cuda

pytestmark = pytest.mark.quick


def allowed():
    """Whether cuDNN, and other products, may round."""
    return cudnn.allow_tf32, cuda.matmul.allow_tf32


@pytest.fixture(params=[(True, False), (False, True)])
def outside(request):
    """What the process allows, which PyTorch has as it was at the end."""
    before = allowed()
    cudnn.allow_tf32, cuda.matmul.allow_tf32 = request.param
    yield request.param
    cudnn.allow_tf32, cuda.matmul.allow_tf32 = before


def noted(monkeypatch, dtype, note):
    """What `note` says in the forward and in the backward of a run on a pretended device."""
    seen = {}
    compute, grad = TorchProgram.compute, torch.autograd.grad

    def noting(name, function):
        def called(*given, **how):
            seen[name] = note()
            return function(*given, **how)

        return called

    monkeypatch.setattr(TorchProgram, "compute", noting("forward", compute))
    monkeypatch.setattr(torch.autograd, "grad", noting("backward", grad))
    cell = cells.get("gru")
    with pretend_cuda([]):
        sizes = {"steps": 2, "batch": 2, "dtype": dtype, "device": "cuda"}
        program = cells.backend("torch").prepare(cell, cell.init(3, 4), **sizes)
        program.load(torch.ones(2, 2, 3))
        program.run()
        assert program.output.dtype == getattr(torch, stored(dtype))
    assert len(seen) == 2
    return seen.values()


@pytest.mark.parametrize(("dtype", "may"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_a_run_on_cuda_rounds_operands_where_its_format_says_so(monkeypatch, outside, dtype, may):
    assert set(noted(monkeypatch, dtype, allowed)) == {(may, may)} and allowed() == outside


REDUCED = {"bfloat16": "allow_bf16_reduced_precision_reduction"}
REDUCED["float16"] = "allow_fp16_reduced_precision_reduction"
SUMS = [*REDUCED.values(), *(f"{name}_split_k" for name in REDUCED.values()), "allow_fp16_accumulation"]


def sums():
    """What products of 16 bits may do with their sums, as far as this PyTorch knows of it."""
    return {name: getattr(cuda.matmul, name) for name in SUMS if hasattr(cuda.matmul, name)}


def let(may):
    """Sets all of them, the permission to split with its own."""
    for name in REDUCED.values():
        split = f"{name}_split_k"
        setattr(cuda.matmul, name, (may[name], may[split]) if split in may else may[name])
    if (name := SUMS[-1]) in may:
        setattr(cuda.matmul, name, may[name])


@pytest.fixture(params=[True, False])
def rounding(request):
    """A process that lets sums be rounded, or does not; PyTorch has it as it was at the end."""
    before = sums()
    let(dict.fromkeys(before, request.param))
    yield sums()
    let(before)


@pytest.mark.parametrize("dtype", REDUCED)
def test_sums_of_products_of_16_bits_are_float32_in_a_run_on_cuda(monkeypatch, rounding, dtype):
    off = {REDUCED[dtype], *(SUMS[-1:] if dtype == "float16" else [])} & set(rounding)
    for during in noted(monkeypatch, dtype, sums):
        assert not any(during[name] for name in off)
    assert sums() == rounding


def test_on_the_cpu_nothing_is_switched(outside):
    with products("float32", "cpu"):
        assert allowed() == outside


@pytest.mark.skipif(not hasattr(cudnn, "rnn"), reason="this PyTorch has no switch of cuDNN's RNNs alone")
def test_newer_switches_that_disagree_with_the_older_are_set_and_put_back():
    before = allowed()
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = "ieee", "tf32"
    try:
        with pytest.raises(RuntimeError, match="different TF32 flags"):
            allowed()
        for dtype, precision in (("float32", "ieee"), ("tf32", "tf32")):
            with products(dtype, "cuda"):
                assert (cudnn.rnn.fp32_precision, cuda.matmul.fp32_precision) == (precision, precision)
            assert cudnn.rnn.fp32_precision == "tf32"
    finally:
        cudnn.allow_tf32, cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("backend", ["torch", "torch:mode=compile", "native", "triton"])
def test_a_device_without_tf32_has_rows_that_say_so_and_no_float32_of_that_name(backend):
    asked, cell = cells.backend(backend), cells.get("gru")
    reason = "dtype tf32 needs compute capability 8.0; this device has 7.5, and would compute in float32"
    with pretend_cuda([(pretend, "CAPABILITY", (7, 5))]):
        assert asked.unsupported(cell, "tf32", "cuda") == reason
        assert asked.unsupported(cell, "float32", "cuda") is None
    with pretend_cuda([(pretend, "CAPABILITY", (8, 0))]):
        assert asked.unsupported(cell, "tf32", "cuda") is None
    assert asked.unsupported(cell, "tf32", "cuda") is None  # without a device that is what a row says


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_no_cpu_has_it(backend):
    reason = cells.backend(backend).unsupported(cells.get("gru"), "tf32", "cpu")
    assert reason == f"backend {backend} has no dtype tf32 on cpu; matrix units of a GPU compute in it"
    assert "no dtype tf32; it has float32" in cells.backend("numba").unsupported(cells.get("gru"), "tf32")
