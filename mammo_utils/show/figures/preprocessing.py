"""Figures of the way from a file to a prepared image."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mammo_utils.data import dicom, display, header, pixels, preprocess

INK, FAINT, OUTLINE = "#222222", "#5c5c5c", "#ffb000"
SHAPE = 13 / 16  # width over height of the prepared image
WIDTH, HEIGHT, HEAD, FOOT = (
    15.0,
    4.4,
    0.8,
    1.35,
)  # of the row of pictures and of the text around it, in inches


def _row(ratios: list[float]) -> tuple[Figure, np.ndarray]:
    """A figure with one row of pictures of equal height, text around it; ``ratios`` are width / height."""
    gap = 0.18
    tall = min(HEIGHT, (WIDTH - gap * (len(ratios) + 1)) / sum(ratios))
    wide, high = tall * sum(ratios) + gap * (len(ratios) + 1), tall + HEAD + FOOT
    figure = Figure(figsize=(wide, high), dpi=110)
    frame = {"left": gap / wide, "right": 1 - gap / wide, "top": 1 - HEAD / high, "bottom": FOOT / high}
    space = gap * len(ratios) / (tall * sum(ratios))
    return figure, figure.subplots(1, len(ratios), width_ratios=ratios, gridspec_kw=frame | {"wspace": space})


def _panel(axes, title: str, image: np.ndarray, caption: str, **limits) -> None:
    axes.imshow(image, cmap="gray", interpolation="antialiased", aspect="auto", **limits)
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    inches = axes.get_position().width * axes.figure.get_figwidth()
    axes.set_xlabel(fill(caption, int(inches * 14)), loc="left", fontsize=8.5, color=FAINT)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _raw(path, size: int) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, str]]]:
    """The stored values, coarse where the file allows it, and the stages that follow by name."""
    with header.naming(path):
        if header.kind(path) != "DICOM":
            return pixels.picture(path), {}
        ds = header.parse(path)
        stored, _ = pixels.decode(ds, size=size)
        return stored, {name: (image, said) for name, image, said in display.stages(stored, ds)}


def _outline(axes, prepared: preprocess.Prepared) -> None:
    """The foreground and the crop in the frame of the picture as read."""
    foreground = prepared.to_original(prepared.foreground)
    axes.contour(foreground, [0.5], colors=OUTLINE, linewidths=1.4)
    top, left, bottom, right = prepared.box
    if prepared.flipped:
        left, right = foreground.shape[1] - right, foreground.shape[1] - left
    box = (left - 0.5, top - 0.5), right - left, bottom - top
    axes.add_patch(Rectangle(*box, fill=False, edgecolor="white", linestyle=(0, (4, 3)), linewidth=1.2))


def steps(path, *, size: int = 512) -> Figure:
    """Draw how a file becomes a prepared image ``size`` pixels tall: five panels and what was applied.

    Nothing of the header is drawn but side, view and what was done to the pixels.  A picture in which no
    breast is found is drawn with the reason in place of the last panel.

    Raises
        ImageReadError: the file cannot be read.
    """
    found = dicom.read(path, size=2 * size)
    stored, stages = _raw(path, size)
    windowed, window = stages.get("values of interest", (found.image, "range of the file type scaled to 0–1"))
    _, units = stages.get("modality", (None, ""))
    _, inverted = stages.get("polarity", (None, ""))
    _, padded = stages.get("padding", (None, ""))

    figure, panels = _row([found.image.shape[1] / found.image.shape[0]] * 4 + [SHAPE])
    _panel(panels[0], "1  Stored values", stored, f"{stored.min()} (black) to {stored.max()} (white)")
    caption = "; ".join(each for each in (units, window) if each)
    _panel(panels[1], "2  Modality and VOI", windowed, caption, vmin=0, vmax=1)
    caption = "; ".join(each for each in (inverted, padded) if each) or "nothing to invert"
    _panel(panels[2], "3  Bright = dense", found.image, caption, vmin=0, vmax=1)
    caption = "outline: breast with muscle; dashed: crop"
    try:
        prepared = preprocess.prepare(found.image, (size, round(size * SHAPE)), laterality=found.laterality)
    except preprocess.NoBreastError as error:
        _panel(panels[3], "4  No breast", found.image, "", vmin=0, vmax=1)
        panels[4].set_axis_off()
        panels[4].text(0, 1, fill(str(error), 34), va="top", fontsize=10, color=INK)
    else:
        _panel(panels[3], "4  Breast found", found.image, caption, vmin=0, vmax=1)
        _outline(panels[3], prepared)
        height, width = prepared.image.shape
        caption = f"{height}×{width}, {'mirrored, ' if prepared.flipped else ''}chest wall left"
        _panel(panels[4], "5  Prepared", prepared.image, caption, vmin=0, vmax=1)

    edge, (wide, high) = panels[0].get_position().x0, figure.get_size_inches()
    side = (
        " ".join(each for each in (found.laterality, found.view) if each) or "side and view not in the file"
    )
    figure.text(edge, 1 - 0.2 / high, f"{Path(path).name}  ·  {side}", va="top", fontsize=13, color=INK)
    applied = fill("Applied: " + "  →  ".join(found.applied), int(wide * 13))
    figure.text(edge, 0.1 / high, applied, va="bottom", fontsize=9, color=FAINT)
    return figure
