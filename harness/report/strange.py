"""Results whose rows no probe of ours writes: a page of them ends with one line, never with a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from cellbench.cells.surroundings import is_own

from ..store.files import ResultsError


@contextmanager
def shown(what: str) -> Iterator[None]:
    """Raises ResultsError, which names what is shown, where its rows are not such as can be shown.

    What a file of a person's raises passes through: it is told with its place.
    """
    try:
        yield
    except ResultsError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if any(is_own(frame.filename) for frame in traceback.extract_tb(error.__traceback__)):
            raise
        raise ResultsError(
            f"{what} cannot be shown ({type(error).__name__}: {error}): its rows were changed, or another"
            " version wrote them; leave the run out, or measure it again"
        ) from error
