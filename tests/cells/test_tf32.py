"""float32 on CUDA is float32, and tf32 a format of its own, whatever the process allows PyTorch."""

import pytest
import torch
from torch.backends import cuda, cudnn

from cellbench import cells
from cellbench.cells.backends._torch_products import products
from cellbench.cells.backends._torch_program import TorchProgram
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


@pytest.mark.parametrize(("dtype", "may"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_a_run_on_cuda_rounds_operands_where_its_format_says_so(monkeypatch, outside, dtype, may):
    seen = {}
    compute, grad = TorchProgram.compute, torch.autograd.grad

    def noting(name, function):
        def noted(*given, **how):
            seen[name] = allowed()
            return function(*given, **how)

        return noted

    monkeypatch.setattr(TorchProgram, "compute", noting("forward", compute))
    monkeypatch.setattr(torch.autograd, "grad", noting("backward", grad))
    cell = cells.get("gru")
    with pretend_cuda([]):
        sizes = {"steps": 2, "batch": 2, "dtype": dtype, "device": "cuda"}
        program = cells.backend("torch").prepare(cell, cell.init(3, 4), **sizes)
        program.load(torch.ones(2, 2, 3))
        program.run()
        assert program.output.dtype == (torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    assert seen == dict.fromkeys(seen, (may, may)) and len(seen) == 2 and allowed() == outside


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


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_no_cpu_has_it(backend):
    reason = cells.backend(backend).unsupported(cells.get("gru"), "tf32", "cpu")
    assert reason == f"backend {backend} has no dtype tf32 on cpu; matrix units of a GPU compute in it"
    assert "no dtype tf32; it has float32" in cells.backend("numba").unsupported(cells.get("gru"), "tf32")
