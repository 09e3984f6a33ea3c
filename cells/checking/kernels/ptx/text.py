"""The text of a PTX kernel, cut into instructions and the straight pieces between branches."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .memory import Fault

INSTRUCTION = re.compile(
    r"(?:@(?P<negated>!?)(?P<predicate>%p\d+)\s+)?(?P<name>[a-z]\w*(?:[.][\w:]+)*)\s*(?P<rest>.*)$", re.S
)
PARAMETER = re.compile(r"\.param\s+\.(?P<kind>\w+)[^,\n]*?(?P<name>\w+_param_\d+)")
PLACE = re.compile(r"\.loc.*//\s*(?P<file>\S+)")
LABEL = re.compile(r"(?P<name>\$?\w+):")


@dataclass(frozen=True)
class Instruction:
    """name is split at its dots; operands as they stand; place is the line of the printed kernel."""

    name: tuple[str, ...]
    operands: tuple[str, ...]
    predicate: str | None
    negated: bool
    place: str

    def __str__(self) -> str:
        return f"{'.'.join(self.name)} of {self.place}"


@dataclass
class Text:
    """Parameters (kind, name) in order, threads of a block, pieces of instructions, and where labels are."""

    parameters: list[tuple[str, str]]
    threads: int
    pieces: list[list[Instruction]] = field(default_factory=lambda: [[]])
    labels: dict[str, int] = field(default_factory=dict)


def parse(ptx: str) -> Text:
    """The one kernel of the text."""
    entry = ptx.index(".entry")
    start = ptx.index("{", entry)
    head = ptx[entry:start]
    threads = re.search(r"\.reqntid\s+(\d+)", ptx)
    if threads is None:
        raise Fault("the kernel does not say its threads")
    text = Text(PARAMETER.findall(head), int(threads.group(1)))
    place = "the kernel"
    for line in body(ptx, start).splitlines():
        if found := PLACE.search(line):
            place = found["file"].rpartition("/")[2]
        words = re.sub(r"//.*", "", line).strip()
        if label := LABEL.match(words):
            text.pieces.append([])
            text.labels[label["name"]] = len(text.pieces) - 1
        elif words and not words.startswith((".", "$")) and words not in "{}":
            for one in filter(None, (part.strip() for part in words.split(";"))):
                text.pieces[-1].append(instruction(one, place))
                if text.pieces[-1][-1].name[0] == "bra":
                    text.pieces.append([])
    return text


def body(ptx: str, start: int) -> str:
    """What stands between the brace at `start` and the one that closes it."""
    depth = 0
    for end in range(start, len(ptx)):
        depth += {"{": 1, "}": -1}.get(ptx[end], 0)
        if not depth:
            return ptx[start + 1 : end]
    raise Fault("the kernel has no end")


def instruction(text: str, place: str) -> Instruction:
    found = INSTRUCTION.match(text)
    if found is None:
        raise Fault(f"{text!r} is no instruction")
    name = tuple(found["name"].split("."))
    return Instruction(name, operands(found["rest"]), found["predicate"], bool(found["negated"]), place)


def operands(text: str) -> tuple[str, ...]:
    """Parted at commas outside of braces and brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "{[") - (sign in "}]")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return tuple(part.strip() for part in parts if part.strip())


def group(text: str) -> list[str]:
    """The registers of '{%r1, %r2}', or the one."""
    return [part.strip() for part in text.strip("{} ").split(",")]
