"""How a result shows itself: as pandas' frame, as a figure, in a notebook, and as one short line.

A result is a dataclass of `Displayed` (made with repr=False) that says which of its fields run along an axis:

    @dataclass(frozen=True, repr=False)
    class LagProfile(Displayed):
        axes = {"lag": ("log_norm",)}

Nothing else is written for it. pandas and matplotlib are imported when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .values import facts, short, table

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["ByName", "Displayed"]
Axis = dict[str, tuple[str, ...]]
R = TypeVar("R", bound="Displayed")


class Displayed:
    """A result that shows itself.

    axes      of each axis, the fields and properties that run along it. An array is (n,), or (n, samples); a
              mapping of arrays makes a column of each. A field of the axis's name holds its places, else they
              count from 0
    records   the field that holds a dataclass for each row, in place of arrays
    derived   properties that are shown beside the fields
    drawn     the columns of the figure; those of the first axis, or all numbers, where it is empty
    """

    axes: ClassVar[Axis] = {}
    records: ClassVar[str] = ""
    derived: ClassVar[tuple[str, ...]] = ()
    drawn: ClassVar[tuple[str, ...]] = ()

    def to_frame(self) -> pandas.DataFrame:
        """A row for each place on an axis, and for each sample there; one row where all are single values.

        A second axis has rows of its own, in which the columns of the first are null.
        """
        return table(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the result into ax, a new figure's where it is None; returns it.

        Of several samples it is the median, with a band from quartile to quartile.
        """
        from .figure import draw, new_axes

        ax = new_axes() if ax is None else ax
        draw(self.to_frame(), next(iter(self.axes), None), self.drawn, str(self), ax)
        return ax

    def _repr_html_(self) -> str:
        """What a notebook shows: the single values, the figure, and the first rows."""
        from .page import html

        return html(self, facts(self))

    def __repr__(self) -> str:
        return short(self)


class ByName(Displayed, dict[str, R]):
    """Results of one kind by name, a mapping that shows itself; a frame has their names in column `name`."""

    def to_frame(self) -> pandas.DataFrame:
        """The rows of all, under their names."""
        import pandas

        frames = [one.to_frame().assign(name=name) for name, one in self.items()]
        whole = pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame({"name": []})
        return whole[["name", *whole.columns.drop("name")]]

    def plot(self, ax: Axes | None = None) -> Axes:
        """All of them in one figure."""
        from .figure import draw, new_axes

        ax = new_axes() if ax is None else ax
        kinds: list[Any] = [type(one) for one in self.values()] or [Displayed]
        draw(self.to_frame(), next(iter(kinds[0].axes), None), kinds[0].drawn, repr(self), ax)
        return ax
