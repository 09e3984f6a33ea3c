"""Programs for CUDA on a pretended device: equal to the CPU in every bit, and no transfer inside `run`."""

import pytest
import torch
from support.comparison import bitwise, computed, named, problem
from support.stopping_cell import Stopping

from cellbench import cells
from cellbench.cells.backends import _cudnn, triton
from cellbench.cells.kernels.triton import prediction
from cellbench.cells.kernels.triton.form import GRID, STEPWISE
from cellbench.cells.kernels.triton.resources import missing
from cellbench.harness.probes import _device
from cellbench.harness.studies.gpu import pretend
from cellbench.harness.studies.gpu.pretend import pretend_cuda
from cellbench.harness.studies.gpu.software_graph import SoftwareGraph

GRAPH = "torch:mode=graph"
HALF = ["lstm:layers=2:bidirectional=True", "gru:readout=2"]
PROGRAMS = [
    *((spec, "torch", "torch") for spec in ("gru", "lstm", "slstm", "mgu", *HALF)),
    *((spec, GRAPH, "torch") for spec in ("gru", "lstm", "slstm", "mgu", "cornn", *HALF)),
    *((spec, "native", "native") for spec in ("gru", "elman", *HALF)),
    ("mingru", "torch:mode=scan", "torch:mode=scan"),
]


def prepared(backend, case, device, direction="backward", **more):
    sizes = {"steps": case.steps, "batch": case.batch} | more
    return cells.backend(backend).prepare(
        case.cell, case.params, dtype="float32", device=device, direction=direction, **sizes
    )


@pytest.mark.quick
@pytest.mark.parametrize(("spec", "backend", "on_cpu"), PROGRAMS)
def test_a_program_on_the_pretended_device_equals_the_cpu_s_and_moves_nothing_in_a_run(spec, backend, on_cpu):
    case = problem(cells.get(spec), steps=4)
    expected = computed(prepared(on_cpu, case, "cpu"), case)
    alone = named(prepared(on_cpu, case, "cpu", "forward").forward(case.x, case.state))
    with pretend_cuda() as device:
        program = prepared(backend, case, "cuda")
        bitwise(computed(program, case), expected)
        program.load(case.x, case.state, case.d_output)
        before = device.transfers
        program.run()
        program.run()
        program.sync()
        assert device.transfers == before > 0
        bitwise(named(*program.read()), computed_of_run(on_cpu, case))
        forward = prepared(backend, case, "cuda", "forward")
        bitwise(named(forward.forward(case.x, case.state)), alone)


def computed_of_run(backend, case):
    program = prepared(backend, case, "cpu")
    program.load(case.x, case.state, case.d_output)
    program.run()
    return named(*program.read())


@pytest.mark.parametrize("spec", ["gru", "lstm:layers=2:readout=3"])
def test_a_replay_reads_what_was_loaded_last_and_new_parameters(spec):
    case, other = (problem(cells.get(spec), steps=4, seed=seed) for seed in (0, 1))
    expected = computed(prepared("torch", other, "cpu"), other)
    with pretend_cuda():
        program = prepared(GRAPH, case, "cuda")
        kept = computed(program, case)
        program.assign(other.params)
        bitwise(computed(program, other), expected)
        program.assign(case.params)
        bitwise(computed(program, case), kept)


def test_two_backward_replays_of_one_forward_are_each_right():
    case = problem(cells.get("gru"), steps=4)
    on_cpu = prepared("torch", case, "cpu")
    with pretend_cuda():
        program = prepared(GRAPH, case, "cuda")
        expected, out = on_cpu.forward(case.x, case.state), program.forward(case.x, case.state)
        for d_output in (case.d_output, case.d_output[::-1] * 3):
            bitwise(
                named(out, program.backward(d_output, case.d_state)),
                named(expected, on_cpu.backward(d_output, case.d_state)),
            )


