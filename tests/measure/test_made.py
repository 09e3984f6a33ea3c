"""What a study's page says of how it was made."""

import re

import pytest

from cellbench.harness.store import provenance
from cellbench.harness.studies.made import made


@pytest.mark.parametrize(
    ("git", "words"),
    [
        ({"commit": "0123456789abcdef", "dirty": False}, "commit 0123456789ab on "),
        ({"commit": "0123456789abcdef", "dirty": True}, "commit 0123456789ab with uncommitted changes on "),
        ({}, "an installed package on "),
    ],
)
def test_the_sentence_names_command_code_processor_day_and_load(git, words, monkeypatch):
    monkeypatch.setattr(provenance, "git", lambda: git)
    monkeypatch.setattr(provenance, "fingerprint", lambda: {"cpu": "Some CPU"})
    start = re.escape(f"Made by `nox -s anchors` with {words}Some CPU, ")
    assert re.fullmatch(start + r"\d{4}-\d\d-\d\d, load \d+\.\d\.", made("nox -s anchors"))
