"""One tidy table for every data set: `load(name, root)`."""

from __future__ import annotations

from importlib import import_module

from mammo_utils.data.catalogs.table import COLUMNS, MASKS, CatalogError, read, write
from mammo_utils.profile import choose

MAMMOGRAMS = ("phantom", "rsna", "vindr", "density", "inbreast", "cbis_ddsm", "folder")
TILES = ("breakhis", "lc25000")  # in colour: `data.tiles` reads them
NAMES = MAMMOGRAMS + TILES

__all__ = ["COLUMNS", "MAMMOGRAMS", "MASKS", "NAMES", "TILES", "CatalogError", "load", "read", "sources"]
__all__ += ["write"]


def load(name: str, root, **options):
    """The images of the data set ``name`` in the folder ``root`` as a table with one row an image.

    Every catalogue returns the columns ``COLUMNS`` in that order, missing values as NA, paths absolute.
    ``group`` is what must not cross a split: the woman; the case or the original of tiles.  Nothing is
    downloaded.  ``options`` are those of the catalogue's own ``load``; only ``folder`` and ``lc25000`` have
    any.

    Raises: ``ValueError`` for an unknown name (lists the known ones); ``CatalogError``, one error with
    everything that is missing from the folder, where the data set is obtained and its licence.  Listed images
    that are not on disk are left out with a warning.

    >>> load("mias", "somewhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: unknown data set 'mias'; choose one of: phantom, rsna, vindr, density, inbreast, ...
    """
    return import_module(f"mammo_utils.data.catalogs.{choose('data set', name, NAMES)}").load(root, **options)


def sources():
    """Where each data set is obtained and under which licence, as far as we know: a row a name of ``NAMES``.

    Columns: ``title``, ``where`` and ``licence``.  The page of the owner decides, not this table.
    """
    from dataclasses import asdict

    import pandas as pd

    found = [import_module(f"mammo_utils.data.catalogs.{name}").SOURCE for name in NAMES]
    return pd.DataFrame([asdict(one) for one in found]).set_index("name")
