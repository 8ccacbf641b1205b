"""The students' copies of the notebooks, made from the masters by cutting the solutions."""

from __future__ import annotations

import ast
import re


def cut(notebook: dict) -> dict:
    """The students' copy of a master: solutions cut to placeholders, no outputs, links from a folder deeper.

    >>> cell = {"cell_type": "code", "id": "a", "source": "x = 2", "metadata": {"tags": ["solution"]}}
    >>> cut({"cells": [cell | {"outputs": [], "execution_count": 1}]})["cells"][0]["source"]
    'x = ...  # your turn'
    """
    cells = []
    for cell in notebook["cells"]:
        source = cell["source"]
        if cell["cell_type"] != "code":
            cells.append(cell | {"source": re.sub(r"(\]\()(?!\w+:|#)([^)\s]+)", _deeper, source)})
            continue
        if "solution" in cell["metadata"].get("tags", ()):
            source = placeholder(source)
        cells.append(cell | {"source": source, "execution_count": None, "outputs": []})
    return notebook | {"cells": cells}


def placeholder(source: str) -> str:
    """What is left of a solution: the names it defines, functions with signature and docstring.

    >>> print(placeholder("def area(mask):\\n    return mask.sum()\\n\\nthreshold = 0.5\\nprint(threshold)"))
    def area(mask):
        ...  # your turn
    <BLANKLINE>
    threshold = ...  # your turn
    """
    parts = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            if first.lineno == node.lineno:
                raise ValueError(
                    f"the solution {node.name} stands on one line; write its body below its name"
                )
            last = first.lineno - 1 if ast.get_docstring(node) is None else first.end_lineno
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            head = source.splitlines()[start - 1 : last]
            while head[-1].lstrip().startswith("#"):  # a comment before the body tells how it is done
                head.pop()
            parts.append("\n".join([*head, "    ...  # your turn", ""]))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = [n for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
            names = [name.id for name in bound if isinstance(name.ctx, ast.Store)]
            parts += [f"{name} = ...  # your turn" for name in names]
    return "\n".join(parts).strip() or "# your turn"


def _deeper(match: re.Match) -> str:
    start, target = match.groups()
    # The copies of the notebooks lie beside each other, everything else one folder further up.
    return start + (target if re.match(r"\d\d_\w+\.ipynb", target) else f"../{target}")
