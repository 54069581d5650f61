"""How the seconds of Monarch and of plain Alembic grow with the size of an org, each size measured by `benchmarks`.

Growth is how much longer the largest org takes than the smallest, divided by how much larger it is: 1.0 is linear, less
is better. Prints the tables and draws `growth.svg` beside this file. Needs the extra `bench`; run by `make growth`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from rich.console import Console
from rich.table import Table

from benchmarks.processes import ending, output_of

MONARCH, ALEMBIC = "Monarch", "plain Alembic"
MEMORY = "peak memory, MB"
LINEAR = 1.1
PICTURE = Path(__file__).with_name("growth.svg")
PANELS = ("first generate", "no change", "one field added", "first apply", "one field applied", "status")
COLOURS = {MONARCH: "#1a5fb4", ALEMBIC: "#c64600"}
INK, GREY, FAINT = "#24292f", "#57606a", "#d0d7de"
STYLE: Any = {  # its keys are a type of their own, of 300 names
    "svg.fonttype": "none",
    "svg.hashsalt": "monarch",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


@dataclass(frozen=True)
class Line:
    """One row of work of one of the two: its figure by the number of objects, without those that it failed at."""

    name: str
    figures: Mapping[int, float]

    def growth(self, sizes: Sequence[int]) -> float | None:
        """Return how it grows from the first size to the last against their ratio, None where a figure is missing."""
        first, last = sizes[0], sizes[-1]
        if first not in self.figures or last not in self.figures:
            return None
        return self.figures[last] / self.figures[first] * first / last


def main() -> None:
    """Measure each size, print the tables, draw the picture."""
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1500, 5000], help="numbers of objects")
    parser.add_argument("--fields", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    sizes = sorted(set(arguments.sizes))
    if len(sizes) < 2:
        parser.error("growth needs two sizes")
    found = {}
    # Kept to the end: some file systems are slow to create files for minutes after many were deleted.
    with tempfile.TemporaryDirectory(prefix="monarch-bench-") as folder:
        for number, size in enumerate(sizes, start=1):
            _tell(f"{number} of {len(sizes)}: {size:,} objects of {arguments.fields} fields …")
            found[size] = _measure(Path(folder) / str(size), size, arguments.fields, arguments.repeat)
    title = f"objects of {arguments.fields} fields, median of {arguments.repeat}, seconds"
    lines = {MONARCH: list(_lines("monarch", found)), ALEMBIC: list(_lines("alembic", found))}
    for who, rows in lines.items():
        Console().print(_table(f"{who}: {title}", sizes, rows))
    if any(len(line.figures) < len(sizes) for line in lines[ALEMBIC]):
        Console().print("fails: plain Alembic failed at that size, at this row or at one above it, and stopped there.")
    _draw(sizes, lines, f"{arguments.fields} fields each, median of {arguments.repeat}")
    _tell(f"Drew {PICTURE}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - progress


def _measure(folder: Path, objects: int, fields: int, repeat: int) -> dict[str, Any]:
    sizes = {"--objects": objects, "--fields": fields, "--repeat": repeat, "--folder": folder}
    words = (str(word) for pair in sizes.items() for word in pair)
    found: dict[str, Any] = json.loads(output_of("-m", "benchmarks", *words, "--json"))
    return found


def _lines(who: str, found: Mapping[int, Mapping[str, Any]]) -> Iterator[Line]:
    """Give the rows of work in the order in which they were done, then the sums of a first install and the memory."""
    medians = {
        size: {name: statistics.median(seconds) for name, seconds in item[who]["seconds"].items()}
        for size, item in found.items()
    }
    for item in medians.values():
        if "first generate" in item and "first apply" in item:
            item["first install, both"] = item["first generate"] + item["first apply"]
    for name in dict.fromkeys(name for item in medians.values() for name in item):
        yield Line(name, {size: item[name] for size, item in medians.items() if name in item})
    yield Line(MEMORY, {size: item["megabytes"][who] for size, item in found.items()})


def _table(title: str, sizes: Sequence[int], lines: Sequence[Line]) -> Table:
    table = Table("work", title=title)
    for column in (*(f"{size:,}" for size in sizes), "growth"):
        table.add_column(column, justify="right")
    for line in lines:
        shown = [_figure(line.figures[size]) if size in line.figures else "fails" for size in sizes]
        table.add_row(line.name, *shown, _growth(line.growth(sizes)))
    return table


def _figure(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.2f}" if figure >= 0.1 else f"{figure:.4f}"


def _growth(growth: float | None) -> str:
    if growth is None:
        return ""
    return f"[bold red]{growth:.2f} steep[/]" if growth > LINEAR else f"{growth:.2f}"


def _draw(sizes: Sequence[int], lines: Mapping[str, Sequence[Line]], told: str) -> None:
    """Draw a panel for each row of work that is shown: both, and what linear growth from the smallest org would be."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 6.6), layout="constrained", facecolor="white")
        grid = figure.subplots(2, 3, sharex=True, sharey="row")
        for axes, name in zip(grid.flat, PANELS, strict=True):
            _panel(axes, name, sizes, {who: line for who, rows in lines.items() for line in rows if line.name == name})
        figure.suptitle(f"Seconds by the number of objects ({told})", fontsize=12.5, fontweight="bold")
        for axes in grid[-1]:
            axes.set_xlabel("objects")
        for axes in grid[:, 0]:
            axes.set_ylabel("seconds")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        figure.savefig(PICTURE, metadata={"Date": None, "Creator": None})


def _panel(axes: Axes, name: str, sizes: Sequence[int], lines: Mapping[str, Line]) -> None:
    axes.set(xscale="log", yscale="log")
    axes.set_title(name, loc="left", fontsize=10.5)
    axes.margins(x=0.09, y=0.06)
    axes.xaxis.set(major_locator=FixedLocator(sizes), major_formatter=FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.grid(color=FAINT, linewidth=0.5)
    axes.tick_params(length=0)
    axes.spines[["top", "right"]].set_visible(False)
    start = lines[MONARCH].figures[sizes[0]]
    linear = [start * size / sizes[0] for size in sizes]
    for who, line in lines.items():
        known = sorted(line.figures)
        if not known:
            continue
        seconds = [line.figures[size] for size in known]
        axes.plot(known, seconds, color=COLOURS[who], linewidth=2, marker="o", markersize=4.5, label=who)
        if known[-1] != sizes[-1]:
            axes.annotate("fails", (known[-1], seconds[-1]), (8, -3), textcoords="offset points", color=COLOURS[who])
    axes.plot(sizes, linear, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), label="linear growth", zorder=1)


if __name__ == "__main__":
    ending(main)
