"""The time of a run on paper: right in its limits, beside every triton row, null with a reason."""

import math
from dataclasses import replace

import pytest

from cellbench import cells, harness
from cellbench.cells.kernels.triton import prediction, remembered, resources
from cellbench.cells.kernels.triton.form import GRID, RESIDENT, SCAN, STEPWISE, Form, candidates
from cellbench.cells.kernels.triton.prediction import DEVICES, predict, products_s, step_time
from cellbench.cells.kernels.triton.resources import Chosen, Resources
from cellbench.cells.programs.prediction import Prediction
from cellbench.harness.case import Case
from cellbench.harness.probe import measure_cases

FORM, TAKEN = Form(True, 1, 4), Resources(98, 0, 49_152, 4, 280)
WORK = {"steps": 100, "batch": 16, "input_size": 32, "hidden_size": 64}
HALF = {"dtype": "bfloat16", "direction": "forward"}
H100 = DEVICES["H100"]


@pytest.fixture
def compiled(monkeypatch):
    """A compiler that answers at once, for both kernels."""
    chosen = Chosen(FORM, {"forward": TAKEN, "backward": replace(TAKEN, barriers=30)}, {})
    monkeypatch.setattr(prediction, "choose", lambda *_: chosen)
    monkeypatch.setattr(prediction, "missing", lambda: None)


@pytest.mark.quick
def test_a_step_is_counted_as_by_hand():
    time = step_time(H100, cells.get("gru"), 64, "bfloat16", FORM, TAKEN, "forward")
    weights, gates = 4 * 64 * 64, 3
    assert time.busy["issue"] == 280 * 4 / 4
    assert time.busy["weights"] == weights * 2 / 128 and time.busy["mma"] == weights * 16 / 1280
    kept = 4  # r, z, n and the recurrent part of n
    assert time.busy["global"] == (gates + kept + 1) * 64 * 2 / 64
    assert time.chain == 4 * 35 + 2 * 30 + 64 / 16 * 18 + 150
    assert time.cycles == 280 + time.chain and time.bound == "chain"
    exact = step_time(H100, cells.get("gru"), 64, "float32", FORM, TAKEN, "forward")
    assert exact.busy["mma"] == 6 * time.busy["mma"] and exact.busy["weights"] == 4 * time.busy["weights"]


@pytest.mark.quick
def test_a_grid_waits_once_a_step_and_a_launch_a_step_is_launched_so_often(monkeypatch):
    cell, seconds = cells.get("gru"), {}
    for kind in (RESIDENT, GRID, STEPWISE):
        spread = {"block_h": 32, "block_k": 64} if kind != RESIDENT else {}
        chosen = Chosen(Form(False, 16, 4, kind, **spread), {"forward": TAKEN, "backward": TAKEN}, {})
        monkeypatch.setattr(prediction, "choose", lambda *_, chosen=chosen: chosen)
        monkeypatch.setattr(prediction, "missing", lambda: None)
        seconds[kind] = predict(cell, **WORK | HALF).seconds
    assert seconds[GRID] > 100 * 1.6e-6 and seconds[STEPWISE] > 100 * 2e-6 > seconds[RESIDENT]


@pytest.mark.quick
def test_what_a_scan_s_loop_takes_is_of_all_steps_that_it_takes_at_once():
    cell = cells.get("mingru")
    scan = next(form for form in candidates(cell, 64, 1, 132, "bfloat16") if form.kind == SCAN)
    time = step_time(H100, cell, 64, "bfloat16", scan, TAKEN, "forward")
    assert scan.block_k == 32 and time.busy["issue"] == 280 * 4 / 4 / 32
    assert time.chain == (4 * 35 + 2 * 30 + 150) / 32
    assert step_time(H100, cell, 64, "bfloat16", scan, TAKEN, "backward").chain == 4 * 35 + 2 * 30 + 150


@pytest.mark.quick
@pytest.mark.parametrize(
    ("spec", "scanned"), [("mingru", True), ("s5", True), ("sru", False), ("gru", False)]
)
def test_only_what_is_affine_in_its_old_states_is_scanned_and_that_first(spec, scanned):
    forms = candidates(cells.get(spec), 64, 16, 132, "float32")
    assert [form.kind == SCAN for form in forms] == [scanned] + [False] * (len(forms) - 1)


@pytest.mark.quick
def test_time_grows_with_steps_and_waves_and_not_with_idle_processors(compiled):
    cell = cells.get("gru")

    def seconds(**more):
        return predict(cell, **WORK | HALF | more).seconds

    step_s = step_time(H100, cell, 64, "bfloat16", FORM, TAKEN, "forward").cycles / H100.hertz
    assert seconds(steps=10_100) - seconds(steps=10_000) == pytest.approx(100 * step_s, rel=0.02)
    assert seconds(batch=132) == pytest.approx(seconds(batch=16), rel=0.1)
    assert seconds(batch=133) == pytest.approx(2 * seconds(batch=132), rel=0.1)
    assert seconds(direction="backward") > 2 * seconds()
    stack = predict(cells.get("gru:layers=2"), **WORK | HALF).seconds
    assert stack == pytest.approx(2 * seconds(), rel=0.05)


