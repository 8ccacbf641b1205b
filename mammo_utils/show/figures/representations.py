"""Figures of notebook 04 about what encoders have learnt: whose images they put close together.

``z`` {source: features (N, D) as of `models.pretext.embed`}; ``images`` are the N images behind them, an
``ImageCache`` or ``Arrays``, and ``table`` is theirs.  Names and colours are those of `figures.sources`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mammo_utils.data.batches import Batches
from mammo_utils.data.strengths import INTENSITY, STRENGTHS, Ranges
from mammo_utils.evaluation import representation
from mammo_utils.models import pretext
from mammo_utils.models.segmenter import Segmenter
from mammo_utils.show.figures import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, image, new
from mammo_utils.show.figures.sources import called, heading, look

# Parts of what `data.augment` does in training, each by itself.
STANDARD, CROP = STRENGTHS["standard"], STRENGTHS["crop"]
CHANGES = {
    "other grey\nvalues": Ranges(**INTENSITY),
    "moved, bent,\nflipped": replace(STANDARD, **{name: getattr(Ranges(), name) for name in INTENSITY}),
    "cropped": Ranges(**{name: getattr(CROP, name) for name in ("scale", "centre_rows", "centre_columns")}),
}
WHEEL = (BLUE, ORANGE, GREEN, PINK, SKY, RED)


def alike(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Which images share the woman, the breast, the view: boolean matrices (N, N)."""
    woman, side = table["group"].to_numpy(str), table["laterality"].to_numpy(str)
    values = {"woman": woman, "breast": np.char.add(woman, side), "view": table["view"].to_numpy(str)}
    return {name: own[:, None] == own for name, own in values.items()}


