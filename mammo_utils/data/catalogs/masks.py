"""How a table names a mask: a file, values of a label image, or several files together."""

from __future__ import annotations

import re

# No file name of Windows may have it, and hardly any of another system does.
AND = "|"


def labelled(path, values) -> str:
    """How a column of masks names the pixels of the label image ``path`` that have one of ``values``.

    >>> labelled("a.png", [128, 192])
    'a.png#128,192'
    """
    return f"{path}#{','.join(map(str, values))}"


def united(masks) -> str:
    """How a column of masks names what is set in any of ``masks``, such as the lesions of one image.

    >>> united(["a.dcm", "b.dcm"])
    'a.dcm|b.dcm'
    """
    return AND.join(map(str, masks))


def files_of(mask: str) -> list[tuple[str, list[int] | None]]:
    """The files that make a mask, each with the values that are set in it, None where those above 127 are.

    >>> files_of("a.png#128,192"), files_of("a.dcm|b.dcm")
    ([('a.png', [128, 192])], [('a.dcm', None), ('b.dcm', None)])
    """
    return [_file(part) for part in mask.split(AND)]


def _file(part: str) -> tuple[str, list[int] | None]:
    found = re.fullmatch(r"(.+)#(\d+(?:,\d+)*)", part, re.DOTALL)
    return (found[1], [int(value) for value in found[2].split(",")]) if found else (part, None)
