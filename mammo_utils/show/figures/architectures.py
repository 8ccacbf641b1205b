"""Figures of notebook 03 about the networks themselves: how they are built and how far they see."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from mammo_utils.models.inspect import reach
from mammo_utils.models.segmentation import MODELS, Segmenter
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, new

# One colour a network through the whole notebook: blue and green for convolutions, warm for transformers.
COLOURS = {
    "unet/mobilenetv2_050": BLUE,
    "nnunet/small": SKY,
    "segformer/small": RED,
    "upernet/swin_small": ORANGE,
    "dpt/test_vit": PINK,
    "sam/small": GREEN,
}
ENCODER, DECODER = "#4C7FA8", "#E0A23C"


def short(name: str) -> str:
    """How a network is called on a figure: its family, and what kind it is.

    >>> short("dpt/test_vit")
    'DPT (ViT)'
    """
    inside = {"dpt/test_vit": " (ViT)", "upernet/swin_small": " (Swin)"}
    return MODELS[name].family + inside.get(name, "")


def sketches() -> Figure:
    """Five ways from an image to a mask, blocks as tall as their maps are fine (sketches, not to scale)."""
    figure, axes = new(1, 5, size=(10, 2.7))
    kinds = {
        "U-Net, nnU-Net style": ("3×3 convolutions", (2, 4, 8, 16, 32), (16, 8, 4, 2), "skips"),
        "SegFormer": ("attention to all,\nthinned out", (4, 8, 16, 32), (4,), "all"),
        "UPerNet (Swin)": ("attention in\nshifted windows", (4, 8, 16, 32), (16, 8, 4), "skips"),
        "DPT (ViT)": ("attention to all", (16, 16, 16, 16), (16, 8, 4), "all"),
        "SAM-like": ("windows, then\nattention to all", (16, 16, 16, 16), (4,), "prompt"),
    }
    for ax, (name, (sees, encoder, decoder, links)) in zip(axes.flat, kinds.items(), strict=True):
        _sketch(ax, encoder, decoder, links)
        ax.set_title(name, color=INK)
        ax.text(0.5, -0.04, sees, ha="center", va="top", fontsize=8, color=INK, transform=ax.transAxes)
    handles = [axes[0, 0].add_patch(Rectangle((0, 0), 0, 0, color=c)) for c in (ENCODER, DECODER)]
    handles += axes[0, 0].plot([], [], color="#777777", lw=1, ls="dotted")
    names = ["encoder", "decoder", "maps handed over"]
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _sketch(ax: Axes, encoder: tuple[int, ...], decoder: tuple[int, ...], links: str) -> None:
    tall = {stride: 0.94 - 0.16 * np.log2(stride) for stride in (2, 4, 8, 16, 32)}
    step = 1 / (len(encoder) + len(decoder))
    for place, stride in enumerate((*encoder, *decoder)):
        colour = ENCODER if place < len(encoder) else DECODER
        spot = (place * step + 0.1 * step, 0.5 - tall[stride] / 2)
        ax.add_patch(Rectangle(spot, 0.8 * step, tall[stride], color=colour))
    dotted = {"color": "#777777", "lw": 1, "ls": "dotted"}
    if links == "skips":  # every map to the one of its own size
        for stride in decoder:
            ends = [encoder.index(stride), len(encoder) + decoder.index(stride)]
            ax.plot([(end + 0.5) * step for end in ends], [0.5 + tall[stride] / 2] * 2, **dotted)
    elif links == "all":  # all maps to the first block of the decoder
        blocks = [*enumerate(encoder), (len(encoder), decoder[0])]
        for place, stride in blocks:
            ax.plot([(place + 0.5) * step] * 2, [0.06, 0.5 - tall[stride] / 2], **dotted)
        ax.plot([0.5 * step, (len(encoder) + 0.5) * step], [0.06, 0.06], **dotted)
    if links == "prompt":
        x = (len(encoder) + 0.5) * step
        ax.add_patch(Rectangle((x - 0.07, 0.02), 0.14, 0.13, fill=False, color=INK, lw=1.2))
        ax.plot([x, x], [0.16, 0.5 - tall[decoder[0]] / 2], color=INK, lw=1)
        ax.text(x - 0.1, 0.08, "box", ha="right", va="center", fontsize=8, color=INK)
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def parts(networks: Mapping[str, Segmenter]) -> Figure:
    """Parameters of each network from stem to head, as one bar cut into its parts."""
    figure, axes = new(1, 1, size=(9, 0.5 * len(networks) + 0.9))
    ax, widest = axes[0, 0], max(map(_total, networks.values()))
    for row, network in enumerate(networks.values()):
        start, sizes = 0.0, _sizes(network)
        for number, (part, size) in enumerate(sizes):
            behind = part in ("decoder", "head")
            colour = DECODER if behind else ENCODER
            ax.barh(
                row,
                size,
                left=start,
                height=0.66,
                color=colour,
                alpha=1.0 if behind else 0.35 + 0.13 * number,
                edgecolor="white",
                lw=0.8,
            )
            if size > 0.011 * len(part) * widest:
                ax.text(start + size / 2, row, part, ha="center", va="center", fontsize=7.5, color="white")
            start += size
        ax.text(start + 0.015, row, f"{start:.2f} M", va="center", fontsize=8, color=INK)
    ax.set(yticks=range(len(networks)), yticklabels=[short(name) for name in networks])
    ax.set(xlabel="million parameters", xlim=(0, 1.1 * widest))
    ax.invert_yaxis()
    handles = [Rectangle((0, 0), 1, 1, color=colour) for colour in (ENCODER, DECODER)]
    ax.legend(handles, ["encoder, darker towards its end", "decoder and head"], frameon=False, fontsize=8)
    return figure


def _sizes(network: Segmenter) -> list[tuple[str, float]]:
    return [(name, sum(p.numel() for p in part.parameters()) / 1e6) for name, part in network.parts]


def _total(network: Segmenter) -> float:
    return sum(size for _, size in _sizes(network))


def fields(rows: Mapping[str, Mapping[str, np.ndarray]], *, floor: float = 1e-3) -> Figure:
    """Receptive fields (`models.inspect.receptive_field`): a row each of ``rows``, a column each network.

    Shades are logarithmic, from ``floor`` of the maximum on; the circle holds half of the field.
    """
    columns = list(next(iter(rows.values())))
    figure, axes = new(len(rows), len(columns), size=(1.55 * len(columns) + 1.2, 2.15 * len(rows) + 0.3))
    for number, (row, found) in enumerate(rows.items()):
        line = axes[number]
        for ax, name in zip(line, columns, strict=True):
            field = found[name]
            shown = ax.imshow(
                np.log10(np.maximum(field, floor)), cmap="viridis", vmin=np.log10(floor), vmax=0
            )
            radius = reach(field, 0.5)
            height, width = field.shape
            ax.add_patch(Circle((width // 2, height // 2), radius, fill=False, color="white", lw=1.2))
            ax.set(xticks=[], yticks=[], xlabel=f"radius {radius:.0f} px")
            if number == 0:
                ax.set_title(short(name) if name in MODELS else name, fontsize=9)
        line[0].set_ylabel(row)
    bar = figure.colorbar(shown, ax=axes, shrink=0.7, ticks=range(round(np.log10(floor)), 1))
    bar.ax.set_yticklabels([f"{10.0**tick:g}" for tick in bar.get_ticks()])
    bar.set_label("influence on the middle pixel", fontsize=8)
    return figure


def time_against_operations(costs, milliseconds: Mapping[str, float]) -> Figure:
    """Milliseconds of a forward pass against counted operations, a point each network.

    ``costs``: a table with a row each network and the column ``flops``.  On the dotted line through zero all
    networks do as many operations a second as the median one.
    """
    figure, axes = new(1, 1, size=(7, 3))
    ax = axes[0, 0]
    for name, flops in costs["flops"].items():
        ax.plot(flops / 1e6, milliseconds[name], "o", ms=8, color=COLOURS[name], label=short(name))
    slope = float(np.median([milliseconds[name] / (flops / 1e6) for name, flops in costs["flops"].items()]))
    ax.axline((0, 0), slope=slope, color="#777777", lw=1, ls="dotted", label="equal speed", zorder=0)
    ax.set(xlabel="million operations an image", ylabel="milliseconds an image")
    ax.set(xlim=(0, 1.08 * costs["flops"].max() / 1e6), ylim=(0, 1.25 * max(milliseconds.values())))
    figure.legend(loc="outside right center", frameon=False)
    return figure