def relatives(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Pairs of images that differ in one thing or in the woman: boolean matrices (N, N)."""
    same = alike(table)
    return {
        "other view,\nsame breast": same["breast"] & ~same["view"],
        "other breast,\nsame view": same["woman"] & ~same["breast"] & same["view"],
        "another woman,\nsame view": ~same["woman"] & same["view"],
    }


def chosen(table: pd.DataFrame, count: int) -> list[int]:
    """Rows of ``count`` left CC images whose women are spread evenly from little to much dense tissue."""
    own = table[(table["laterality"] == "L") & (table["view"] == "CC")]["percent_density"]
    places = ((np.arange(count) + 0.5) / count * len(own)).astype(int)
    return own.sort_values(kind="stable").index[places].tolist()


def nearest(z: Mapping[str, np.ndarray], table: pd.DataFrame) -> pd.DataFrame:
    """Row number of the image nearest to each one that is not of the same breast; a column a source."""
    breast = table["group"].to_numpy(str) + table["laterality"].to_numpy(str).astype(object)
    return pd.DataFrame(
        {name: representation.neighbours(own, 1, groups=breast)[:, 0] for name, own in z.items()}
    )


def kinship(found: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """What the images of `nearest` share with those that they are nearest to; a row a source.

    Columns: the shares with the same ``woman``, ``view`` and ``vendor``, and the mean ``gap`` of percent
    density in points.  The last row is what a draw by lot among the images of other breasts would give.
    """
    same, vendor = alike(table), table["machine"].to_numpy(str)
    percent = table["percent_density"].to_numpy(float)
    values = {"woman": same["woman"], "view": same["view"], "vendor": vendor[:, None] == vendor}
    values["gap"] = np.abs(percent[:, None] - percent)
    rows = np.arange(len(table))
    shares = {name: {key: own[rows, at].mean() for key, own in values.items()} for name, at in found.items()}
    lot = {
        key: np.mean([own[row, ~same["breast"][row]].mean() for row in rows]) for key, own in values.items()
    }
    return pd.DataFrame(shares | {"by lot": lot}).T


def neighbours(images, found: pd.DataFrame, rows: Sequence[int]) -> Figure:
    """The images ``rows`` at the left and beside each the nearest one of another breast for each source."""
    table, percent = images.table, images.table["percent_density"].to_numpy(float)
    figure, axes = new(len(rows), 1 + found.shape[1], size=(9.2, 1.72 * len(rows) + 0.4))
    for line, row in zip(axes, rows, strict=True):
        image(line[0], images.images[row] / 65535)
        line[0].set_ylabel(f"{percent[row]:.0f} % dense", fontsize=8)
        for ax, at in zip(line[1:], found.loc[row], strict=True):
            image(ax, images.images[at] / 65535)
            same = table["group"][at] == table["group"][row]
            words = "same woman" if same else f"{percent[at] - percent[row]:+.0f} points".replace("-", "−")
            ax.set_xlabel(words, fontsize=8, color=GREEN if same else INK)
            if same:
                ax.spines[:].set(visible=True, color=GREEN, linewidth=3)
    for ax, name in zip(axes[0], ["image", *map(called, found)], strict=True):
        heading(ax, name)
    return figure


def maps(z: Mapping[str, np.ndarray], table: pd.DataFrame, *, women: int = 6) -> Figure:
    """`representation.plane` of each source, coloured by woman, by view, by percent density and by vendor.

    Of ``women`` spread over the densities the four images are joined; those of all others are grey.
    """
    percent = table["percent_density"].to_numpy(float)
    picked = dict(zip(table["group"][chosen(table, women)], WHEEL * women, strict=False))
    figure, axes = new(4, len(z), size=(10.5, 6.8))
    for ax, (name, own) in zip(axes.T, z.items(), strict=True):
        found = representation.plane(own)
        heading(ax[0], called(name))
        ax[0].plot(*found.points.T, ".", color="#CCCCCC", ms=3)
        for woman, colour in picked.items():
            points = found.points[(table["group"] == woman).to_numpy()]
            for point in points:
                ax[0].plot(*np.stack([points.mean(0), point]).T, ".-", color=colour, ms=5, lw=0.9)
        for part, value, colours in ((ax[1], "view", (SKY, RED)), (ax[3], "machine", (BLUE, ORANGE, GREEN))):
            for level, colour in zip(sorted(table[value].unique()), colours, strict=False):
                at = (table[value] == level).to_numpy()
                part.plot(*found.points[at].T, ".", color=colour, ms=4, label=level)
        drawn = ax[2].scatter(*found.points.T, c=percent, cmap="cividis", s=7)
        for part in ax:
            part.set(xticks=[], yticks=[])
            part.spines[:].set(visible=True, color="#CCCCCC")
    for ax in axes[[1, 3], -1]:
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0)
    figure.colorbar(drawn, cax=axes[2, -1].inset_axes([1.08, 0.1, 0.07, 0.8]), label="% dense")
    for ax, label in zip(axes[:, 0], (f"{women} women", "view", "density", "vendor"), strict=True):
        ax.set_ylabel(label)
    return figure


def evenness(table: pd.DataFrame) -> Figure:
    """Alignment over uniformity, both the better the lower: filled for views of a woman, small for versions.

    ``table``: a row a source; columns ``uniformity`` and the two alignments ``views`` and ``versions``.
    """
    figure, axes = new(1, 1, size=(7.5, 3.8))
    ax = axes[0, 0]
    for name, row in table.iterrows():
        style = look(name) | {"ls": "none"}
        ax.plot(
            [row["uniformity"]] * 2, [row["versions"], row["views"]], color=style["color"], lw=0.8, zorder=1
        )
        ax.plot(row["uniformity"], row["views"], ms=9, label=called(name), **style)
        ax.plot(row["uniformity"], row["versions"], ms=5, **style | {"mfc": "white"})
    ax.set(xlabel="uniformity (left: spread more evenly)", ylabel="alignment (low: pairs lie close)")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def changed(encoder: Segmenter, images, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Features of all images after each of ``CHANGES``, (N, D) each."""
    return {
        name: pretext.embed(encoder, _batches(images, None, ranges, seed)).numpy()
        for name, ranges in CHANGES.items()
    }


def _batches(images, rows, ranges: Ranges, seed: int) -> Batches:
    return Batches(images, rows, target="breast", batch_size=64, augment=ranges, seed=seed)


def closeness(z: np.ndarray, versions: Mapping[str, np.ndarray], table: pd.DataFrame) -> pd.Series:
    """Mean cosine between an image and each of its ``versions`` and `relatives`.

    The mean of ``z`` is taken away first: without it all images of an encoder may point in one direction.
    1 where an encoder does not see the change; 0 where the two are no more alike than any two images.
    """
    centre = z.mean(0)
    unit, *others = (_unit(rows - centre) for rows in (z, *versions.values()))
    found = {name: (unit * rows).sum(1).mean() for name, rows in zip(versions, others, strict=True)}
    cosine = unit @ unit.T
    return pd.Series(found | {name: cosine[pairs].mean() for name, pairs in relatives(table).items()})


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def examples(images, row: int, *, seed: int = 0) -> list[np.ndarray]:
    """An image, its versions as in `changed`, and one of each kind of `relatives`."""
    others = [np.flatnonzero(pairs[row])[0] for pairs in relatives(images.table).values()]
    batches = [_batches(images, [row], ranges, seed) for ranges in CHANGES.values()]
    versions = [next(iter(batch)).image[0, 0].numpy() for batch in batches]
    return [images.images[row] / 65535, *versions, *(images.images[other] / 65535 for other in others)]


def invariance(table: pd.DataFrame, pictures: Sequence[np.ndarray]) -> Figure:
    """`closeness` of each source, a column a change, below the ``pictures`` of an image and its changes."""
    count, high = table.shape[1], 0.36 * len(table)
    figure, axes = new(2, count + 1, size=(10.5, high + 2.2), height_ratios=(2, high))
    for ax, pixels, title in zip(axes[0], pictures, ["image", *table.columns], strict=True):
        image(ax, pixels)
        heading(ax, title)
    grid = axes[1, 0].get_gridspec()
    for ax in axes[1]:
        ax.remove()
    ax = figure.add_subplot(grid[1, 1:])
    ax.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (line, column), value in np.ndenumerate(table.to_numpy()):
        colour = "white" if value < 0.5 else "black"
        text = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no minus before a zero
        ax.text(column, line, text, ha="center", va="center", color=colour)
    ax.set(xticks=[], yticks=range(len(table)), yticklabels=map(called, table.index))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for label in ax.get_yticklabels():  # below the image: they must not push the columns apart
        label.set_in_layout(False)
    return figure
