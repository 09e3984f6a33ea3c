"""What Triton's compiler makes of printed kernels for GPUs that are not here: exactly what was recorded."""

import importlib.metadata
import json
import re
import subprocess
import sys

import pytest

from cellbench import cells
from cellbench.cells.backends import triton as of_backend
from cellbench.cells.checking.kernels import compiled
from cellbench.cells.checking.kernels.problem import Sizes
from cellbench.cells.kernels import questions
from cellbench.cells.kernels.triton import compiler, remembered, resources
from cellbench.cells.kernels.triton.form import GRID, STEPWISE, Form
from cellbench.cells.programs.backend import Backend, Unsupported
from cellbench.harness import programs
from cellbench.harness.case import Case
from cellbench.harness.cli import main
from cellbench.harness.probe import NotOk
from cellbench.harness.studies import resources as of_study
from cellbench.harness.studies.gpu.pretend import pretend_cuda
from cellbench.harness.studies.resources import FOLDER, differences, printable, recorded, table
from cellbench.harness.studies.resources import main as study

compiles = pytest.mark.skipif(
    resources.missing() is not None, reason="triton is not installed; it is in the extra test, on Linux"
)
RECORDED = {file.stem: json.loads(file.read_text())["rows"] for file in FOLDER.glob("*.json")}
ROWS = {f"{name} {key}": row for name, rows in RECORDED.items() for key, row in rows.items()}
WORK = {"steps": 3, "batch": 2, "input_size": 5, "hidden_size": 7, "dtype": "float32", "direction": "forward"}
SHOW = ("show", "--kernel", "triton")
EXACT = [("elman", "float32", 64, "sm_90"), ("gru", "bfloat16", 128, "sm_80")]


@pytest.mark.quick
def test_what_is_recorded_are_the_cells_that_have_kernels():
    assert {name for name, *_ in EXACT} <= set(RECORDED) == set(printable())


