"""What every benchmark shares: sizes, alternating runs, ratios, the table.

Every figure is a ratio between two things that were measured in turns within one run of one process: a machine that is
busy with something else slows both alike. Absolute times are not kept.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import structlog
import uvloop
from rich.console import Console
from rich.table import Table

Scale = Literal["small", "full"]
Measure = Callable[[Scale], Awaitable[list["Figure"]]]

_progress = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        area: what is measured, such as "queries".
        name: which case of it.
        against: what it is compared with.
        ratio: the median over the rounds.
        target: what the ratio should reach; None where there is no target.
        higher: whether more is better: a speed-up, as against a cost.
        note: an order of magnitude in plain units, for orientation only.
    """

    area: str
    name: str
    against: str
    ratio: float
    target: float | None = None
    higher: bool = True
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.higher else self.ratio <= self.target


def say(text: str) -> None:
    """Show what is being done."""
    _progress.print(f"[dim]{time.strftime('%H:%M:%S')}  {text}[/dim]", highlight=False)


async def alternate(rounds: int, *calls: Callable[[], Awaitable[Any]], warm: bool = True) -> list[list[float]]:
    """Run the calls in turns (A B A B ...) and return the seconds of each, round by round."""
    if warm:
        for call in calls:
            await call()
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            await call()
            taken.append(time.perf_counter() - start)
    return seconds


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median of the ratios round by round: what slows a whole round down cancels out."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def milliseconds(seconds: Sequence[float]) -> str:
    """Return a median for a note, with the digits that mean something on a shared machine."""
    return f"{statistics.median(seconds) * 1000:.2g} ms"


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Give a directory that is gone afterwards, whatever happens."""
    path = Path(tempfile.mkdtemp(prefix="meterhouse-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def table(figures: Sequence[Figure]) -> Table:
    """Lay figures out for a terminal."""
    shown = Table(title="Ratios within one run")
    for name in ("area", "case", "against", "ratio", "target", "", "for orientation"):
        shown.add_column(name, justify="right" if name in ("ratio", "target") else "left")
    for one in figures:
        shown.add_row(one.area, one.name, one.against, *_numbers(one), _verdict(one), one.note)
    return shown


def markdown(figures: Sequence[Figure]) -> str:
    """Lay figures out for a README."""
    lines = ["| area | case | against | ratio | target | |", "|---|---|---|---|---|---|"]
    cells = ([one.area, one.name, one.against, *_numbers(one), _verdict(one)] for one in figures)
    lines.extend(f"| {' | '.join(row)} |" for row in cells)
    return "\n".join(lines)


def _numbers(figure: Figure) -> tuple[str, str]:
    sign = ">=" if figure.higher else "<="
    return _short(figure.ratio), "" if figure.target is None else f"{sign} {_short(figure.target)}"


def _short(value: float) -> str:
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _verdict(figure: Figure) -> str:
    return {None: "", True: "met", False: "missed"}[figure.met]


def options(description: str | None) -> argparse.Namespace:
    """Read the command line that all scripts have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("small", "full"), default="small", help="how much data (default: small)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def run(measure: Measure, description: str | None) -> None:
    """Be the main function of a script: measure and print."""
    given = options(description)
    # Logs of the server under test would only be noise between the lines of progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    figures = uvloop.run(measure(given.scale))
    report(figures, given)


def report(figures: Sequence[Figure], given: argparse.Namespace) -> None:
    """Print the table, and write the figures where the command line says so."""
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(one) for one in figures]))
    if given.markdown:
        print(markdown(figures))
    else:
        Console(width=max(Console().width, 140)).print(table(figures))