def test_ragged_sequences_and_single_steps_are_replayed_too():
    case, lengths = problem(cells.get("lstm"), steps=4), [4, 1, 2]
    expected = computed(prepared("torch", case, "cpu", lengths=lengths), case)
    alone = prepared("torch", case, "cpu")
    with pretend_cuda():
        bitwise(computed(prepared(GRAPH, case, "cuda", lengths=lengths), case), expected)
        program = prepared(GRAPH, case, "cuda")
        for x in case.x:
            assert (program.step(x) == alone.step(x)).all()


def test_a_step_that_the_host_takes_part_in_is_refused_in_one_line():
    case = problem(Stopping(biases=0), steps=2)
    with pretend_cuda(), pytest.raises(ValueError, match=r"cannot be captured in a CUDA graph") as refused:
        prepared(GRAPH, case, "cuda")
    assert "\n" not in str(refused.value)


@pytest.mark.quick
def test_mode_graph_is_of_cuda_alone():
    backend = cells.backend(GRAPH)
    assert backend.unsupported(cells.get("gru"), device="cpu") == (
        "backend torch:mode=graph has no device cpu; it has cuda"
    )
    assert backend.unsupported(cells.get("gru"), device="cuda") is None


@pytest.mark.quick
def test_the_pretended_device_refuses_what_a_device_refuses():
    with pretend_cuda() as device:
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert there.is_cuda and there.device.type == "cuda" and not here.is_cuda
        with pytest.raises(RuntimeError, match="at least two devices"):
            there + here
        with pytest.raises(RuntimeError, match="at least two devices"):
            torch.nn.functional.linear(there[None], torch.ones(2, 3, device="cuda"), torch.ones(2))
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
            there.numpy()
        assert device.transfers == 0 and (there * 2).is_cuda
        assert (there + torch.tensor(1.0)).is_cuda  # a number of no axis may be anywhere
        assert there.sum().item() == 3 and device.transfers == 1
        assert not there.cpu().is_cuda and device.transfers == 2
        there[0] = here[0] + 1
        assert here[0] == 1  # a copy went over, not the memory
        assert here.to("cuda").is_cuda and not here.is_cuda


@pytest.mark.quick
def test_memory_that_is_free_again_is_not_taken_for_the_device_s():
    with pretend_cuda():
        for _ in range(200):
            assert torch.ones(5, device="cuda").is_cuda
            assert not torch.ones(5).is_cuda


@pytest.mark.quick
def test_a_software_graph_replays_on_the_same_memory_and_refuses_the_host_s():
    with pretend_cuda():
        x, graph = torch.ones(3, device="cuda"), SoftwareGraph()
        with torch.cuda.graph(graph):
            y = (x * 2).sum() + x
        x.copy_(torch.full((3,), 5.0, device="cuda"))
        assert (y == 8 - 1).all()
        graph.replay()
        assert (y == 35).all()
        with pytest.raises(RuntimeError, match="not permitted"), torch.cuda.graph(SoftwareGraph()):
            y.copy_(torch.ones(3))
        with pytest.raises(RuntimeError, match="not permitted"), torch.cuda.graph(SoftwareGraph()):
            y.sum().item()


@pytest.mark.skipif(missing() is not None, reason="triton is not installed; it is in the extra test")
@pytest.mark.parametrize(("processors", "kind"), [(132, GRID), (58, STEPWISE)])
def test_programs_that_wait_for_each_other_are_no_more_than_the_device_has_multiprocessors(
    processors, kind, monkeypatch
):
    case = problem(cells.get("elman"), hidden=1024, batch=32)
    monkeypatch.setattr(triton, "remembered", lambda jobs: [{"registers": 1} for _ in jobs])
    with pretend_cuda([(pretend, "PROCESSORS", processors)]):
        sizes = {"steps": case.steps, "batch": 32, "dtype": "bfloat16", "device": "cuda"}
        program = cells.backend("triton").prepare(case.cell, case.params, **sizes)
        work = {"steps": 5, "batch": 32, "input_size": 8, "hidden_size": 1024, "dtype": "bfloat16"}
        monkeypatch.setattr(prediction, "remembered", triton.remembered)
        line = cells.backend("triton").predicted(case.cell, **work, direction="forward").line
    assert program.form.kind == kind and f"form: {program.form}" in line


