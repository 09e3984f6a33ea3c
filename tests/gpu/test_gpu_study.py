"""`nox -s gpu`: a dry walk through every case, what it writes, that it goes on; the timed path pretended."""

import json
import math
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from cellbench import cells
from cellbench.cells.backends import _cudnn
from cellbench.cells.backends._torch_program import TorchProgram
from cellbench.cells.backends.flashrnn import FlashrnnProgram
from cellbench.cells.backends.native import NativeProgram
from cellbench.cells.backends.torch import TorchBackend
from cellbench.cells.backends.triton import TritonProgram
from cellbench.cells.contract import State, each_output, output_and_state
from cellbench.cells.exchange.optional import is_installed
from cellbench.harness import load, store
from cellbench.harness.case import Case
from cellbench.harness.measure import device_ceilings, worker
from cellbench.harness.measure.board import Reading
from cellbench.harness.measure.clocks import Wall
from cellbench.harness.measure.worker import Result
from cellbench.harness.probe import CaseResult, NotOk, series
from cellbench.harness.probes import _device
from cellbench.harness.programs import inputs
from cellbench.harness.studies.gpu import dry, figure, page, study, timed, without_product
from cellbench.harness.studies.gpu.__main__ import main
from cellbench.harness.studies.gpu.grid import APART, COMPILED, Grid, comparisons
from cellbench.harness.studies.gpu.pretend import pretend_cuda

SMALL = Grid(("gru", "mingru"), (2,), (16,), ("float32", "bfloat16"), steps=3, dry=True)
WORDS = ["--dry", "--cells", "gru", "--batches", "2", "--sizes", "16", "--dtypes", "float32"]


def in_turn(answers):
    """Takes works, and has `answers(function, *args, emit)` in each attempt's place."""

    def here(works, most, timeout_s):
        for work in works:
            result = None
            with suppress(StopIteration):
                while True:
                    attempt = work.send(result)
                    result = answers(attempt.function, *attempt.args, emit=attempt.on_message)

    return here


def in_this_process(function, *given, emit):
    """Only the interpreter needs a process of its own."""
    if function is dry.interpret:
        return worker.call(function, *given, on_message=emit)
    function(emit, *given)
    return Result("ok")


