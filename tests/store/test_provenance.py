"""The machine key: what decides a time is in it, and nothing that changes by the hour."""

import json
import subprocess
import sys

import pytest

from cellbench.harness.store import provenance

pytestmark = pytest.mark.quick

KEY = {
    "cpu": "A",
    "cores": 8,
    "isa": ["avx2"],
    "gpu": None,
    "torch": "2.12.1",
    "cuda": None,
    "cudnn": None,
    "threads": 1,
}


def test_the_key_names_what_decides_a_time_and_nothing_that_changes_by_the_hour():
    assert provenance.key(1) == provenance.key(1)
    assert set(provenance.key(1)) == set(KEY) and provenance.key(2)["threads"] == 2
    assert json.loads(json.dumps(provenance.key(1))) == provenance.key(1)


def test_the_key_is_found_without_importing_torch():
    code = "import sys; from cellbench.harness.store.provenance import key; key(1); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" not in done.stdout.split()


def test_versions_in_the_key_are_those_that_torch_itself_tells():
    import torch

    assert provenance.key(1)["torch"] == torch.__version__ and provenance.key(1)["cuda"] == torch.version.cuda


def test_the_cuda_version_is_read_from_torch_s_text(tmp_path, monkeypatch):
    folder = tmp_path / "torch"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('torch was imported')")
    monkeypatch.setattr(
        provenance.importlib.util,
        "find_spec",
        lambda name: type("Spec", (), {"origin": folder / "__init__.py"}),
    )
    assert provenance.key(1)["cuda"] is None  # no version.py
    (folder / "version.py").write_text(
        "__version__ = '2.9.1+cu128'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n"
    )
    assert provenance.key(1)["cuda"] == "12.8"


def test_arm_processors_are_known_by_their_numbers_and_features(tmp_path, monkeypatch):
    text = (
        "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t:"
        " 0xd40\n\nprocessor\t: 1\n"
    )
    (tmp_path / "cpuinfo").write_text(text)
    fields = provenance._cpu_fields(tmp_path / "cpuinfo")
    monkeypatch.setattr(provenance, "_cpu_fields", lambda: fields)
    key = provenance.key(1)
    assert key["isa"] == ["asimd", "sve"] and key["cpu"].endswith("CPU implementer 0x41, CPU part 0xd40")


def test_equal_keys_have_one_hash_in_any_order_and_every_field_changes_it():
    hashes = {provenance.key_of({"machine_key": KEY | {name: "other"}}) for name in KEY}
    same = provenance.key_of({"machine_key": dict(reversed(KEY.items()))})
    assert same == provenance.key_of({"machine_key": KEY}) and len(same) == 12
    assert len(hashes | {same}) == len(KEY) + 1


@pytest.mark.parametrize(
    "manifest", [{}, {"machine_key": None}, {"machine_key": {}}, {"machine_key": "text"}]
)
def test_a_run_without_a_key_is_nobody_s_baseline(manifest):
    assert provenance.key_of(manifest) is None


def test_differences_of_two_keys_are_named():
    other = KEY | {"torch": "2.13.0", "isa": ["avx2", "avx512f"], "gpu": "H200"}
    assert provenance.differences(KEY, KEY) == []
    assert provenance.differences(KEY, other) == [
        "isa: avx2 and avx2 avx512f",
        "gpu: none and H200",
        "torch: 2.12.1 and 2.13.0",
    ]


def test_a_manifest_names_command_configuration_and_origin():
    manifest = provenance.manifest("cellbench run seeds=1", {"seeds": 1}, threads=3)
    assert (manifest["command"], manifest["config"]) == ("cellbench run seeds=1", {"seeds": 1})
    assert manifest["machine_key"] == provenance.key(3)
    origin = provenance.origin()
    assert manifest.keys() == {"command", "config", "machine_key", *origin}
    assert (
        origin.keys() == {"created", "git", "versions", "machine", "code"}
        and origin["git"] == provenance.git()
    )
