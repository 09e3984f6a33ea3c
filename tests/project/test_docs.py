"""The pages of README and docs/: their code runs, their commands are planned, their links lead somewhere."""

import importlib
import inspect
import re
import shutil
import sys
import tomllib
import types
from pathlib import Path

import numpy as np
import pytest
from support import pages
from support.judges import functions_here
from support.pages import DOCS, PAGES, README, ROOT

from cellbench import harness
from cellbench.harness import task
from cellbench.harness.cli import main
from cellbench.harness.measure.verdict import reliability
from cellbench.harness.plugin.gate import Gate
from cellbench.harness.runs import in_python

SMALL = ["workload.steps=4", "workload.batch=2", "workload.hidden_size=3", "direction=forward"]
PYTHON = [block for page in PAGES for block in pages.blocks(page, "python")]
COMMANDS = [(page, command) for page in PAGES for command in pages.commands(page)]
CELLBENCH = {" ".join(c): c for _, c in COMMANDS if c[0] == "cellbench"}  # each once
LONG = {
    "claims": [],
    "import": [],
    "init": [],
    "publish": ["site"],
    "export": ["--as", "csv"],
    "data fetch": ["fetch"],
}  # only their arguments are read


def titled(block):
    number = [b for b in PYTHON if b.page == block.page].index(block)
    return f"{pages.name(block.page)}-{number}"