def test_a_dry_study_walks_through_every_case_and_goes_on_where_it_stopped(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(study, "side_by_side", in_turn(in_this_process))
    command = [*WORDS, "--steps", "2", "--output", str(tmp_path)]
    assert main(command) == 0
    frame = load(tmp_path / "runs")
    peer = frame[frame.backend == "flashrnn"]
    assert set(peer.status) == ({"ok"} if is_installed("flashrnn") else {"unavailable"})
    frame = frame[frame.backend != "flashrnn"]
    assert set(frame.status) == {"ok"} and set(frame.variant) == {"dry"}
    assert set(frame.backend) == {*Grid().backends} - {"flashrnn"} and set(frame.metric) == {
        "check_error",
        "check_tolerance",
    }
    assert frame.implementation.str.startswith("dry ").all() and frame.reason.str.startswith("dry: ").all()
    text, table = (tmp_path / "gpu.md").read_text(), (tmp_path / "gpu.csv").read_text()
    assert "**Dry**" in text and "| gru | backward | float32 | 16 | 2 | dry | dry | dry | dry | dry |" in text
    second = text[text.index("## Without the inputs' product") : text.index("## Published")]
    walked = "dry" if is_installed("flashrnn") else "unavailable"
    assert f"| gru | backward | float32 | 16 | 2 | dry | {walked} |" in second
    assert table.count(",dry\n") == 12 and figure.NOTHING in (tmp_path / "gpu.svg").read_text()
    capsys.readouterr()
    assert main(command) == 0
    assert "12 cases, 0 of them to do" in capsys.readouterr().err


@pytest.fixture
def inline(monkeypatch, tmp_path):
    """A study whose workers are functions of a test."""

    def made(answers):
        monkeypatch.setattr(study, "side_by_side", in_turn(answers))
        writer, ended = study.writer(tmp_path, SMALL, print)
        return study.Study(SMALL, writer, ended, tmp_path, lambda text: None)

    return made


def all_right(function, cases, *more, emit):
    for case in cases:
        emit((case.id, CaseResult("ok")))
    return Result("ok")


@pytest.mark.quick
def test_a_case_that_breaks_its_worker_takes_no_other_along(inline):
    def answers(function, cases, *more, emit):
        for case in cases:
            if case.backend == "native" and case.direction == "forward":
                return Result("crashed", "signal 11")
            emit((case.id, CaseResult("ok")))
        return Result("ok")

    one = inline(answers)
    statuses = one.run()
    one.writer.close()
    natives = len([c for c in SMALL.cases() if c.backend == "native" and c.direction == "forward"])
    assert statuses.count("crashed") == natives and statuses.count("ok") == len(statuses) - natives
    assert study.code_of(statuses) == 1 and study.code_of(["ok", "unavailable", "unsupported"]) == 0
    # the same command takes up what went wrong, and nothing else
    again = inline(all_right)
    assert sum(status not in store.FINE for status in again.ended.values()) == natives
    assert set(again.run()) == {"ok"}


@pytest.mark.quick
def test_triton_has_a_worker_of_its_own_for_the_interpreter(inline):
    seen = []

    def answers(function, cases, *more, emit):
        seen.append((function, {case.backend for case in cases}))
        return all_right(function, cases, emit=emit)

    inline(answers).run()
    assert seen == [(dry.walk, {*SMALL.backends} - {"triton"}), (dry.interpret, {"triton"})]


def walked(cases, function=dry.walk):
    ended = {}
    function(lambda message: ended.update([message]), cases)
    return [ended[case.id] for case in cases]


@pytest.mark.quick
def test_what_a_device_would_do_is_walked_and_a_transfer_in_a_run_fails(monkeypatch):
    apart = ("triton", "flashrnn")
    cases = [case for case in SMALL.cases() if case.backend not in apart and case.dtype == "float32"]
    results = walked(cases)
    assert {r.status for r in results} == {"ok", "unsupported"}
    assert {c.backend for c, r in zip(cases, results, strict=True) if r.status != "ok"} == {
        "native"
    }  # mingru

    advance = TorchProgram.run_forward

    def reading(self):
        advance(self)
        self.output.sum().item()

    monkeypatch.setattr(TorchProgram, "run_forward", reading)
    (failed,) = walked([cases[0]])
    assert failed.status == "failed" and "1 transfers between host and device in a run" in failed.reason


@pytest.mark.quick
def test_an_error_of_a_walk_is_a_failed_row_in_one_line():
    (case, *_) = SMALL.cases()

    def breaks(case):
        raise AttributeError("'NoneType' object\nhas no attribute 'run'")

    failed = dry.result(case, breaks)
    assert (failed.status, failed.reason) == (
        "failed",
        "AttributeError: 'NoneType' object has no attribute 'run'",
    )

    def refuses(case):
        raise NotOk("wrong", "output is off")

    assert dry.result(case, refuses).status == "wrong"


@pytest.fixture
def device(monkeypatch):
    """A pretended device on which cuDNN is one persistent kernel; each run of it is one sample."""

    def launches(run, trace=None):
        run()
        if trace:
            trace.write_text("{}")
        return {"void RNN_blockPersist_fp_GRU<float>": 1}

    monkeypatch.setattr(timed, "clock_of", lambda device: Wall())
    monkeypatch.setattr(timed, "peak_bytes", lambda work, device: int(work() is None))
    monkeypatch.setattr(timed, "SAMPLE_S", 1e-5)
    monkeypatch.setattr(device_ceilings, "clock_of", lambda device: Wall())
    monkeypatch.setattr(device_ceilings, "WIDE", 8)
    monkeypatch.setattr(device_ceilings, "COPIED", 1 << 10)
    _device.machine.cache_clear()
    monkeypatch.setattr(study, "side_by_side", in_turn(in_this_process))
    with pretend_cuda(
        [(_cudnn, "operations", lambda run: {"aten._cudnn_rnn"}), (_cudnn, "launches", launches)]
    ):
        yield launches
    _device.machine.cache_clear()


def studied(grid, folder):
    """Of a study that goes on in a folder: how its cases ended, and its frame."""
    run, ended = study.writer(folder, grid, print)
    statuses = study.Study(grid, run, ended, folder, lambda text: None).run()
    run.close()
    return statuses, page.prepared(load(run.folder))


@pytest.mark.quick
def test_what_is_done_on_a_device_is_done_on_the_pretended_one(device, tmp_path):
    grid = Grid(("gru",), (16,), (128,), ("float32",), ("torch", "torch:mode=graph", "native"), steps=3)
    statuses, frame = studied(grid, tmp_path)
    assert statuses == ["ok"] * 6
    metrics = {"seconds", "ratio_to_native", "check_error", "peak_bytes", "error", "launches_per_step"}
    assert metrics | {"flop_share", "bytes_share", "ceiling_flop_per_s"} <= set(frame.metric)
    saved = frame[frame.metric == "saved_bytes_per_step"]
    assert set(saved.backend) == {"torch", "native"} and set(saved.direction) == {"backward"}
    assert (saved.value >= 16 * 128 * 4).all()  # the output's alone
    text = page.markdown(grid, frame, "a device")
    assert "| gru | forward | float32 | 128 | 16 | native | 0.333 | – |" in text  # one kernel in three steps
    assert frame[frame.backend == "native"].implementation.str.endswith(", persistent").all()
    of_kernels = (p for p in (tmp_path / "profiles").glob("*.json") if ".trace" not in p.name)
    noted = [json.loads(path.read_text()) for path in of_kernels]
    assert len(noted) == 6 and all(one["launches"] == device(lambda: None) for one in noted)
    assert {one["steps"] for one in noted} == {3}


@pytest.mark.quick
def test_a_case_that_is_wrong_is_not_timed(device, monkeypatch, tmp_path):
    right = TorchProgram.run_forward

    def off(self):
        right(self)
        self.output = self.output + 1

    monkeypatch.setattr(TorchProgram, "run_forward", off)
    grid = Grid(("gru",), (2,), (16,), ("float32",), ("torch", "native"), steps=3)
    _, frame = studied(grid, tmp_path)
    ended = frame.drop_duplicates("case").set_index("backend").status
    assert set(ended["torch"]) == {"wrong"} and set(ended["native"]) == {"ok"}
    assert not len(frame[(frame.backend == "torch") & (frame.metric == "seconds")])


THREE = Grid(("gru",), (2,), (16,), ("float32",), ("torch", "torch:mode=graph", "native"), steps=3)


@pytest.fixture
def planted(device, monkeypatch, tmp_path):
    """Of a study whose timed pass breaks as a test says: its frame, and which backends each worker timed."""
    loaded, begun = timed.loaded, []

    def worker_of(function, *given, emit):
        begun.append([])
        try:
            return in_this_process(function, *given, emit=emit)
        except Exception as error:
            return Result(worker.kind(error), worker.describe(error))

    def studied_with(breaks):
        def load_one(case, given):
            begun[-1].append(case.backend)
            if reason := breaks(begun[-1]):
                raise reason if isinstance(reason, NotOk) else RuntimeError(reason)
            return loaded(case, given)

        monkeypatch.setattr(timed, "loaded", load_one)
        monkeypatch.setattr(study, "side_by_side", in_turn(worker_of))
        return studied(THREE, tmp_path)[1], list(filter(None, begun))

    return studied_with


@pytest.mark.quick
@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("CUDA out of memory. Tried to allocate", "out_of_memory"),
        ("no launch", "failed"),
        (NotOk("unsupported", "no form fits"), "unsupported"),
    ],
    ids=str,
)
def test_a_backend_that_breaks_the_timed_pass_is_a_row_of_its_own_and_the_others_are_compared(
    planted, error, status
):
    frame, _ = planted(lambda loaded: loaded[-1] == "torch:mode=graph" and error)
    by_backend = dict(list(frame.groupby("backend")))
    broken = by_backend.pop("torch:mode=graph")
    assert set(broken.status) == {status} and broken.reason.str.contains(str(error)).all()
    assert {"check_error"} <= set(broken.metric) and "seconds" not in set(broken.metric)
    for rows in by_backend.values():
        assert set(rows.status) == {"ok"} and {"seconds", "ratio_to_native"} <= set(rows.metric)


