"""Trees of arrays: nested dicts, state_dicts, modules of JAX, and files that hold such."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import real_floating
from .files import checked_size, one_line
from .layouts import Arrays, float64
from .optional import NotInstalled, package

Prefix = str | Sequence[str | Sequence[str]] | None
SUFFIXES = (".npz", ".msgpack", ".safetensors", ".pt", ".pth", ".ckpt", ".bin")


def flat(tree: Any) -> Arrays:
    """Every array of a tree by its path, 'params/cell/ii/kernel'; `tree` may be a file of one.

    Takes nested mappings, lists, JAX modules and variables (what has a value), torch tensors, and the files
    .npz, .msgpack (flax), .safetensors and torch's. Raises ValueError for a file that is none of these.
    """
    held = loaded(Path(tree)) if isinstance(tree, str | Path) else tree
    return {path.replace(".", "/").removesuffix(":0"): array for path, array in _leaves(held, "")}


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(path, array) of every array."""
    if hasattr(node, "shape") and hasattr(node, "dtype") and not isinstance(node, Mapping):
        value = node.get_value() if hasattr(node, "get_value") else node
        yield path, value
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{path}/{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for key, value in enumerate(node):
            yield from _leaves(value, f"{path}/{key}" if path else str(key))
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):  # a module of equinox
        fields = {f.name: getattr(node, f.name, None) for f in dataclasses.fields(node)}
        yield from _leaves(fields, path)


def loaded(path: Path) -> Any:
    """The tree that a file holds. No code of the file is run."""
    if not path.is_file():
        raise ValueError(f"no file {str(path)!r}; give a file of arrays: {', '.join(SUFFIXES)}")
    reader = READERS.get(path.suffix)
    if reader is None:
        raise ValueError(f"{path} is not known; a file of arrays is one of {', '.join(SUFFIXES)}")
    checked_size(path)
    try:
        return reader(path)
    except NotInstalled:
        raise
    except ValueError as error:
        reason = error
    except Exception as error:  # each reader has errors of its own, none of which says which file
        reason = ValueError(f"{type(error).__name__}: {error}")
    raise ValueError(f"{path} is no {path.suffix} file of arrays: {one_line(reason)[:160]}")


def _npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def _safetensors(path: Path) -> Any:
    package("safetensors", "checkpoints")
    from safetensors.torch import load_file  # torch's, for bfloat16

    return load_file(path)


def _torch(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _msgpack(path: Path) -> Any:
    """What flax.serialization.to_bytes wrote: arrays are (shape, dtype, bytes) of extension type 1."""
    msgpack = package("msgpack", "jax")

    def array(code: int, data: bytes) -> Any:
        if code != 1:
            raise ValueError(f"it has values of extension type {code}; arrays have type 1")
        shape, dtype, values = msgpack.unpackb(data)
        if dtype == "bfloat16":
            raw = np.frombuffer(values, np.uint16).astype(np.uint32) << 16
            return raw.view(np.float32).reshape(shape)
        return np.frombuffer(values, dtype).reshape(shape)

    return msgpack.unpackb(path.read_bytes(), ext_hook=array, strict_map_key=False)


READERS: dict[str, Callable[[Path], Any]] = {
    ".npz": _npz,
    ".msgpack": _msgpack,
    ".safetensors": _safetensors,
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".bin"), _torch),
}


def below(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays under a path, by what follows it."""
    start = f"{prefix}/" if prefix else ""
    return {path.removeprefix(start): value for path, value in arrays.items() if path.startswith(start)}


def picked(groups: Mapping[str, Any], prefix: Prefix, what: str) -> list[list[str]]:
    """The groups of a prefix, as layers of one or two directions.

    groups are the recurrent layers by path. A prefix is a path, or a list of paths from the input up, in
    which a pair stands for both directions. None takes the only group, or the only pair of siblings named
    forward and backward. Raises ValueError, with all paths, where that does not say which.
    """
    if not groups:
        raise ValueError(f"{what}: none was found")
    if prefix is None or isinstance(prefix, str):
        fitting = [path for path in groups if is_below(path, prefix)]
        if not fitting:
            raise ValueError(f"no recurrent layer under prefix {prefix!r}; there are {', '.join(groups)}")
        if len(fitting) == 1:
            return [fitting]
        if len(fitting) == 2 and (pair := _directions(fitting)):
            return [pair]
        one, two = fitting[:2]
        raise ValueError(
            f"there are {len(fitting)} recurrent layers: {', '.join(fitting)}; say which: prefix={one!r},"
            f" or of layers one after the other prefix={[one, two]!r}, or of both directions"
            f" prefix={[(one, two)]!r}"
        )
    layers = [[item] if isinstance(item, str) else list(item) for item in prefix]
    chosen = [[path for item in layer for path in picked(groups, item, what)[0]] for layer in layers]
    if any(len(layer) > 2 for layer in chosen):
        raise ValueError(f"prefix is {prefix!r}; a layer has one path, or two for both directions")
    return chosen


def is_below(path: str, prefix: str | None) -> bool:
    """Whether the path starts with the prefix, which may leave out what stands around all, as params/."""
    if not prefix:
        return True
    prefix = prefix.replace(".", "/").strip("/")
    return f"/{path}/".find(f"/{prefix}/") >= 0


def _directions(paths: list[str]) -> list[str] | None:
    """The two paths, forward first, where they differ in that one word alone."""
    for first, second in (paths, paths[::-1]):
        for there, back in (("forward", "backward"), ("fw", "bw")):
            if there in first and first.replace(there, back) == second:
                return [first, second]
    return None


def floats(arrays: Arrays, place: str) -> Arrays:
    """Float64 copies. Raises ValueError, naming the array, for one that is not real floating."""
    return {name: _float64(f"{place}/{name}", array) for name, array in arrays.items()}


def _float64(name: str, array: Any) -> np.ndarray:
    if str(getattr(array, "dtype", "")) == "bfloat16":  # of JAX, which NumPy does not call floating
        return np.asarray(array).astype(np.float64)
    return float64(real_floating(name, array if hasattr(array, "detach") else np.asarray(array)))
