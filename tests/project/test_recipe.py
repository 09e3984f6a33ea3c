"""The conda recipe says what pyproject.toml says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGE = PROJECT["project"]
RECIPE = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text())
# what conda-forge calls otherwise than PyPI does; seaborn-base is seaborn without statsmodels
NAMES = {"msgpack": "msgpack-python", "ray": "ray-core", "seaborn": "seaborn-base", "torch": "pytorch"}
DEVELOPERS = {"fuzz", "guided", "lint", "study", "test"}  # extras that a checkout alone has


def of_pip(requirement):
    """(conda's name, bounds) of 'torch>=2.6; sys_platform == ...'."""
    name, bounds = re.fullmatch(r"([\w.-]+)([<>=].*)?", requirement.partition(";")[0].strip()).groups()
    return NAMES.get(name, name), bounds or ""


def of_conda(requirement):
    name, _, bounds = requirement.partition(" ")
    return name, bounds


def floors(requirements):
    """One floor a name; two of one name must be the same."""
    pairs = {of_pip(one) for one in requirements}
    assert len(pairs) == len({name for name, _ in pairs}), sorted(pairs)
    return dict(pairs)


def test_it_runs_with_the_same_packages_of_the_same_floors():
    run = dict(map(of_conda, RECIPE["requirements"]["run"]))
    assert run.pop("__linux") == "" and "Operating System :: POSIX :: Linux" in PACKAGE["classifiers"]
    assert run.pop("python") == ">=${{ python_min }}"
    assert run == floors(PACKAGE["dependencies"])


def test_what_extras_bring_is_constrained_to_their_floors():
    extras = PACKAGE["optional-dependencies"]
    brought = [one for name in extras.keys() - DEVELOPERS for one in extras[name]]
    wanted = floors(one for one in brought if not one.startswith(PACKAGE["name"] + "["))
    assert dict(map(of_conda, RECIPE["requirements"]["run_constraints"])) == wanted


def test_it_is_built_with_the_same_tools_into_the_same_command():
    host = dict(map(of_conda, RECIPE["requirements"]["host"]))
    assert host == {"python": "${{ python_min }}.*", "pip": "", **floors(PROJECT["build-system"]["requires"])}
    scripts = dict(one.split(" = ") for one in RECIPE["build"]["python"]["entry_points"])
    assert scripts == PACKAGE["scripts"]


def test_it_names_the_same_package():
    assert RECIPE["package"]["name"] == PACKAGE["name"]
    context, about = RECIPE["context"], RECIPE["about"]
    assert (context["version"], f">={context['python_min']}") == (
        PACKAGE["version"],
        PACKAGE["requires-python"],
    )
    assert (about["license"], [about["license_file"]]) == (PACKAGE["license"], PACKAGE["license-files"])
    assert about["summary"] == PACKAGE["description"]


def test_another_floor_would_be_found():
    assert floors(["torch>=2.5"]) != {"pytorch": ">=2.6"} and of_pip("a-b>=1; x == 'y'") == ("a-b", ">=1")
    with pytest.raises(AssertionError, match="onnx"):
        floors(["onnx>=1", "onnx>=2"])