@pytest.mark.quick
def test_cases_that_do_not_fit_together_are_timed_alone(planted):
    frame, workers = planted(lambda loaded: len(loaded) == 3 and "CUDA out of memory")
    assert set(frame.status) == {"ok"} and (frame.metric == "seconds").any()
    assert workers[1:4] == [["torch"], ["torch:mode=graph"], ["native"]]


@pytest.mark.quick
def test_each_worker_gets_some_cases_of_every_backend():
    cases = Grid().cases()
    shares = study.shared_out(cases, 5)
    assert sorted(case.id for share in shares for case in share) == sorted(case.id for case in cases)
    for backend in Grid().backends:
        counts = [sum(case.backend == backend for case in share) for share in shares]
        assert max(counts) - min(counts) <= 1
    assert study.shared_out(cases[:2], 5) == [[cases[0]], [cases[1]]] and study.workers() >= 1


@pytest.mark.quick
def test_the_error_is_followed_over_t_at_the_usual_sizes_and_drawn(tmp_path):
    grid = Grid(("gru",), (16,), (128,), ("float32",), ("torch", COMPILED, "native"), steps=5, dry=True)
    cases, ended = grid.cases(), {}
    dry.walk(lambda message: ended.update([message]), cases)
    grown = [
        (case.backend, case.direction, one["lag"])
        for case in cases
        for one in ended[case.id].series
        if one["metric"] == "error"
    ]
    assert grown == [("torch", "backward", [1, 4, 5]), ("native", "backward", [1, 4, 5])]
    frame = run_of(grid, tmp_path, lambda case: ended[case.id])
    assert "forward+backward" in figure.errors(frame)
    assert figure.errors(frame[frame["metric"] != "error"].assign(metric="seconds")) is None


