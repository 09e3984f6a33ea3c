"""Tasks stand on the page by their shape, so that one of many is found."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from support.report_rows import written
from support.training_rows import rows

from cellbench.harness import task
from cellbench.harness.report.frame import prepare
from cellbench.harness.report.shapes import BUILT_IN, OTHER, of_name, shape_of


def trained(name, shape=""):
    """A training without curves, which needs no drawing."""
    every = [row for row in rows("gru", [0.3], name) if row["metric"] == "best_test_loss"]
    return every + [row | {"metric": f"shape.{shape}", "value": 1.0} for row in every if shape]


@pytest.mark.quick
def test_tasks_of_several_shapes_stand_under_a_heading_each_by_name(tmp_path):
    every = trained("splice") + trained("translation") + trained("adding")
    page, text = written(every + trained("mine", "one to many"), tmp_path)
    assert re.findall(r"^###? (T.*)$", text, flags=re.M)[1:] == [
        "Tasks, many to one",
        "Training: adding",
        "Training: splice",
        "Tasks, one to many",
        "Training: mine",
        "Tasks, sequence to sequence",
        "Training: translation",
    ]
    groups = re.findall(r'<span class="group">(.*?)</span>', page)
    assert [re.findall(r">(\w+)<", one) for one in groups] == [
        ["adding", "splice"],
        ["mine"],
        ["translation"],
    ]
    assert "| mine | one to many |" in text


def test_tasks_of_one_shape_need_no_heading(tmp_path):
    _, text = written(trained("splice") + trained("adding"), tmp_path)
    assert "## Tasks" not in text and text.index("## Training: splice") < text.index("## Training: adding")


@pytest.mark.parametrize(
    ("name", "shape"),
    [("digits:by=pixel", "many to one"), ("parity:last=true", OTHER), ("my.py:Mine", OTHER), ("lost", OTHER)],
)
def test_a_task_that_recorded_no_shape_has_that_of_the_built_in_one_or_none(name, shape):
    assert shape_of(prepare(pd.DataFrame(trained(name))), name) == shape


def test_a_recorded_shape_that_there_is_not_is_none():
    assert (
        shape_of(
            prepare(
                pd.DataFrame(trained("mine", "<b>")),
            ),
            "mine",
        )
        == OTHER
    )


def test_every_built_in_task_stands_in_the_list_once():
    assert sorted(name for some in BUILT_IN.values() for name in some) == task.names()


@pytest.mark.parametrize("name", ["chaotic_map", "linear_system", "oscillator", "pendulum"])
def test_the_shape_of_a_system_is_that_of_its_data(name):
    """Those of all other tasks are held where their data are tested."""
    assert task.get(name).data(np.random.default_rng(0)).shape == of_name(name)
