"""Which rule should the density tool refuse by?  All of them on its own and on other images.

Fixed before any of them was tried: each rule's limit lets 99 % of the views of the women ``valid`` pass; the
best rule is then the one with the highest mean, over the sets of other images, of the share that is refused;
of equals the one that stands first in `unlike.RULES`, which is the simplest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mammo_utils.data.dicom import ImageReadError
from mammo_utils.study import density_file, unlike

OWN = ("test", "shifted")  # women of the training site, and of another vendor and site
WOMEN = 100  # of each, at most


def compared(settings: dict, others: dict[str, list[Path]]) -> pd.DataFrame:
    """What every rule refuses in files of phantom women and in those of the sets ``others`` {name: files}.

    A row a rule and set: ``images`` that could be read, ``unreadable``; ``objected``, shares of the images to
    which there is a plain objection; ``beyond``, of those without one that are beyond the limit; ``refused``,
    of all that are refused for either; ``distance``, the median as a multiple of the limit.
    """
    model, _ = density_file.segmenter(settings)
    tools = {rule: density_file.fitted(model, settings, rule) for rule in unlike.RULES}
    sets = {name: _files(name, settings) for name in OWN} | others
    rows = [row for name, files in sets.items() for row in _rows(name, files, tools, settings["size"])]
    return pd.DataFrame(rows)


def _files(name: str, settings: dict) -> list[Path]:
    images = density_file.women(name, settings)
    own = images.table["group"].isin(images.table["group"].unique()[:WOMEN])
    return [Path(path) for path in images.table.loc[own, "path"]]


def _rows(name: str, files: list[Path], tools: dict, size: int) -> list[dict]:
    found, unreadable = [], 0
    for file in files:
        try:
            found.append(unlike.seen(file, size))
        except ImageReadError:
            unreadable += 1
    objected = np.array([bool(one.objection) for one in found])
    plain = [one.prepared for one in found if not one.objection]
    images, inside = np.array([one.image for one in plain]), np.array([one.foreground for one in plain])
    rows = []
    for rule, (tool, limit) in tools.items():
        far = tool.distances(images, inside) if plain else np.zeros(0)
        row = {"rule": rule, "set": name, "images": len(found), "unreadable": unreadable}
        row |= {"objected": objected.mean() if found else np.nan}
        row |= {"beyond": (far > limit).mean() if plain else np.nan}
        row |= {"refused": (objected.sum() + (far > limit).sum()) / len(found) if found else np.nan}
        rows.append(row | {"distance": np.median(far) / limit if plain else np.nan})
    return rows


def best(table: pd.DataFrame) -> str:
    """The rule that the module says, by the table of `compared`; raises ``ValueError`` without other sets."""
    others = table[~table["set"].isin(OWN)]
    if others.empty:
        raise ValueError("there are no images of another kind to choose a rule by")
    shares = others.groupby("rule", sort=False)["refused"].mean()
    return str(shares.reindex(list(unlike.RULES)).idxmax())
