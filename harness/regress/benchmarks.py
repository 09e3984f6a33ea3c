"""What a comparison found, as the commands hand it to whoever prints or writes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..measure.judge import Judgement


@dataclass(frozen=True)
class Fact:
    """Something exact that differs between the sides: its name, both values; `gated` where a difference is a
    failure.
    """

    name: str
    a: str
    b: str
    gated: bool = True


@dataclass(frozen=True)
class Outcome:
    """The judgements of B against A, and what belongs beside them.

    `commands` gives by a judgement's name the command that measures it again. `missing` says of each benchmark of A that B
    lacks what became of it, one line that begins with its name. `notes` are said of the whole suite, `study` is the line of
    the committed A/A study, `facts` are what differs exactly.
    """

    title: str
    a: str
    b: str
    judgements: tuple[Judgement, ...]
    commands: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    study: str = ""
    facts: tuple[Fact, ...] = ()