def test_a_load_that_bound_new_arrays_would_be_seen(monkeypatch):
    case = problem(cells.get("gru"), steps=3)
    expected = computed_of_run("torch", case)
    with pretend_cuda():
        program = prepared(GRAPH, case, "cuda")
        monkeypatch.setattr(type(program), "feed", lambda self: None)
        program.load(case.x, case.state, case.d_output)
        program.run()
        with pytest.raises(AssertionError, match="not bitwise equal"):
            bitwise(named(*program.read()), expected)


def saved_by_autograd(program):
    """(bytes that autograd packs in a forward but for the leaves, bytes of its output and last states)."""
    packed, leaves = {}, None

    def pack(tensor):
        packed[pretend.address(tensor)] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        program.advance()
    leaves = {pretend.address(leaf) for leaf in program.leaves}
    results = {pretend.address(t): t for t in (program.output, *program.last.values())}
    kept = {k: t for k, t in packed.items() if k not in leaves}
    return sum(t.untyped_storage().nbytes() for t in (kept | results).values())


@pytest.mark.quick
@pytest.mark.parametrize(
    ("spec", "launches"), [("gru", {"a": 36, "b": 4}), ("lstm", {"a": 1}), ("elman", {})]
)
def test_a_step_s_launches_and_saved_bytes_are_those_of_the_profiler_and_of_autograd(spec, launches):
    case = problem(cells.get(spec), steps=8)
    seen = lambda run, trace=None: (run(), launches)[1]  # noqa: E731
    with pretend_cuda([(_cudnn, "launches", seen)]):

        def fresh(direction="backward"):
            program = prepared("torch", case, "cuda", direction)
            program.load(case.x, case.state, case.d_output if direction == "backward" else None)
            return program

        program = fresh()
        program.run()
        rows, found = _device.a_step(program, fresh)
        by_name = {row["metric"]: row["values"][0] for row in rows}
        assert found == launches and by_name.get("launches_per_step") == (
            sum(launches.values()) / 8 if launches else None
        )
        expected = saved_by_autograd(fresh())
        assert by_name["saved_bytes_per_step"] == expected / 8 > 0
        ran = fresh()
        ran.run()
        assert _device.saved_bytes(ran) == expected  # a run before leaves nothing that counts
        assert [row["metric"] for row in _device.a_step(fresh("forward"), fresh)[0]] == (
            ["launches_per_step"] if launches else []
        )


@pytest.mark.quick
def test_what_layers_save_is_saved_once_and_a_captured_graph_has_its_memory_before():
    case = problem(cells.get("gru:layers=2"), steps=4)
    seen = lambda run, trace=None: {"kernel": 8}  # noqa: E731
    with pretend_cuda([(_cudnn, "launches", seen)]):
        sizes = []
        for backend in ("torch", GRAPH):
            program = prepared(backend, case, "cuda")
            program.load(case.x, case.state, case.d_output)
            program.run()
            rows, _ = _device.a_step(program, lambda: prepared_and_loaded(case))
            sizes.append({row["metric"] for row in rows})
        assert sizes == [{"launches_per_step", "saved_bytes_per_step"}, {"launches_per_step"}]
        one, again = prepared_and_loaded(case), prepared_and_loaded(case)
        again.run()
        assert 0 < _device.saved_bytes(again) <= _device.saved_bytes(one)


def prepared_and_loaded(case):
    program = prepared("torch", case, "cuda")
    program.load(case.x, case.state, case.d_output)
    return program
