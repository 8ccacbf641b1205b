"""What an exhibit is, which tables it reads, and the line that says what its numbers rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from mammo_utils import profile
from mammo_utils.show.figures import exhibits as figures
from mammo_utils.study import claims, grid, results

OVER_SEEDS = "thick bars: 95 % t-intervals over seeds, thin bars: range of fewer than five runs"
# Tables that are not a row a run; they stem from runs of the study before the underscore.
DERIVED = ("architectures_images", "histology_subtypes", "recipe_controls", "screening_breasts")


class Made(NamedTuple):
    """The numbers that a figure draws, a row a mark, and the figure."""

    numbers: pd.DataFrame
    figure: Figure


@dataclass(frozen=True)
class Exhibit:
    """A figure or table of a published work, or what stands in its place, made from tables of results.

    ``title``: one sentence.  ``tables``: names of the tables that it reads.  ``draw``: from {name: table} to
    `Made`.  ``rebuilds``: which published figure, table or statement this is, or that none was found.
    ``scored``: on whom.  ``limits``: what intervals and bars are.
    """

    name: str
    work: str
    title: str
    tables: tuple[str, ...]
    draw: Callable[[Mapping[str, pd.DataFrame]], Made]
    rebuilds: str
    limits: str = OVER_SEEDS
    scored: str = ""

    def make(self, folder: Path | None = None) -> Made:
        """Its numbers and its figure with title and note, from the tables in ``folder`` or those shipped.

        Raises ``FileNotFoundError`` for a table that is not there, ``ValueError`` for one that lacks what is
        drawn or stems from another phantom.
        """
        tables = {name: table(name, folder) for name in self.tables}
        numbers, figure = self.draw(tables)
        said = note(tables, numbers, limits=self.limits, scored=self.scored)
        return Made(numbers, figures.captioned(figure, self.title, said))


def place(name: str, folder: Path | None = None) -> Path:
    """Path of the table ``name``: in ``folder``, or among those that come with the package."""
    return profile.shipped(f"results/{name}.csv") if folder is None else Path(folder) / f"{name}.csv"


def is_there(name: str, folder: Path | None = None) -> bool:
    """Whether the table ``name`` is in ``folder``, or comes with the package."""
    try:
        return place(name, folder).is_file()
    except FileNotFoundError:
        return False


def table(name: str, folder: Path | None = None) -> pd.DataFrame:
    """The table ``name``, rows of this version of the phantom alone; raises as `Exhibit.make`."""
    path = place(name, folder)
    if name not in DERIVED:
        return grid.read(path)
    found = pd.read_csv(path)
    for column, version in (("phantom", results.phantom_version()), ("tissue", results.tissue_version())):
        if column in found and (found[column] != version).any():
            raise ValueError(f"{path}: rows stem from another version of the {column} than {version}")
    return found


def note(tables: Mapping[str, pd.DataFrame], numbers: pd.DataFrame, *, limits: str, scored: str = "") -> str:
    """What the numbers rest on: data and version of the phantom, profile, number of seeds, intervals."""
    if not tables:
        return f"Data: published figures and arithmetic on them, no run of this course · {limits}"
    tiles = [own for own in tables.values() if _values([own], "tissue")]
    women = [own for own in tables.values() if not _values([own], "tissue")]
    made = [f"women, version {_values(women, 'phantom')}"] if women else []
    made += [f"tiles, version {_values(tiles, 'tissue')}"] if tiles else []
    said = [f"Data: phantom {' and '.join(made)} (simulated: no clinical result)"]
    said += [
        f"profile {_values(tables.values(), 'profile')}",
        *_span(numbers, "seeds"),
        *_span(numbers, "women"),
    ]
    return " · ".join([*said, *[scored] * bool(scored), limits])


def _span(numbers: pd.DataFrame, column: str) -> list[str]:
    """The least and the most of a column of counts in words, such as "3 to 10 seeds"; empty without any."""
    counts = numbers[column].dropna() if column in numbers else ()
    if not len(counts):
        return []
    least, most = int(counts.min()), int(counts.max())
    return [f"{least if least == most else f'{least} to {most}'} {column.removesuffix('s' * (most == 1))}"]


def _values(tables: Iterable[pd.DataFrame], column: str) -> str:
    found = {
        f"{value:g}" if isinstance(value, float) else str(value)
        for own in tables
        if column in own
        for value in own[column].dropna().unique()
    }
    return " and ".join(sorted(found))


def level(work: str, name: str) -> float:
    """Coverage of the intervals that decide about claims of ``work`` by the table ``name``."""
    own = claims.DECLARED[work]
    asked = [one for claim in own for one in claim.questions if getattr(one, "table", "") == name]
    return max(claims.level_of(one, work, own) for one in asked)


def percent(share: float) -> str:
    """A coverage in words.

    >>> percent(0.95), percent(1 - 0.05 / 3)
    ('95 %', '98.33 %')
    """
    return f"{100 * share:.4g} %"


def stacked(parts: Mapping[str, pd.DataFrame], kind: str = "shows") -> pd.DataFrame:
    """Tables one under the other, what each shows in the first column; their index become columns.

    The width of a bar becomes ``bar``: an interval, or the range of few runs.
    """
    found = pd.concat({name: part.reset_index() for name, part in parts.items()}, names=[kind, None])
    found = found.reset_index(level=0).reset_index(drop=True)
    if "width" in found:
        words = found["width"].map(lambda width: "range" if width < 1 else "interval", na_action="ignore")
        found = found.drop(columns="width").assign(bar=words.fillna("interval"))
    return found
