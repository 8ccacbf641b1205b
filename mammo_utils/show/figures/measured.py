"""The picture beside a percent density: where a network sees the breast and its dense tissue."""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure

from mammo_utils.show.figures import INK, ORANGE, RED, SKY, image, new, outline

CHARACTERS = 66  # of a line below the picture


def overlay(found, *, note: str) -> Figure:
    """The prepared image with the outlines of breast and dense tissue; what was found stands below it.

    ``found``: a `study.density_tool.Measured` with masks.  Nothing is written into the image and no name of a
    file or patient anywhere; ``note`` says what the network is.
    """
    height, width = found.image.shape
    figure, axes = new(size=(4.2, 4.2 * height / width + 1.2))
    image(axes[0, 0], found.image, interpolation="bilinear")
    outline(axes[0, 0], found.breast, SKY)
    outline(axes[0, 0], found.dense, ORANGE)
    said = f"percent density {found.percent:.1f} % ({found.low:.1f} to {found.high:.1f}), class {found.grade}"
    verdict = f"{found.verdict.upper()}: {found.reason}" if found.reason else found.verdict
    handles = [axes[0, 0].plot([], [], color=colour)[0] for colour in (SKY, ORANGE)]
    figure.legend(handles, ["breast", "dense tissue"], loc="outside upper center", ncols=2, frameon=False)
    lines = [line for text in (said, verdict, note) for line in textwrap.wrap(text, CHARACTERS)]
    figure.supxlabel("\n".join(lines), fontsize=8, color=RED if found.reason else INK)
    return figure