@pytest.mark.quick
def test_what_a_throttled_device_took_is_skipped_and_measured_again(device, monkeypatch, tmp_path):
    board = FakeBoard([])
    monkeypatch.setattr(timed, "board", lambda: (board, None))
    grid = Grid(("gru",), (2,), (16,), ("float32",), ("torch",), steps=3)
    ended = []
    for clocks in ([1980, 1410, 1980, 1980], [1980, 1980]):
        board.clocks = clocks
        ended.append(studied(grid, tmp_path)[0])
        assert not board.clocks
    assert ended == [["skipped", "ok"], ["ok", "ok"]]


class FakeBoard:
    """Of which each reading has the next clock, in MHz."""

    def __init__(self, clocks, joules=()):
        self.clocks, self.joules = clocks, list(joules)

    def read(self):
        return Reading(self.clocks.pop(0) * 1e6, (), self.joules.pop(0) if self.joules else None)


def run_of(grid, folder, result):
    """The frame of a run in which every case ended so."""
    writer, _ = study.writer(folder, grid, print)
    for case in grid.cases():
        ended = result(case)
        writer.append(
            case.id,
            case.definition,
            ended.status,
            series=ended.series,
            reason=ended.reason,
            implementation=ended.implementation,
            done=True,
        )
    writer.close()
    return page.prepared(load(writer.folder))


@pytest.mark.quick
def test_the_page_has_times_ratios_to_the_prediction_and_reasons(tmp_path):
    grid = Grid(("gru",), (2,), (16, 32), ("float32",), ("native", "triton"), steps=100)

    def result(case):
        if case.hidden_size == 32 and case.backend == "triton":
            return CaseResult("unsupported", "it does not fit | at all")
        measured = [series("seconds", "s", [0.001, 0.002, 0.009]), series("predicted_s", "s", 0.001)]
        measured += [series(without_product.METRIC, "s", 0.0015)] if case.backend == "triton" else []
        return CaseResult("ok", None, "cuDNN 9, persistent", measured)

    frame = run_of(grid, tmp_path, result)
    text = page.markdown(grid, frame, "a device")
    assert "| gru | forward | float32 | 16 | 2 | 20.0 | 20.0 | 2.00 | cuDNN 9, persistent |" in text
    assert "| gru | forward | float32 | 32 | 2 | 20.0 | unsupported | – | cuDNN 9, persistent |" in text
    assert "| gru | triton | unsupported | 2 | it does not fit / at all |" in text and "**Dry**" not in text
    assert "gru,forward,float32,16,2,100,native,0.002,0.001" in page.table(frame)
    assert math.isnan(page.median(frame, "no metric"))
    # the second table has the kernels that leave the product of the inputs out
    second = text[text.index("## Without the inputs' product") : text.index("## Without a number")]
    assert "| cell | direction | format | H | B | triton |" in second
    assert "| gru | forward | float32 | 16 | 2 | 15.0 |" in second
    assert "| gru | forward | float32 | 32 | 2 | unsupported |" in second
    alone = Grid(("gru",), (2,), (16,), ("float32",), ("native",), steps=100)
    assert "## Without the inputs" not in page.markdown(alone, frame[frame.backend == "native"], "a device")
    # 4.87 ms and 5.19 ms for 1024 steps, as the figure's bars say
    assert "| FlashRNN, CUDA fused | forward | 3.48 | 2.83 | 3.03 | 3.14 | 3.54 | 4.76 |" in text
    assert "| torch.nn.LSTM | forward+backward | – | – | – | – | – | 5.07 |" in text
    assert "**Published**" in text and text.index("## Published") > text.index("## Without a number")
    drawn = figure.draw(grid, frame)
    assert "triton, float32 (predicted)" in drawn and figure.NOTHING not in drawn


