"""Every figure and table of the published works that can be rebuilt from tables of results, as data."""

from mammo_utils.study.exhibits import density, histology, recipe, screening
from mammo_utils.study.exhibits.registry import Exhibit, Made, is_there

EXHIBITS: dict[str, Exhibit] = {
    one.name: one for module in (density, screening, histology, recipe) for one in module.EXHIBITS
}

__all__ = ["EXHIBITS", "Exhibit", "Made", "waiting"]


def waiting(folder=None) -> dict[str, list[str]]:
    """{table: exhibits that wait for it}, of the tables that ``folder``, or the package, does not have."""
    found: dict[str, list[str]] = {}
    for one in EXHIBITS.values():
        for table in one.tables:
            if not is_there(table, folder):
                found.setdefault(table, []).append(one.name)
    return found
