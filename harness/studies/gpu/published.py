"""Times that FlashRNN's authors have published, for the study's page: nothing here was measured by it.

Milliseconds as the bars of the figure head_dim--lstm.svg in the README of github.com/NX-AI/flashrnn say them
(commit d73fb52); the notebook beside it, plot_head_dim_results--withbaselines.ipynb, names the workload.
"""

from __future__ import annotations

from ...report.units import digits

SOURCE = "https://github.com/NX-AI/flashrnn/blob/d73fb52/head_dim--lstm.svg"
STEPS = 1024
HEADS = ((48, 16), (24, 32), (12, 64), (6, 128), (3, 256), (1, 768))  # number, size; 768 units in all
MEMORY = None  # out of shared memory
FORWARD = {
    "FlashRNN, CUDA fused": (3.56, 2.9, 3.1, 3.22, 3.62, 4.87),
    "FlashRNN, CUDA alternating": (7.84, 8.12, 8.19, 8.8, 10.47, 10.79),
    "FlashRNN, Triton fused": (1.97, 1.44, 1.99, 3.23, MEMORY, MEMORY),
}
BOTH = {
    "FlashRNN, CUDA fused": (8.22, 8.2, 8.64, 9.02, 11.3, 13.61),
    "FlashRNN, CUDA alternating": (17.88, 18.8, 20.5, 21.66, 33.48, 26.49),
    "FlashRNN, Triton fused": (3.47, 4.1, 18.94, MEMORY, MEMORY, MEMORY),
}
CUDNN = {"forward": 2.01, "forward+backward": 5.19}  # torch.nn.LSTM in float16, which has one head
NOTE = (
    f"Microseconds a step of an LSTM of 768 units on an H100 SXM, B = 16, T = {STEPS}. FlashRNN's are in"
    " bfloat16 and without the inputs' product, torch.nn.LSTM's in float16. **Published** by its authors"
    f" in [a figure]({SOURCE}) of their repository, not measured here. ×: out of shared memory."
)


def markdown() -> list[str]:
    """The lines of the section."""
    titles = ["published", "direction", *(f"{number} × {size}" for number, size in HEADS)]
    lines = ["## Published", "", NOTE, "", f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for direction, rows in (("forward", FORWARD), ("forward+backward", BOTH)):
        lines += [_row(name, direction, [_entry(ms) for ms in times]) for name, times in rows.items()]
        alone = ["–"] * (len(HEADS) - 1)
        lines.append(_row("torch.nn.LSTM", direction, [*alone, _entry(CUDNN[direction])]))
    return lines


def _row(name: str, direction: str, entries: list[str]) -> str:
    return f"| {' | '.join([name, direction, *entries])} |"


def _entry(milliseconds: float | None) -> str:
    return "×" if milliseconds is MEMORY else digits(milliseconds / STEPS * 1e3)