@compiles
@pytest.mark.quick
@pytest.mark.parametrize("name", ["mgu", "mlstm"])
def test_a_cell_without_kernels_has_no_resources_in_one_line(name, capsys):
    with pytest.raises(SystemExit) as ended:
        study([name, "--check"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and f"'{name}' has no kernel; these have: antisymmetric, " in error


@pytest.mark.quick
@pytest.mark.parametrize("label", ROWS)
def test_no_recorded_kernel_spills_or_has_many_barriers(label):
    row = ROWS[label]
    assert not row["forward"]["spilled_bytes"] and not row["backward"]["spilled_bytes"]
    assert row["backward"]["barriers"] <= 12
    if row["form"].startswith("grid"):
        assert row["forward"]["barriers"] <= 8
    elif "one product" in row["form"]:
        assert row["forward"]["barriers"] <= 4
    elif not row["refused"]:  # a single gate, or two states fed back
        assert row["forward"]["barriers"] <= 8


@compiles
@pytest.mark.parametrize(("name", "dtype", "hidden", "target"), EXACT)
def test_the_compiler_says_exactly_what_was_recorded(name, dtype, hidden, target):
    (key,) = rows = table(name, ((dtype, hidden),), (target,))
    assert not differences(name, rows, {key: recorded(name)[key]})


def test_a_barrier_more_than_recorded_is_a_difference():
    was = recorded("gru")
    key = next(key for key, row in was.items() if row["form"])
    more = was[key]["forward"] | {"barriers": was[key]["forward"]["barriers"] + 1}
    assert differences("gru", was | {key: was[key] | {"forward": more}}, was)
    assert differences("gru", {}, was) and not differences("gru", was, was)


def test_what_does_not_fit_is_refused_without_compiling():
    asked = []

    def ask(jobs):
        asked.extend(jobs)
        return [{"registers": 64} for _ in jobs]

    chosen = resources.choose(cells.get("lstm"), 1024, 16, "bfloat16", "sm_90", ask)
    assert chosen.form.kind == GRID and chosen.form.block_h == 16 and len(asked) == 2
    packed, plain, of_32 = chosen.refused.values()
    assert packed == plain and "8,388,608 bytes of shared memory, and sm_90 has 231,424" in packed
    assert "262,144 bytes" in of_32
    assert str(chosen).startswith("grid, 16 sequences and 16 units") and "not resident" in str(chosen)


def test_forms_are_tried_in_their_order_and_a_launch_a_step_is_taken_though_it_spills():
    def chosen(taken, batch=16, hidden=64, dtype="bfloat16"):
        def ask(jobs):
            launched = "arrived" not in jobs[0]["text"] and "carried" in jobs[0]["text"]
            kind = STEPWISE if launched else GRID if "BLOCK_K" in jobs[0]["constants"] else "resident"
            return [taken[kind]] * len(jobs)

        return resources.choose(cells.get("lstm"), hidden, batch, dtype, "sm_90", ask)

    fits, spills, dies = {"registers": 1}, {"spilled_bytes": 8}, {"error": "died"}
    every = {"resident": fits, GRID: fits, STEPWISE: fits}
    assert chosen(every).form.kind == "resident"
    assert chosen(every | {"resident": spills}).form.kind == GRID
    # more programs than multiprocessors cannot wait for each other
    crowded = chosen(every | {"resident": spills}, batch=16 * 133)
    assert crowded.form.kind == STEPWISE
    assert "266 programs wait for each other, and 132 multiprocessors" in str(crowded)
    last = chosen(every | {"resident": spills, GRID: spills, STEPWISE: spills})
    assert last.form.kind == STEPWISE and last.kernels["forward"].spilled_bytes == 8
    assert chosen(dict.fromkeys(every, dies)).form is None
    assert "in 8 pieces, and more than 4" in Form(False, 16, 4, GRID, 8, 256).too_long(
        cells.get("lstm"), 2048
    )
    wide = chosen(every, batch=2**31 // 256)
    assert wide.form.kind == STEPWISE and "2,147,483,648 gate values" in str(wide)


@pytest.mark.quick
def test_a_step_that_32_bits_do_not_address_is_refused():
    lstm, resident = cells.get("lstm"), Form(True, 16, 8)
    assert resident.too_wide(lstm, 64, 2**31 // 256 - 1) is None
    assert "2,147,483,648 gate values" in resident.too_wide(lstm, 64, 2**31 // 256)
    assert "2,147,580,964 recurrent weights" in Form(False, 16, 4, GRID, 8, 64).too_wide(lstm, 23171, 1)
    assert Form(False, 16, 4, STEPWISE, 8, 64).too_wide(lstm, 64, 2**31 // 256) is None


def test_the_weights_are_a_lower_bound_of_the_shared_memory():
    for label, row in ROWS.items():
        name, size, hidden, _ = label.split()
        if row["form"]:
            form = Form("one product" in row["form"], 1, 8)
            if found := re.match(r"grid, .* (\d+) units", row["form"]):
                form = Form(False, 16, 4, GRID, int(found[1]))
            cell, units = cells.get(name), cells.get(name).units(int(hidden[2:]))
            assert form.weight_bytes(cell, units, size) <= row["forward"]["shared_bytes"]


@pytest.fixture
def dying(monkeypatch):
    """A process that answers a question, and dies of the next; what each was asked."""
    told = []

    def run(command, input, **options):
        told.append(input.splitlines())
        answers = (
            'import os,sys; print("{}", flush=True); [os.abort() for _ in sys.stdin.read().splitlines()[1:]]'
        )
        return subprocess.run([sys.executable, "-c", answers], input=input, **options)

    monkeypatch.setattr(questions, "subprocess", type("", (), {"run": staticmethod(run)}))
    return told


def test_a_compiler_that_dies_is_an_answer_and_the_next_job_another(dying):
    first, second, third = resources.answered([{"job": k} for k in range(3)])
    assert first == third == {} and "died with code -6" in second["error"]
    assert [len(jobs) for jobs in dying] == [3, 1]


def test_a_kernel_that_is_checked_takes_no_later_one_along_when_its_compiler_dies(dying):
    first, second, third = compiled.answers(
        [compiled.CompiledJob("gru", "float32", Sizes(2, 2, 3, 16), 90)] * 3
    )
    assert first == third == {} and "the compiler's process died with code -6" in second["failed"]
    assert [len(jobs) for jobs in dying] == [3, 1]


def test_the_loop_of_a_listing_is_its_longest_one():
    listing = """
.text.forward:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0020*/                   HMMA.16816.F32 R4, R8, R2, R4 ;
        /*0030*/              @!P0 BRA `(.L_x_0) ;
        /*0040*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0050*/                   EXIT ;
.L_x_1:
        /*0060*/                   BRA `(.L_x_1);
"""
    assert [line.split()[0] for line in compiler.loop(listing)] == [
        "BAR.SYNC.DEFER_BLOCKING",
        "HMMA.16816.F32",
        "@!P0",
    ]


class Limited(Backend):
    def program(self, cell, *arguments):
        raise Unsupported("hidden_size 7 does not fit")


def test_a_size_that_fits_no_form_is_an_unsupported_row(monkeypatch):
    case = Case(
        "throughput",
        "gru",
        "limited",
        "cpu",
        "float32",
        steps=3,
        batch=2,
        input_size=5,
        hidden_size=7,
        direction="forward",
    )
    monkeypatch.setattr(cells, "backend", lambda name: Limited())
    with pytest.raises(NotOk, match="hidden_size 7 does not fit") as refused:
        programs.prepare(case, cells.get("gru").init(5, 7))
    assert refused.value.status == "unsupported"


DIES, LARGE = "the compiler died with code -6: LLVM ERROR", {"shared_bytes": 999_999}


@compiles
@pytest.mark.quick
@pytest.mark.parametrize(
    ("resident", "spread", "status"),
    [
        ({"error": DIES, "died": True}, {"error": DIES, "died": True}, "crashed"),
        (LARGE, {"error": DIES, "died": True}, "crashed"),
        (LARGE, {"error": "CompilationError: no"}, "unsupported"),
        ({"error": DIES, "died": True}, {"registers": 1}, None),
    ],
)
def test_a_compiler_that_dies_of_the_forms_that_are_left_is_a_crashed_row(
    resident, spread, status, monkeypatch
):
    def answered(jobs):
        return [spread if "BLOCK_K" in job["constants"] else resident for job in jobs]

    monkeypatch.setattr(of_backend, "remembered", answered)
    case = Case("throughput", "elman", "triton", "cuda", **WORK)
    params = cells.get("elman").init(5, 7)
    with pretend_cuda():
        if status is None:
            assert programs.prepare(case, params).form.kind == GRID
            return
        with pytest.raises(NotOk) as stopped:
            programs.prepare(case, params)
    assert stopped.value.status == status
    assert (DIES in stopped.value.reason) == (status == "crashed")


@compiles
def test_what_triton_asserts_is_told_as_its_own_death(monkeypatch, capsys):
    def asserts(job):
        try:
            assert not job, "layouts differ"
        except AssertionError as error:
            raise ValueError("at 3:1") from (error if job["own"] else None)

    monkeypatch.setattr(compiler, "measured", asserts)
    monkeypatch.setattr(sys, "stdin", ['{"own": true}', '{"own": false}'])
    compiler.main()
    assert [json.loads(line)["died"] for line in capsys.readouterr().out.splitlines()] == [True, False]


@compiles
def test_show_prints_the_resources_of_a_form_and_why_not_another(capsys):
    assert main([*SHOW, "elman", "--resources", "sm_90", "--hidden-size", "256"]) == 0
    text = capsys.readouterr().out
    assert "524,288 bytes of shared memory, and sm_90 has 231,424" in text  # in float32
    assert "elman on sm_90 at H 256, B 16" in text and "bfloat16  backward" in text


@compiles
def test_show_prints_the_resources_of_the_format_that_is_asked_for_alone(capsys):
    assert main([*SHOW, "elman", "--resources", "sm_90", "--dtype", "float16", "--hidden-size", "16"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row[0].startswith(("float", "bfloat", "tf"))] == [
        ["float16", "forward"],
        ["float16", "backward"],
    ]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("show lstm --kernel numba --resources sm_90", "leave out --kernel, or give --kernel triton"),
        ("show lstm --kernel triton --resources sm_9", "did you mean 'sm_90'?"),
        ("show lstm --kernel cuda", "values: numba, triton"),
        ("show mgu --kernel triton", "products or means inside its step"),
    ],
)
def test_what_cannot_be_shown_is_one_line(words, says, capsys):
    assert main(words.split()) == 2
    assert says in capsys.readouterr().err


@compiles
@pytest.mark.quick
def test_a_triton_of_another_distribution_has_its_own_version(monkeypatch, tmp_path):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setenv("CELLBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(resources, "answered", lambda jobs: [{"registers": 1} for _ in jobs])
    assert remembered.remembered([{"kernel": "forward"}]) == [{"registers": 1}]
    monkeypatch.setattr(of_study, "FOLDER", tmp_path)
    monkeypatch.setattr(of_study, "table", lambda *_: {})
    of_study.record("elman")
    assert json.loads((tmp_path / "elman.json").read_text())["triton"] == sys.modules["triton"].__version__


@pytest.mark.quick
@pytest.mark.parametrize("raised", [ImportError("libtriton.so: cannot open"), RuntimeError("no\nversion")])
def test_a_triton_that_cannot_be_imported_makes_rows_unavailable(raised, monkeypatch, tmp_path):
    (tmp_path / "triton.py").write_text(f"raise {raised!r}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    reason = f"triton cannot be imported: {type(raised).__name__}: {' '.join(str(raised).split())}"
    case = Case("throughput", "gru", "triton", "cuda", **WORK)
    with pretend_cuda(), pytest.raises(NotOk) as stopped:
        programs.prepare(case, cells.get("gru").init(5, 7))
    assert (stopped.value.status, stopped.value.reason) == ("unavailable", reason)
    assert cells.backend("triton").predicted(cells.get("gru"), **WORK).line.endswith(reason)


@pytest.mark.quick
def test_a_folder_of_its_name_is_no_triton(monkeypatch, tmp_path):
    (tmp_path / "triton").mkdir()
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert resources.missing().startswith("triton is not installed")


def test_without_triton_show_says_what_to_install(monkeypatch, capsys):
    find = resources.importlib.util.find_spec
    monkeypatch.setattr(
        resources.importlib.util,
        "find_spec",
        lambda name, *more: (name != "triton" and find(name, *more)) or None,
    )
    assert main([*SHOW, "lstm", "--resources", "sm_90"]) == 2
    assert "pip install 'cellbench[triton]'" in capsys.readouterr().err
