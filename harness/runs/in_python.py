"""`cellbench run` as a function, for notebooks and scripts; what it returns shows itself."""

from __future__ import annotations

import html
import multiprocessing
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.display import Displayed

from .. import store
from ..gradients.training.board import summary_writer
from ..gradients.training.trackers import mlflow_writer, wandb_writer
from ..screen import one_line
from . import compose, pruning, schema
from .own_class import spec_of
from .values import ConfigError

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TAG = "cell", "options", "backend", "task", "direction", "variant"
SIZES = "steps", "batch", "hidden_size", "seed"
HEIGHT = 720  # pixels of a page inside a notebook
GUARD = 'harness.run is called by a file that it imports; put the call below: if __name__ == "__main__":'
_under_way = Lock()  # held while a call is at work


@dataclass(frozen=True)
class Run(Displayed):
    """What a run has measured, read from its folder when it is asked for.

    `ok` is whether every case was measured, or could not be for a stated reason.
    """

    folder: Path
    ok: bool

    def to_frame(self) -> pandas.DataFrame:
        """One observation a row, as `harness.load` gives it."""
        return self._frame.copy()

    def summary(self) -> pandas.DataFrame:
        """A row for each cell and backend, in SI units; see `harness.report.summary.summary`."""
        from ..report.summary import summary

        return summary(self._frame)

    def figure(self, name: str = "") -> Figure:
        """A figure of the page as matplotlib's, the first one where no name is given.

        Raises ConfigError, with the names that there are, for another one.
        """
        from ..report.drawing import drawing
        from ..report.page import drawn

        figures = drawn(self._frame)
        if not figures:
            raise ConfigError(f"run {self.folder.name} has no figure; its probes have tables alone")
        if name and name not in figures:
            raise ConfigError(f"there is no figure {name!r}; figures: {', '.join(figures)}")
        chosen = figures[name] if name else next(iter(figures.values()))
        with drawing.style(chosen.name):
            return chosen.draw()

    def plot(self, ax: Axes | None = None, name: str = "") -> Axes:
        """Draws a figure of the page, as an image, into ax (a new figure's where it is None); returns it.

        `figure` gives the figure itself. Raises ConfigError as it does.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure = self.figure(name)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        if ax is None:
            from matplotlib import pyplot

            size = tuple(figure.get_size_inches())
            ax = pyplot.figure(figsize=size, dpi=figure.dpi).add_axes((0, 0, 1, 1))
        ax.imshow(np.asarray(canvas.buffer_rgba()))
        ax.set_axis_off()
        return ax

    def page(self, folder: str | Path) -> Path:
        """Writes the page of `cellbench report` into a folder; returns the path of its index.html."""
        from .. import report
        from ..measure.verdict import reliability

        manifests, tables = [store.read_manifest(self.folder)], [self.folder / store.TABLE]
        return report.write(self._frame, manifests, Path(folder), reliability(), tables=tables)

    def to_tensorboard(self, writer: Any) -> None:
        """Every number of the run as a scalar, to a SummaryWriter or to a new one in the folder of that name.

        Courses, such as losses, are by their step; of repeated measurements it is the median. Raises
        ValueError where a folder is given and torch.utils.tensorboard cannot be imported.
        """
        if isinstance(writer, str | Path):
            with summary_writer(writer, "take the rows with to_frame()") as opened:
                return self.to_tensorboard(opened)
        rows = self._frame[self._frame["value"].notna()].assign(lag=lambda rows: rows["lag"].fillna(0))
        for keys, course in rows.groupby(["case", "metric"], sort=False):
            first = course.iloc[0].astype(object).where(course.iloc[0].notna(), None)
            named = [first[k] for k in TAG if isinstance(first[k], str) and first[k]]
            sizes = [f"{k}={int(first[k])}" for k in SIZES if first[k] is not None and first[k] >= 0]
            tag = "/".join([str(keys[1]), *named, " ".join(sizes)])
            for step, value in course.groupby("lag")["value"].median().items():
                writer.add_scalar(f"{first['probe']}/{tag}", float(value), int(step))
        return None

    def to_mlflow(self, run_id: str | None = None) -> None:
        """The same as metrics of a run of MLflow: the one of that id, else the active one.

        Raises ValueError without the package, or without such a run.
        """
        with mlflow_writer(run_id, "take the rows with to_frame()") as writer:
            self.to_tensorboard(writer)

    def to_wandb(self, run: Any) -> None:
        """The same as metrics of a run of W&B, which is what wandb.init() returns; else ValueError."""
        with wandb_writer(run) as writer:
            self.to_tensorboard(writer)

    @cached_property
    def _frame(self) -> pandas.DataFrame:
        return store.load([self.folder])

    def _repr_html_(self) -> str:
        with TemporaryDirectory() as folder:
            text = self.page(folder).read_text(encoding="utf-8")
        title = html.escape(f"run {self.folder.name}")
        style = f"width:100%;height:{HEIGHT}px;border:0"
        return f'<iframe title="{title}" style="{style}" srcdoc="{html.escape(text)}"></iframe>'


def run(**settings: Any) -> Run:
    """Measures as the command `cellbench run` does, and keeps the run in the folder `results`.

        harness.run(cells=[MyCell, "gru"], probes=["throughput"], workload={"steps": [64, 256]})

    The keys are those of the command; a mapping stands for the keys below one. A class stands for a cell, and
    may come from a file or a notebook. Each case runs in a process of its own, which imports that file.

    Raises ConfigError, a ValueError, for a key or a value that there is not, and for a class without source;
    KeyboardInterrupt where it was interrupted: what was measured is kept, and a line says how to go on.
    """
    from .measure import measure

    if multiprocessing.parent_process() is not None or not _under_way.acquire(blocking=False):
        raise RuntimeError(GUARD)
    try:
        if settings.get("results", "") is None:
            del settings["results"]
        results = _folder(settings.get("results", compose.defaults()["results"]))
        overrides = list(_overrides(settings, results))
        checked = schema.check(compose.compose(overrides))
        pruning.refuse(checked)
        names: list[str] = []
        code = measure(checked, shlex.join(["cellbench", "run", *overrides]), names.append)
    finally:
        _under_way.release()
    if code == 130:
        raise KeyboardInterrupt
    return Run(checked.results / names[-1], code == 0)


def _folder(results: Any) -> Path:
    if not isinstance(results, str | Path):
        raise ConfigError(
            f"results is {one_line(repr(results)):.60}; give the path of a folder, or leave it out"
        )
    return Path(results)


def _overrides(settings: Mapping[str, Any], results: Path, above: str = "") -> Iterator[str]:
    """The settings as a person types them on a command line."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _overrides(value, results, f"{above}{key}.")
        else:
            yield f"{above}{key}={_written(value, results)}"


def _written(value: Any, results: Path) -> str:
    """A value in Hydra's grammar."""
    value = _plain(value)
    if isinstance(value, list | tuple | range):
        return f"[{','.join(_written(one, results) for one in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, type | GatedCell):
        value = spec_of(value, results)
    if not isinstance(value, str | Path):
        shown = one_line(repr(value))
        raise ConfigError(f"{shown:.80} is no setting; give a text, a number, a class, or a list of them")
    text = str(value)
    if text.isidentifier() and text.lower() not in ("null", "true", "false", "nan", "inf"):
        return text
    for quote in ('"', "'"):
        if quote not in text and not text.endswith("\\"):
            return f"{quote}{text}{quote}"
    raise ConfigError(f"{text!r} has both kinds of quotes, which no key takes")


def _plain(value: Any) -> Any:
    """NumPy's numbers, texts and rows of them as Python's; any other value as it is.

    A number of less than 64 bits is the one of fewest digits, 0.1 for np.float32(0.1).
    """
    if isinstance(value, np.ndarray) and value.ndim < 2:
        return _plain(value[()]) if value.ndim == 0 else list(value)
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
