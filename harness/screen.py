"""Text for a person on standard output and error: nothing in it can harm, and nothing that fails ends a run.

Names that were stored may hold control characters, which a terminal obeys, or begin a line as a command of a
CI system does. A stream may be closed, full, of few characters, or its reader gone.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

# C0 but tab and newline, DEL, C1, what is not seen, marks of direction and other separators of lines, lone
# surrogates, what no XML may hold, tags
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
AT_START = re.compile(r"(?m)^([ \t]*)(?=::)")  # of a line: a command of GitHub
ANYWHERE = re.compile(r"#(?=#\w*\[)")  # a command of GitHub's older form, of Azure, of TeamCity
HEAD, TAIL = 700, 300  # characters of an error's line that are told: what was wrong, and the next step
GONE = (errno.EPIPE, errno.EBADF)  # no reader, or a stream that was closed: somebody's wish, no fault


def clean(text: str) -> str:
    """The text with every character that a terminal would obey written as its code, `\\x1b`."""
    return UNSAFE.sub(lambda match: _code(match[0]), text)


def one_line(text: object) -> str:
    """The same on one line: for a name in a table, a figure or a sentence; it may come from anybody."""
    return clean(str(text)).replace("\n", " ").replace("\t", " ")


def shortened(text: object) -> str:
    """The same without its middle where it is too long for the line of an error: some value is a file's."""
    line = " ".join(str(text).split())
    return line if len(line) <= HEAD + TAIL else f"{line[:HEAD]} ... {line[-TAIL:]}"


def counted(count: int, noun: str) -> str:
    """'1 run', '2 runs', '1,000 runs'."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def no_commands(text: str, fresh: bool = True) -> str:
    """Text in which no line is a command to a CI system; `fresh`: it begins a line."""
    text = ANYWHERE.sub(r"#\\", text)
    head, newline, tail = ("", "", text) if fresh else text.partition("\n")
    return head + newline + AT_START.sub(r"\1\\", tail)


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


class Screen(io.TextIOBase):
    """A stream that a person reads. What is written is cleaned; an error is kept, and ends nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.error: Exception | None = None
        self.styled = Styled(self)
        self._fresh = True  # nothing but blanks stands in the line so far

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    @property
    def gone(self) -> bool:
        """Whether nobody reads it, by somebody's wish."""
        if self.stream is None or isinstance(self.error, ValueError):
            return True
        return isinstance(self.error, OSError) and self.error.errno in GONE

    def write(self, text: str) -> int:
        safe = no_commands(clean(text), self._fresh)
        last = text.rpartition("\n")[2]
        self._fresh = not last.strip() and (self._fresh or "\n" in text)
        self.put(safe)
        return len(text)

    def put(self, text: str) -> None:
        """Writes text as it is, but for characters that the stream's encoding has not."""
        self._try(lambda stream: stream.write(text.encode(self.encoding, self.errors).decode(self.encoding)))

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def close(self) -> None:
        """Flushes: the stream is not this object's own."""
        self.flush()

    def __del__(self) -> None:
        """Closes nothing, and writes nothing: the stream may have another owner by then."""

    def isatty(self) -> bool:
        with suppress(ValueError, OSError, AttributeError):
            return self.error is None and self.stream is not None and self.stream.isatty()
        return False

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("the stream is closed")
        return self.stream.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["stream"], name)

    def _try(self, do: Any) -> None:
        if self.stream is None or self.error is not None:
            return
        try:
            do(self.stream)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self.error = error
            self._drop()

    def _drop(self) -> None:
        """Leads the descriptor nowhere, so that what is still in a buffer fails no more at the end."""
        with suppress(OSError, ValueError, AttributeError):
            number = self.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


class Styled(io.TextIOBase):
    """The same stream for text with colours and cursor movements of our own; names in it must be clean."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.screen.encoding

    def write(self, text: str) -> int:
        self.screen.put(text)
        return len(text)

    def flush(self) -> None:
        self.screen.flush()

    def isatty(self) -> bool:
        return self.screen.isatty()

    def fileno(self) -> int:
        return self.screen.fileno()


def screen(stream: TextIO | None) -> Screen:
    """The stream as a Screen; the one that it is already."""
    return stream if isinstance(stream, Screen) else Screen(stream)


@contextmanager
def shown() -> Iterator[tuple[Screen, Screen]]:
    """Standard output and error are Screens meanwhile, whatever writes to them."""
    _open_closed()
    before = sys.stdout, sys.stderr
    out, err = screen(sys.stdout), screen(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """A closed standard descriptor leads nowhere: the next file opened would get its number, and the text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number, this one


def tell(text: str) -> None:
    """A line of progress on standard error; where it cannot be written, the work goes on without it."""
    print(text, file=screen(sys.stderr), flush=True)


def annotate(text: str) -> None:
    """Prints commands to a CI system, made and escaped by us, as they are."""
    print(text, file=screen(sys.stdout).styled)


def last(text: str) -> None:
    """The line that names what a command made. Where nobody reads standard output it is an error's line."""
    print(text)
    out = sys.stdout
    out.flush()
    if isinstance(out, Screen) and (out.error is not None or out.stream is None):
        print(text, file=sys.stderr, flush=True)
        out.error = out.error and BrokenPipeError(errno.EPIPE, "told on standard error")