@pytest.mark.quick
def test_cases_of_a_comparison_differ_in_their_backend_and_the_step_is_compiled_once_a_format():
    cases = Grid().cases()
    groups = comparisons(cases)
    assert sum(map(len, groups)) == len(cases) == len({case.id for case in cases})
    assert all(len({case.backend for case in group}) == len(group) for group in groups)
    compiled = [case for case in cases if case.backend == COMPILED]
    assert {(case.batch, case.hidden_size) for case in compiled} == {(16, 128)}
    assert {case.variant for case in cases} == {None}


@pytest.mark.quick
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--cells", "grus"], "did you mean 'gru'"),
        (["--sizes", "0"], "0 is no size"),
        (["--steps", "0"], "0 is no size"),
        (["--dtypes", "float8"], "'float8' is no number format"),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(words, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--dry", *words])
    assert ended.value.code == 2 and says in capsys.readouterr().err


class Apart(TorchProgram):
    """The steps as torch has them, with the product of the inputs outside, as of kernels."""

    product_apart = True

    def compute(self, x, state, steps=None):
        return self.recur(self.arrays(), self.product(self.arrays(), x), x, state)

    def product(self, params, x):
        return torch.nn.functional.linear(x, params["weight_ih"], params["bias_ih"])

    def recur(self, params, wx, x, state):
        def advance(t, now):
            gates = State(**dict(zip(self.cell.gates, wx[t].chunk(len(self.cell.gates), -1), strict=True)))
            output, new = output_and_state(
                self.cell, self.cell.equations(gates, self.cell.recur(params, now), now)
            )
            return list(each_output(output)), new

        self.advancing = lambda effective, x: advance
        return super().compute(x, state)


def apart(direction, x=None):
    case = Case("throughput", "gru", "torch", "cuda", "float32", 1, 5, 3, 4, 6, direction)
    given = inputs(case)
    program = Apart(cells.get("gru"), given.params, 5, 3, "float32", "cpu", direction)
    program.load(given.x if x is None else x, None, given.d_output)
    program.run()
    return program


@pytest.mark.quick
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_kernels_alone_compute_what_they_do_in_the_program_and_go_back_to_the_product(direction):
    program = apart(direction)
    kernels = without_product.kernels_of(program)
    without_product.hold(program)
    kernels.run()
    assert torch.equal(kernels.output, program.output)
    if direction == "forward":
        assert not kernels.output.requires_grad
        return
    # d_weight_ih and d_x are what the cotangent of the product makes of them
    d_weight = kernels.d_wx.flatten(0, 1).T @ program._x.flatten(0, 1)
    assert torch.allclose(d_weight, program.gradients.params["weight_ih"], atol=1e-5)
    assert torch.allclose(kernels.d_wx @ program.params["weight_ih"], program.gradients.x, atol=1e-5)


@pytest.mark.quick
def test_kernels_alone_that_compute_something_else_are_wrong(monkeypatch):
    program = apart("forward")
    product = program.product
    monkeypatch.setattr(program, "product", lambda params, x: product(params, x) * 1.01)
    with pytest.raises(NotOk, match="without the product of the inputs, output is off by") as refused:
        without_product.hold(program)
    assert refused.value.status == "wrong"


@pytest.mark.quick
def test_what_leaves_the_product_out_are_the_kernels_of_triton_and_flashrnn():
    assert APART == ("triton", "flashrnn") and set(APART) <= set(Grid().backends)
    assert TritonProgram.product_apart and FlashrnnProgram.product_apart
    assert not TorchProgram.product_apart and not NativeProgram.product_apart
    case = Case("throughput", "gru", "torch", "cuda", "float32", 1, 5, 3, 4, 6, "forward")
    assert without_product.kernels_of(timed.PROBE.loaded(replace(case, device="cpu"), inputs(case))) is None


@pytest.mark.quick
def test_kernels_without_the_product_are_timed_beside_whole_runs(device, monkeypatch, tmp_path):
    monkeypatch.setattr(TorchBackend, "program", lambda self, cell, *arguments: Apart(cell, *arguments))
    grid = Grid(("gru",), (2,), (16,), ("float32",), ("torch", "native"), steps=3)
    statuses, frame = studied(grid, tmp_path)
    assert statuses == ["ok"] * 4
    alone = frame[frame.metric == without_product.METRIC]
    assert set(alone.backend) == {"torch"} and set(alone.direction) == {"forward", "backward"}
    assert (alone.value > 0).all()
