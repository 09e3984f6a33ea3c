"""Which of cuDNN's algorithms ran, from the kernels that a profiler saw.

PyTorch picks one silently: by hidden size, batch, format, layers and chip.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

STATIC = re.compile(r"\bRNN_persist_(fp|bp)")  # the whole sequence; weights in registers by a fixed plan
PERSISTENT = re.compile(r"\bRNN_blockPersist_(fp|bp)_\w+")  # the whole sequence, for a small hidden size
# one a step, beside a product a step
STANDARD = re.compile(r"\b(elemWiseRNNcell|[A-Z]+_elementWise_(fp|bp)\d*)\b")
PRODUCT = re.compile(r"(gemm|gemv|nvjet|cutlass|splitK|xmma)", re.IGNORECASE)
# what stands beside: biases, weights laid out anew, copies, sums
AROUND = re.compile(
    r"(persistRNN_(addBias|init)|at::native|elementwise_kernel|reduce_kernel|transpose|nchwToNhwc|nhwcToNchw|Memcpy"
    r"|Memset|scal_kernel|fillKernel|CatArrayBatchedCopy|copy_kernel)",
    re.IGNORECASE,
)
NONE = "no kernels"
SHOWN = 3  # unknown names


def algorithm(launches: Mapping[str, int], steps: int, layers: int = 1) -> str:
    """cuDNN's algorithm from how often each kernel was launched in a run over so many steps.

    persistent, static persistent, standard, several with those that ran, or unknown with the names that say
    nothing known. A persistent kernel is launched about once a layer, a standard one each step. `layers`
    counts directions too.
    """
    found, unknown = set(), []
    for name, count in launches.items():
        if STATIC.search(name):
            kind = "static persistent"
        elif PERSISTENT.search(name):
            kind = "persistent"
        elif STANDARD.search(name):
            kind = "standard"
        elif PRODUCT.search(name) or AROUND.search(name):
            continue
        else:
            unknown.append(name)
            continue
        # one that is launched otherwise than its name says is none of those that are known here
        if steps > 1 and (count >= steps * layers) != (kind == "standard"):
            unknown.append(f"{name} ({count} launches in {steps} steps)")
        else:
            found.add(kind)
    if unknown:
        rest = len(unknown) - SHOWN
        return f"unknown: {', '.join(sorted(unknown)[:SHOWN])}" + (f" and {rest} more" if rest > 0 else "")
    if len(found) > 1:
        return f"several: {', '.join(sorted(found))}"
    return found.pop() if found else f"unknown: {'products alone' if launches else NONE}"


def operations(run: Callable[[], Any]) -> set[str]:
    """Names of the operations that PyTorch dispatches in a run."""
    from torch.utils._python_dispatch import TorchDispatchMode

    called: set[str] = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            called.add(str(func))
            return func(*args, **(kwargs or {}))

    with Watch():
        run()
    return called


def launches(run: Callable[[], Any], trace: Path | None = None) -> dict[str, int]:
    """How often each kernel is launched on CUDA in a run; its trace, as Chrome reads it, goes into a file."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    run()  # what is done once alone, such as the choice of an algorithm, is no part of it
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    if trace is not None:
        profiler.export_chrome_trace(str(trace))
    return {event.key: event.count for event in profiler.key_averages() if event.device_time_total}
