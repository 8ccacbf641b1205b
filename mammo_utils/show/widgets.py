"""Controls on a figure: every widget is a plain figure function and a few labelled controls."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import ipywidgets
from matplotlib.figure import Figure

WIDE = {"description_width": "14em"}
LAYOUT = {"width": "36em"}


def slider(
    label: str, low: float, high: float, value: float, *, step: float = 0.01
) -> ipywidgets.FloatSlider:
    """A slider with a visible label (name and unit); the arrow keys move it by ``step``."""
    return ipywidgets.FloatSlider(
        value,
        min=low,
        max=high,
        step=step,
        description=label,
        style=WIDE,
        layout=LAYOUT,
        continuous_update=False,
    )


def choice(label: str, options: Sequence, value=None) -> ipywidgets.Dropdown:
    """A drop-down list with a visible label; ``options`` are values or (text, value) pairs."""
    chosen = {} if value is None else {"value": value}
    return ipywidgets.Dropdown(options=options, description=label, style=WIDE, layout=LAYOUT, **chosen)


def explore(draw: Callable[..., Figure], *, alt: str, **controls: ipywidgets.Widget) -> ipywidgets.VBox:
    """The controls above the picture that ``draw`` makes of their values; ``alt`` describes it in a sentence.

    ``draw`` is called with the value of every control under the control's name, and again after each change.
    A value for which it raises ``ValueError`` leaves the picture and shows the message instead.

    >>> from mammo_utils.show.figures import new
    >>> level = slider("level", 0, 1, 0.5)
    >>> box = explore(lambda level: new(size=(1, 1))[0], alt="an empty figure", level=level)
    >>> bytes(box.children[-1].value[1:4])
    b'PNG'
    """
    picture, message = _picture(), ipywidgets.HTML(f"<small>{alt}</small>")

    def redraw(_=None):
        try:
            figure = draw(**{name: control.value for name, control in controls.items()})
        except ValueError as error:
            message.value = f"<small>{error}</small>"
            return
        picture.value = _png(figure)
        message.value = f"<small>{alt}</small>"

    for control in controls.values():
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*controls.values(), message, picture])


def live(draw: Callable[..., Figure], *, alt: str) -> tuple[ipywidgets.VBox, Callable]:
    """A picture that changes while something runs: the box to display, and the function that redraws it.

    The function passes what it is called with on to ``draw``; it serves as ``watch`` of `training.loop.fit`.
    ``alt`` describes the picture in a sentence.

    >>> from mammo_utils.show.figures import new
    >>> box, redraw = live(lambda history: new(size=(1, 1))[0], alt="an empty figure")
    >>> redraw([]), bytes(box.children[-1].value[1:4])
    (None, b'PNG')
    """
    picture = _picture()

    def redraw(*values) -> None:
        picture.value = _png(draw(*values))

    return ipywidgets.VBox([ipywidgets.HTML(f"<small>{alt}</small>"), picture]), redraw


def _picture() -> ipywidgets.Image:
    return ipywidgets.Image(format="png", layout={"max_width": "100%"})


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
