"""The completion of the command line: `eval "$(cellbench --completion)"` in bash or zsh."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence

SCRIPT = """\
if [ -n "$ZSH_VERSION" ]; then autoload -Uz compinit bashcompinit && compinit && bashcompinit; fi
_cellbench() {
  COMPREPLY=($(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" cellbench --complete))
  case "$COMP_WORDBREAKS" in *=*) # bash takes a=b for three words, and replaces the last of them
    local word="${COMP_LINE:0:$COMP_POINT}"
    word="${word##* }"
    COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}")
  esac
}
complete -o nospace -o default -F _cellbench cellbench
"""


def line() -> list[str]:
    """The words of the line in hand up to the cursor, as the shell hands it over; the last may be empty."""
    text, point = os.environ.get("COMP_LINE", ""), os.environ.get("COMP_POINT", "")
    return text[: int(point) if point.isdecimal() else None].split(" ")


def members(word: str) -> list[str]:
    """What a list of members in hand can be: `cells=[gru,lstm` of `cells=[gru,ls`; none for another key."""
    from cellbench import cells

    from .. import probe, task

    names = {
        "cells": cells.names,
        "backends": cells.backend_names,
        "probes": probe.names,
        "tasks": task.names,
    }
    key, _, value = word.partition("=")
    before = value[: max(value.rfind("["), value.rfind(",")) + 1]
    known = names[key]() if key in names else []
    return [f"{key}={before}{name}" for name in known if f"{before}{name}".startswith(value)]


def completions(
    words: Sequence[str], commands: Iterable[str], parser_of: Callable[[str], ArgumentParser]
) -> list[str]:
    """What the last word can be: a command, or a flag or a value that the command before it takes."""
    known: list[str] = []
    if len(words) == 2:
        known = [*commands, "--help", "--version"]
    elif len(words) > 2 and words[1] in commands:
        for action in parser_of(words[1])._actions:
            values: Iterable[str] = action.choices or getattr(action.type, "known", None) or ()
            known += [*action.option_strings, *values]
    return [word for word in known if word.startswith(words[-1])]
