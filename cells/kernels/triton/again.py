"""Starts a compiled kernel again with other numbers, past what Triton does at every launch.

Triton binds arguments by name, makes a key of all their types, looks the kernel up, and has the driver say of
every tensor whether it lies on the device. That is tens of microseconds, more than a small step takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def again(
    compiled: Any, grid: tuple[int, int, int], given: Mapping[str, Any], each: Iterable[Mapping[str, int]]
) -> None:
    """Starts what a launch returned once more for each of the numbers, in turn, on the stream of now.

    `given` are all arguments of that launch in the kernel's order. Triton must not have specialised the
    kernel by the numbers.
    """
    from triton.runtime import driver

    places = {name: place for place, name in enumerate(given)}
    arguments = [value.data_ptr() if hasattr(value, "data_ptr") else value for value in given.values()]
    start = compiled[grid]
    stream = driver.active.get_current_stream(driver.active.get_current_device())
    for numbers in each:
        for name, number in numbers.items():
            arguments[places[name]] = number
        start(*arguments, stream=stream)
