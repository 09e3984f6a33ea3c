"""Readers and cleaners against whatever hypothesis makes up; it shrinks what fails. `nox -s fuzz` tries more.

CELLBENCH_FUZZ is the number of examples of each property.
"""

import json
import os

import pytest

from cellbench.harness import screen
from cellbench.harness.runs.compose import compose, quoted
from cellbench.harness.runs.values import ConfigError
from cellbench.harness.store import block, files, manifest

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402, after the skip
from hypothesis import strategies as st  # noqa: E402

many = settings(max_examples=int(os.environ.get("CELLBENCH_FUZZ", 100)), deadline=None, print_blob=True)
words = st.text(max_size=30) | st.sampled_from(["\x1b[2J", "\u202e", "\ud800", "../x", "evil.py:Evil"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | words
values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=5) | st.dictionaries(words, v, max_size=5), max_leaves=30
)


@many
@given(st.binary(max_size=200) | values.map(lambda v: json.dumps(v).encode()))
def test_json_is_a_value_within_bounds_or_a_value_error(content):
    try:
        value = files.parse(content)
    except ValueError:
        return
    files.check_bounds(value)


@many
@given(
    st.dictionaries(
        st.sampled_from(["run", "config", "git", "versions", "machine", "machine_key", "command", "code"]),
        values,
    )
)
def test_a_manifest_is_taken_or_a_value_error_and_a_seal_is_of_one_content(content):
    try:
        manifest.check(content)
    except ValueError:
        return
    sealed = manifest.sealed(content)
    assert manifest.is_ours(sealed) and not manifest.is_ours(sealed | {"run": "another"})


@many
@given(
    st.binary(max_size=300)
    | st.fixed_dictionaries(dict.fromkeys(block.KINDS, values)).map(lambda v: json.dumps(v).encode())
)
def test_a_block_is_read_or_a_block_error(line):
    try:
        found = block.decode(line)
    except block.BlockError:
        return
    assert block.decode(json.dumps(found | {"series": []}).encode())["case"] == found["case"]


@many
@given(st.text())
def test_what_is_cleaned_stays_so_and_has_nothing_that_a_terminal_obeys(text):
    line = screen.one_line(text)
    assert screen.one_line(line) == line and "\n" not in line
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or "\ud800" <= c <= "\udfff" for c in line)


keys = st.sampled_from(
    ["cells", "seeds", "workload.steps", "match", "probe.throughput.samples", "x", "hydra.x"]
)
texts = st.text(st.sampled_from("[]{}(),:=+~'\"\\$.%@!*ab1 \u00e9\n"), max_size=25)


@settings(many, max_examples=max(20, many.max_examples // 10))
@given(st.builds("{}{}={}".format, st.sampled_from(["", "+", "++", "~"]), keys, texts))
def test_an_override_is_composed_or_a_config_error(override):
    try:
        compose([quoted(override)])
    except ConfigError as error:
        assert "\n" not in str(error)