QUICK = {"throughput": {"processes": 1, "sample_s": 0.01}}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder as a reader has it: the examples, a run, and the files that the pages say to save."""
    import torch

    (tmp_path / "examples").symlink_to(ROOT / "examples")
    run = ROOT / "results" / "reference" / "speed" / "run"
    shutil.copytree(run, tmp_path / "results" / "runs" / "RUN")
    for block in PYTHON:
        if block.saved_as:
            (tmp_path / block.saved_as).write_text(block.code)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield tmp_path
    torch.set_num_threads(threads)


class Calls:
    """Stands for the fixture `cellbench`: takes what the real one takes, and counts."""

    def __init__(self):
        self.count = 0

    def __getattr__(self, name):
        method = getattr(Gate, name)

        def call(*arguments, **options):
            inspect.signature(method).bind(self, *arguments, **options)
            self.count += 1

        return call


@pytest.mark.parametrize("block", PYTHON, ids=titled)
def test_every_block_of_python_runs_as_written(block, place, monkeypatch, capsys):
    for library in re.findall(r"^(?:import|from) (keras|flax|equinox)\b", block.code, re.M):
        pytest.importorskip(library, reason=f"{library} is not installed; nox -s exchange runs this block")
    functions_here(monkeypatch)
    run, few = in_python.run, {"backends": ["numba"], "direction": "forward", "probe": QUICK}
    monkeypatch.setattr(in_python, "run", lambda **settings: run(**settings, **few))
    project = types.ModuleType("my_project")
    project.function = project.new = project.old = abs
    monkeypatch.setitem(sys.modules, "my_project", project)
    names = {"__name__": "block"}
    exec(compile(block.code, titled(block), "exec"), names)
    assert capsys.readouterr().out.startswith(block.prints or "")
    for name, value in names.items():
        if name.startswith("test_"):
            calls = Calls()
            value(calls)
            assert calls.count > 0


@pytest.mark.parametrize("command", CELLBENCH)
def test_every_command_runs_or_is_planned(command, place, capsys):
    _, verb, *arguments = CELLBENCH[command]
    if verb == "run" and arguments[:1] == ["resume=results/runs/RUN"]:
        assert main(["run", *arguments]) == 2
        assert "was made by commit" in capsys.readouterr().err
    elif verb == "run":
        assert main(["run", *({"--plan": None} | dict.fromkeys(arguments))]) == 0
        assert re.search(r"\bcases( each)?, about ", capsys.readouterr().out)  # of each trial of a search
    elif verb in ("compare", "regress"):
        options = [a for a in arguments if "=" in a and not a.startswith(("base=", "-"))]
        for selector in (a for a in arguments if verb == "compare" and "=" not in a):
            options.append(f"backends=[{selector.replace(':', ',')}]")
        assert main(["run", "--plan", "experiment=regress", *options]) == 0
        assert verb == "compare" or sum(a.startswith("base=") for a in arguments) == 1
    elif verb == "doctor":
        assert main([verb, *arguments, "--seconds", "0"]) == 0
    elif (given := LONG.get(verb, LONG.get(" ".join([verb, *arguments[:1]])))) is not None:
        assert main([verb, *given, "--help"]) == 0
    else:
        assert main([verb, *arguments]) == int(
            verb == "check"
        )  # the port of the examples is wrong on purpose


def test_every_verb_in_the_text_is_a_command(capsys):
    assert main(["--help"]) == 0
    known = set(re.findall(r"^ +(\w+)  ", capsys.readouterr().out, re.M))
    named = {verb for page in PAGES for verb in re.findall(r"`cellbench ([a-z_]+)", pages.text(page))}
    assert {"run", "report", "compare", "regress", "check"} <= named <= known


def test_every_other_command_is_one_that_a_reader_has():
    for page, command in COMMANDS:
        assert command[0] in ("cellbench", "python3", ".", "pip", "pytest", "git", "cd", ".venv/bin/pip") or (
            command[0].endswith("nox")
        ), (pages.name(page), command)


def test_every_session_in_the_text_is_one_of_noxfile():
    code = (ROOT / "noxfile.py").read_text()
    form = r"^@session(?:\(name=\"(.+)\"\))?\ndef (\w+)"
    known = {named or function for named, function in re.findall(form, code, re.M)}
    named = {n for page in PAGES for n in re.findall(r"nox -s ([a-z][\w-]*)", pages.text(page))}
    rows = re.findall(r"^\| `([\w-]+)` \|", pages.text(ROOT / "CONTRIBUTING.md"), re.M)
    assert named <= known
    assert set(rows) == known


def test_every_option_of_pytest_in_the_text_is_one_of_the_plugin(request):
    named = {o for page in PAGES for o in re.findall(r"--cellbench-\w+", pages.text(page))}
    assert "--cellbench-compare" in named
    for option in named:
        request.config.getoption(option)


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_every_link_leads_somewhere(page):
    for link in pages.links(page):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if page.parent.name == "docs" and target in ("contributing.md", "changelog.md"):
            file = ROOT / target.upper().replace(".MD", ".md")
        assert file.exists(), link
        assert not anchor or anchor in pages.anchors(file), link


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_no_sentence_has_more_than_25_words(page):
    """But for the line of error rates, which stands as the committed study has it."""
    stated = " ".join(reliability().split())
    long = [s for s in pages.sentences(page) if len(s.split()) > pages.MOST_WORDS and s not in stated]
    assert not long


def test_sentences_are_counted(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# " + "word " * 30 + "\n\n- One two. Three `four five` six.\n- Seven [eight nine](ten.md)\n"
    )
    assert pages.sentences(page) == ["One two.", "Three CODE six.", "Seven eight nine"]


def test_every_page_of_docs_is_in_the_navigation():
    named = set(re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    at_top = {"contributing.md", "changelog.md"}
    assert {page.relative_to(ROOT / "docs").as_posix() for page in DOCS} == named - at_top


def shown():
    """(name, object) of everything that the reference shows."""
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        form = r"^::: ([\w.]+)(?:\n    options:\n      members: \[(.*?)\])?"
        for path, members in re.findall(form, pages.text(page), re.M):
            thing = found(path)
            names = members.split(", ") if members else []
            if inspect.ismodule(thing):
                names = names or list(thing.__all__)
                yield from ((f"{path}.{n}", getattr(thing, n)) for n in names)
            else:
                yield path, thing


def found(path):
    """What a dotted path names: a module, or something in one."""
    module, _, name = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ImportError:
        return getattr(importlib.import_module(module), name)


def test_every_public_name_has_a_docstring():
    """A property may stand in the docstring of its class."""
    missing, count = set(), 0
    own = found("cellbench.cells")
    exported = ((f"cellbench.cells.{name}", getattr(own, name)) for name in own.__all__)
    for path, thing in [*shown(), *exported]:
        count += 1
        if not (getattr(thing, "__doc__", None) or "").strip() and not isinstance(thing, types.GenericAlias):
            missing.add(path)
        if not inspect.isclass(thing):
            continue
        for name, member in vars(thing).items():
            function = getattr(member, "fget", None) or getattr(member, "func", member)
            if name.startswith("_") or not inspect.isfunction(function) or inspect.getdoc(function):
                continue
            in_class = not inspect.isfunction(member) and re.search(rf"\b{name}\b", thing.__doc__ or "")
            inherited = any(inspect.getdoc(getattr(base, name, None)) for base in thing.__mro__[1:])
            if not in_class and not inherited:
                missing.add(f"{path}.{name}")
    assert count > 60
    assert not missing


def test_the_cell_of_the_docs_is_measured(place):
    alone = ["cells=[mgu.py:MGU]", "probes=[parameters,throughput]", "backends=[numpy,numba]"]
    assert main(["run", *alone, "probe.throughput.processes=1", *SMALL, "results=mine"]) == 0
    frame = harness.load("mine")
    assert set(frame.cell) == {"MGU"} and set(frame.status) == {"ok"}
    assert set(frame[frame.metric == "seconds"].backend) == {"numpy", "numba"}


def test_the_task_of_the_docs_is_drawn(place):
    data = task.draw("echo.py:Echo", np.random.default_rng(0))
    assert data.train.x.shape == (2000, 10, 1) and data.output_size == 1


@pytest.mark.parametrize("package", ["cells", "harness"])
def test_every_room_has_a_line_in_the_architecture(package):
    page = pages.text(ROOT / "docs" / "architecture.md")
    rooms = {folder.parent.name for folder in (ROOT / package).glob("*/__init__.py")}
    assert set(re.findall(rf"^\| \[(\w+)\]\(\.\./{package}/\w+\)", page, re.M)) == rooms


def test_every_extra_has_a_line():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = pages.text(ROOT / "docs" / "index.md").partition("| extra |")[2].partition("\n## ")[0]
    told = re.findall(r"^\| (`.*?) \|", table, re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(told))) == set(extras)


def test_the_citation_has_what_the_format_asks_for():
    """The required keys of CFF 1.2.0, and the version and licence of the package."""
    import yaml

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["cff-version"] == "1.2.0" and cited["message"] and cited["title"] and cited["authors"]
    assert all(set(author) & {"name", "family-names"} for author in cited["authors"])
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


def test_readme_is_short():
    assert len(pages.text(README).splitlines()) <= 150


def test_paths_of_the_repository_in_the_text_exist():
    for page in PAGES:
        for path in re.findall(
            r"`((?:cells|harness|conf|results|tests|examples)/[\w/.-]+)`", pages.text(page)
        ):
            made_by_a_command = path.startswith(
                ("results/runs", "results/reports", "results/history", "results/regress", "results/gpu")
            )
            assert made_by_a_command or Path(ROOT / path).exists(), (pages.name(page), path)