@pytest.mark.quick
def test_products_outside_take_the_larger_of_arithmetic_and_memory():
    cell, small, large = cells.get("gru"), (1, 1, 1), (8192, 4096, 4096)
    flop = large[0] * large[1] * 3 * large[2]
    limit = flop / (128 * 132 * 1.83e9)
    assert products_s(H100, cell, *large, "float32", "forward") == pytest.approx(limit)
    assert products_s(H100, cell, *small, "float32", "forward") == pytest.approx(4 * (1 + 3 + 3) / 3.3e12)


@pytest.mark.quick
def test_the_device_is_named_and_one_without_constants_has_no_number(compiled):
    cell = cells.get("gru")
    here = predict(cell, **WORK, **HALF, device="NVIDIA H200")
    assert here.seconds < predict(cell, **WORK, **HALF).seconds
    assert here.line.startswith("predicted_s is of an H200, bound by chain; form: resident, 1 sequence")
    assert "forward 98 registers, 0 bytes spilled, 49,152 shared, 4 barriers a step" in here.line
    assert "of an H100, as no device is here" in predict(cell, **WORK, **HALF).line
    other = predict(cell, **WORK, **HALF, device="NVIDIA L4")
    assert math.isnan(other.seconds)
    assert "null: there are constants of A100, H100, H200, and none of NVIDIA L4" in other.line


@pytest.mark.quick
def test_without_a_kernel_or_triton_or_a_form_it_is_null_with_the_reason(monkeypatch):
    triton = cells.backend("triton")
    assert "products or means inside its step" in triton.predicted(cells.get("mgu"), **WORK, **HALF).line
    why = "cell 'mlstm' writes out its step, so it has no kernel of triton"
    assert triton.predicted(cells.get("mlstm"), **WORK, **HALF).line == f"predicted_s is null: {why}"
    none = Chosen(None, {}, {str(FORM): "forward: the compiler died"})
    monkeypatch.setattr(prediction, "choose", lambda *_: none)
    wide = predict(cells.get("lstm"), **WORK | HALF)
    assert math.isnan(wide.seconds) and "no kernel fits sm_90: no form; not resident" in wide.line
    monkeypatch.setattr(prediction, "missing", lambda: "triton is not installed; pip install it")
    assert predict(cells.get("lstm"), **WORK, **HALF).line == (
        "predicted_s is null: triton is not installed; pip install it"
    )


@pytest.mark.quick
def test_answers_of_the_compiler_are_kept_and_damaged_ones_asked_again(monkeypatch, tmp_path):
    monkeypatch.setenv("CELLBENCH_CACHE", str(tmp_path))
    asked, numbers = [], {"registers": 1, "instructions": 9}

    def answered(jobs):
        asked.append(jobs)
        return [{"error": "died"} if job.get("dies") else numbers for job in jobs]

    monkeypatch.setattr(resources, "answered", answered)
    jobs = [{"kernel": "forward"}, {"kernel": "backward"}]
    assert remembered.remembered(jobs) == remembered.remembered(jobs) == [numbers, numbers]
    assert len(asked) == 1
    for damage in ("{", "[]", '{"registers": "many"}', '{"other": 1}', "{}"):
        for file in (tmp_path / "resources").iterdir():
            file.write_text(damage)
        assert remembered.remembered(jobs) == [numbers, numbers]
    assert len(asked) == 6
    for _ in range(2):  # a failure is not kept
        assert remembered.remembered([{"dies": True}]) == [{"error": "died"}]
    assert len(asked) == 8


def test_every_triton_row_has_a_prediction_without_a_device_too(compiled):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    sizes = WORK
    of_graph, of_triton = (
        Case("throughput", "gru", backend, "cuda", "float32", **sizes, direction="forward")
        for backend in ("torch:mode=graph", "triton")
    )
    ended = {}
    measure_cases(lambda message: ended.update([message]), "throughput", {}, [of_graph, of_triton])
    graph, triton = ended[of_graph.id], ended[of_triton.id]
    assert graph.status == triton.status == "unavailable" and graph.series == []
    (predicted,) = triton.series
    assert predicted["metric"] == "predicted_s" and predicted["values"][0] > 0
    assert triton.reason.startswith(graph.reason)
    assert "predicted_s is of an H100, as no device is here, bound by" in triton.reason
    assert "form: resident" in triton.reason and "registers" in triton.reason


@pytest.mark.quick
def test_the_report_has_predictions_of_cases_without_a_result(tmp_path):
    from cellbench.harness import report, store

    case = Case("throughput", "gru", "triton", "cuda", "float32", **WORK, direction="forward")
    writer = store.create(tmp_path / "runs", {})
    known = {"metric": "predicted_s", "unit": "s", "values": [0.00125]}
    reason = f"no CUDA device; {Prediction(0.00125, 'of an H100, bound by mma').line}"
    writer.append(case.id, case.definition, "unavailable", series=[known], reason=reason, done=True)
    writer.close()
    folder = report.write(harness.load(tmp_path / "runs"), [], tmp_path / "page").parent
    text = (folder / "report.md").read_text()
    assert "Predicted on paper" in text and "1.25 ms" in text and "bound by mma" in text
