"""The file of what a notebook defines gives a worker the values that the notebook has."""

import linecache
import math

import numpy as np
import pytest

from cellbench.harness.runs.notebook import source
from cellbench.harness.runs.values import ConfigError

USER = "def used():\n    return VALUE\n"


def notebook(*texts):
    """The names after the cells have run, as a kernel runs them."""
    space = {"__name__": "__main__", "__builtins__": __builtins__}
    for number, text in enumerate(texts):
        file = f"/tmp/ipykernel_1/source_{number}.py"
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        exec(compile(text, file, "exec"), space)
    return space


def in_a_worker(name, *texts):
    """What the name stands for where nothing but the file of the last cell is there."""
    kept = source(name, texts[-1], notebook(*texts))
    space = {"__name__": "kept"}
    exec(compile(kept, "kept.py", "exec"), space)
    return space[name], kept


def come_back(value):
    space = notebook(USER) | {"VALUE": value}
    exec(source("used", USER, space), kept := {"__name__": "kept"})
    return kept["used"]()


@pytest.mark.parametrize("name", ["round", "abs", "sum"])
def test_a_function_that_is_named_as_a_builtin_is_the_notebooks_own(name):
    own = f"def {name}(x):\n    return 7\n"
    got, _ = in_a_worker("used", own, f"def used():\n    return {name}([-1])\n")
    assert got() == 7
    got, kept = in_a_worker("used", f"def used():\n    return {name}, __name__\n")
    assert got() == (getattr(__import__("builtins"), name), "kept") and "__main__" not in kept


PLAIN = [
    True,
    -3,
    0.1,
    math.inf,
    -math.inf,
    "a'b\"c\n",
    b"\0",
    None,
    (),
    (1,),
    [],
    [1, [2.5, -math.inf]],
    {"a": [1], 2: (None, math.inf)},
    {},
    {1, 2},
    set(),
    range(1, 9, 2),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_a_plain_value_of_another_cell_comes_back_equal(value):
    assert come_back(value) == value and type(come_back(value)) is type(value)


def test_a_nan_of_another_cell_comes_back():
    assert math.isnan(come_back(math.nan)) and math.isnan(come_back([{"a": math.nan}])[0]["a"])


ARRAYS = [
    np.array([0.1, math.inf, math.nan], np.float32),
    np.zeros((0, 3)),
    np.arange(6).reshape(2, 3).T,
    np.array(True),
    np.array([1, 2], ">i4"),
]


@pytest.mark.parametrize("value", ARRAYS, ids=repr)
def test_an_array_of_another_cell_comes_back_equal(value):
    got = come_back(value)
    assert got.dtype == value.dtype and got.shape == value.shape
    assert np.array_equal(got, value, equal_nan=value.dtype.kind == "f")


@pytest.mark.parametrize("value", [np.float64(0.1), np.float32(0.1), np.int64(3), np.bool_(True)])
def test_a_number_of_numpys_comes_back_of_its_type(value):
    assert come_back(value) == value and type(come_back(value)) is type(value)


ENDLESS: list = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "a object, which has no text"),
        ([1, np.random.default_rng(0)], "a Generator, which has no text"),
        (np.array([object()]), "a ndarray, which has no text"),
        (np.zeros(1_000_000), "too large to write down"),
        (ENDLESS, "nested too deep"),
        (lambda: 1, "a function, which has no text"),
    ],
)
def test_a_value_that_cannot_be_written_is_one_line_that_names_it(value, says):
    with pytest.raises(ConfigError, match=says) as raised:
        source("used", USER, notebook(USER) | {"VALUE": value})
    text = str(raised.value)
    assert text.startswith("used uses VALUE of the notebook") and "\n" not in text
    assert "make it inside used, or put both into a file" in text


def test_a_variable_of_a_functions_own_is_not_looked_for():
    text = "def used(model):\n    total = [model for model in (1, 2)]\n    return total\n"
    space = notebook(text) | {"model": object(), "total": object()}
    assert "object" not in source("used", text, space)


def test_what_the_cell_does_not_use_is_left_out():
    text = USER.replace("VALUE", "1") + "def other():\n    return MODEL\n"
    got, kept = in_a_worker("used", "MODEL = object()\n", text)
    assert got() == 1 and "other" not in kept


def test_the_latest_definition_of_a_name_counts():
    first, later = "def half(a):\n    return a / 3\n", "def half(a):\n    return a / 2\n"
    text = first + "def used():\n    return half(1)\n"
    space = notebook(text, later)
    exec(source("used", text, space), kept := {"__name__": "kept"})
    assert space["used"]() == kept["used"]() == 0.5


def test_what_is_wrapped_imported_or_without_methods_is_found():
    cells = (
        "from functools import lru_cache\nimport numpy as np\nfrom random import random\n",
        "from numpy import tanh\n",
        "@lru_cache\ndef half(a):\n    return a / 2\n",
        "class Odd(Exception):\n    pass\n\n"
        "def used():\n    return half(np.float64(1)), tanh(0.0), random() < 1, Odd\n",
    )
    got, _ = in_a_worker("used", *cells)
    assert got()[:3] == (0.5, 0.0, True) and issubclass(got()[3], Exception)


def test_a_definition_inside_another_statement_is_refused():
    text = "if True:\n    def used():\n        return 1\n"
    with pytest.raises(ConfigError, match="stands inside another statement"):
        source("used", text, notebook(text))
