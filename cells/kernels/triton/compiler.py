"""Compiles printed kernels for a GPU that need not be there, in a process of its own.

    python -m cellbench.cells.kernels.triton.compiler < jobs

A job is a line of JSON, and so is each answer. Triton's compiler aborts on some kernels, which must not take
along whoever asks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ... import seal
from ...programs.formats import stored
from ..modules import load
from .spread import NUMBERS

TYPES = {"float32": "*fp32", "float64": "*fp64", "bfloat16": "*bf16", "float16": "*fp16"}
INTEGERS = {**dict.fromkeys(NUMBERS, "i32"), "arrived": "*i32"}
WIDE = ("d_unit_", "carried_")  # sums over steps, and what goes from one launch to the next
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?P<text>[^;]+);")
LABEL = re.compile(r"^(?P<name>\.L\w+):")
BRANCH = re.compile(r"\bBRA\b.*`\((?P<name>\.L\w+)\)")


def compiled(job: dict[str, Any]) -> Any:
    """What Triton makes of a kernel: `stem`, `text` of the module, `kernel`, `constants`, `dtype`, `warps`.

    `target` is a compute capability such as 90. Arrays of WIDE are float32 where the others are narrower.
    """
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = getattr(load(job["stem"], job["text"]), job["kernel"])
    constants = job["constants"] | {"DOT": getattr(tl, job["constants"]["DOT"])}
    wide = job["dtype"] if job["dtype"] == "float64" else "float32"

    def kind(name: str) -> str:
        if name in constants:
            return "constexpr"
        if name in INTEGERS:
            return INTEGERS[name]
        return TYPES[wide if name.startswith(WIDE) else stored(job["dtype"])]

    signature = {name: kind(name) for name in function.arg_names}
    aligned = [k for k, name in enumerate(function.arg_names) if signature[name].startswith("*")]
    source = ASTSource(
        fn=function,
        signature=signature,
        constexprs=constants,
        attrs={(k,): [["tt.divisibility", 16]] for k in aligned},
    )
    options = {"num_warps": job["warps"], "num_ctas": 1, "enable_fp_fusion": True}
    if "BLOCK_K" in constants:  # as the backend launches a spread form
        options |= {"num_stages": 1, "launch_cooperative_grid": "arrived" in signature}
    return triton.compile(source, target=GPUTarget("cuda", job["target"], 32), options=options)


def measured(job: dict[str, Any]) -> dict[str, int]:
    """Registers of a thread, bytes spilled, shared bytes; barriers and instructions of a step."""
    kernel = compiled(job)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage = _tool("cuobjdump", "-res-usage", file.name)
        listing = _tool("nvdisasm", "-c", file.name)
    registers, stack = map(int, re.search(r"REG:(\d+) STACK:(\d+)", usage).groups())  # type: ignore[union-attr]
    step = loop(listing)
    return {
        "registers": registers,
        "spilled_bytes": stack,
        "shared_bytes": kernel.metadata.shared,
        "barriers": sum("BAR.SYNC" in line for line in step),
        "instructions": len(step),
    }


def loop(listing: str) -> list[str]:
    """The instructions of the longest loop, which is that over the steps."""
    instructions: list[str] = []
    labels: dict[str, int] = {}
    longest = (0, 0)
    for line in listing.splitlines():
        if label := LABEL.match(line.strip()):
            labels[label["name"]] = len(instructions)
        elif found := INSTRUCTION.match(line):
            instructions.append(found["text"].strip())
            branch = BRANCH.search(found["text"])
            start = labels.get(branch["name"]) if branch else None
            if start is not None:
                longest = max(longest, (len(instructions) - start, start))
    length, start = longest
    return instructions[start : start + length]


def _tool(name: str, *arguments: str) -> str:
    """What one of the programs that Triton brings prints."""
    from triton import knobs

    program = Path(getattr(knobs.nvidia, name).path)
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Answers the jobs one after the other: what was measured, or the error's last line."""
    os.environ.setdefault("TRITON_CACHE_DIR", str(seal.cache_folder() / "triton"))
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = measured(json.loads(line))
        except Exception as error:  # whatever the compiler raises is an answer, and the next job is another
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[-1:]}"}
            # an assertion of Triton's own, perhaps told by another error
            answer["died"] = any(isinstance(e, AssertionError) for e in (error, error.__cause__))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
