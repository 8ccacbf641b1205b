"""Figures of notebook 01: the way from a file to a prepared image, and what it costs."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mammo_utils.data import dicom, display, header, pixels, preprocess
from mammo_utils.show import figures

INK, FAINT, OUTLINE = "#222222", "#5c5c5c", "#ffb000"
WIDTH, HEIGHT, HEAD, FOOT = 15.0, 4.4, 0.8, 1.1  # of a row of pictures and the text around it, inches


def _row(ratios: list[float]) -> tuple[Figure, np.ndarray]:
    """A figure with one row of pictures of equal height, text around it; ``ratios`` are width / height."""
    gap = 0.18
    tall = min(HEIGHT, (WIDTH - gap * (len(ratios) + 1)) / sum(ratios))
    wide, high = tall * sum(ratios) + gap * (len(ratios) + 1), tall + HEAD + FOOT
    figure = plt.figure(figsize=(wide, high), dpi=90)
    plt.close(figure)
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

    figure, panels = _row(
        [found.image.shape[1] / found.image.shape[0]] * 4 + [preprocess.width_for(size) / size]
    )
    _panel(panels[0], "1  Stored values", stored, f"{stored.min()} (black) to {stored.max()} (white)")
    caption = "; ".join(each for each in (units, window) if each)
    _panel(panels[1], "2  Modality and VOI", windowed, caption, vmin=0, vmax=1)
    caption = "; ".join(each for each in (inverted, padded) if each) or "nothing to invert"
    _panel(panels[2], "3  Bright = dense", found.image, caption, vmin=0, vmax=1)
    caption = "outline: breast with muscle; dashed: crop"
    try:
        prepared = preprocess.prepare(
            found.image, (size, preprocess.width_for(size)), laterality=found.laterality
        )
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


def branches(files: dict[str, tuple], columns: int = 5) -> Figure:
    """What a header makes of stored values: the curve from number to grey over a histogram, and the picture.

    ``files`` {name: (stored values H×W, pydicom Dataset)}.
    """
    rows = -(-len(files) // columns)
    figure, axes = figures.new(2 * rows, columns, size=(10, 4.1 * rows), height_ratios=(1, 1.7) * rows)
    for number, (name, (stored, ds)) in enumerate(files.items()):
        row, column = divmod(number, columns)
        curve, picture = axes[2 * row, column], axes[2 * row + 1, column]
        ramp = np.arange(2 ** int(ds.BitsStored))
        curve.plot(ramp, display.render(ramp[None], ds)[0][0], color=figures.BLUE)
        counts, edges = np.histogram(stored, 60)
        curve.stairs(np.sqrt(counts / counts.max()), edges, fill=True, color="#DDDDDD", zorder=0)
        curve.set(ylim=(-0.03, 1.03), yticks=[0, 1], xticks=[0, ramp[-1]], title=name)
        curve.set(xlabel="stored value" if column == 0 else "", ylabel="grey" if column == 0 else "")
        figures.image(picture, display.render(stored, ds)[0])
    for ax in axes.reshape(rows, 2, columns).transpose(1, 0, 2).reshape(2, -1)[:, len(files) :].flat:
        ax.set_axis_off()
    return figure


def window(values: np.ndarray, centre: float, width: float) -> Figure:
    """A LINEAR_EXACT window on values of interest (H×W): the ramp over their histogram, and the picture."""
    values = np.asarray(values, float)  # differences of unsigned integers would wrap around
    figure, axes = figures.new(1, 2, size=(8, 3.6), width_ratios=(1.5, 1))
    left, right = axes[0]
    bins = np.linspace(0, 4096, 129)
    left.hist(values.ravel(), bins, color="#CCCCCC", log=True)
    left.set(xlabel="stored value", ylabel="pixels (logarithmic)", xlim=(0, 4095))
    ramp = left.twinx()
    ramp.plot([0, centre - width / 2, centre + width / 2, 4095], [0, 0, 1, 1], color=figures.BLUE)
    ramp.set(ylabel="displayed grey (0 black, 1 white)", ylim=(-0.02, 1.02))
    shown = np.clip((values - centre) / width + 0.5, 0, 1)
    black, white = 100 * np.mean(shown == 0), 100 * np.mean(shown == 1)
    figures.image(right, shown, f"cut: {black:.0f} % to black, {white:.0f} % to white")
    return figure


def trap(shown: np.ndarray, right: np.ndarray, level: float) -> Figure:
    """An image that should have been inverted and was not, and what a threshold makes of both."""
    figure, axes = figures.new(1, 4, size=(10, 3.1))
    for (picture, mask), image, name in (
        (axes[0, :2], shown, "wrong: left as stored"),
        (axes[0, 2:], right, "right: inverted"),
    ):
        figures.image(picture, image, name)
        figures.image(mask, image > level, f"above {level:.1f}: {100 * np.mean(image > level):.0f} % of all")
    return figure


def gallery(images: dict[str, np.ndarray], size: int = 256) -> Figure:
    """Above the breast as it is found in each image, below the prepared image."""
    figure, axes = figures.new(2, len(images), size=(2.4 * len(images), 5.6))
    for (above, below), (name, image) in zip(axes.T, images.items(), strict=True):
        prepared = preprocess.prepare(image, (size, preprocess.width_for(size)))
        figures.image(above, image, name)
        figures.outline(above, prepared.to_original(prepared.foreground), OUTLINE)
        turned = "mirrored, " if prepared.flipped else ""
        figures.image(below, prepared.image, f"{turned}{size}×{preprocess.width_for(size)}")
    return figure


def there_and_back(image: np.ndarray, mask: np.ndarray, prepared: preprocess.Prepared) -> Figure:
    """A mask in the frame of the file, carried to the prepared image and back again."""
    figure, axes = figures.new(1, 3, size=(8, 3.4))
    there = prepared.to_prepared(mask)
    back = prepared.to_original(there)
    for ax, picture, outlined, name in (
        (axes[0, 0], image, mask, "in the file"),
        (axes[0, 1], prepared.image, there, "in the prepared image"),
        (axes[0, 2], image, back, "carried back"),
    ):
        figures.image(ax, picture, name)
        figures.outline(ax, outlined, figures.ORANGE)
    return figure


def resolution(pairs: dict[int, tuple], half_mm: float = 12) -> Figure:
    """A lesion at several image sizes: the crop, and below it what the lesion adds to its twin.

    ``pairs`` {size: (view with the lesion, the same view without)}.
    """
    figure, axes = figures.new(2, len(pairs), size=(2.6 * len(pairs), 5.4))
    crops = {size: _crop(view, half_mm) for size, (view, _) in pairs.items()}
    added = {size: (view.image - twin.image)[crops[size]] for size, (view, twin) in pairs.items()}
    top = max(np.abs(change).max() for change in added.values())
    for (above, below), (size, (view, _)) in zip(axes.T, pairs.items(), strict=True):
        crop = view.image[crops[size]]
        figures.image(
            above, crop, f"{size} pixels, {view.spacing_mm:.2f} mm each", span=(crop.min(), crop.max())
        )
        figures.image(
            below, added[size], f"added: up to {added[size].max():.2f}", span=(-top, top), cmap="PuOr_r"
        )
    return figure


def _crop(view, half_mm: float) -> tuple[slice, slice]:
    """A square around the lesion."""
    half = max(round(half_mm / view.spacing_mm), 3)
    middle = np.argwhere(view.lesion_mask).mean(axis=0).round().astype(int)
    middle = np.clip(middle, half, np.array(view.image.shape) - half)
    return tuple(slice(m - half, m + half) for m in middle)


def reduced(full: np.ndarray, quick: np.ndarray) -> Figure:
    """A full decode reduced by area beside a decode at reduced resolution, and their difference."""
    figure, axes = figures.new(1, 3, size=(8, 3.4))
    figures.image(axes[0, 0], full, "decoded in full, then reduced")
    figures.image(axes[0, 1], quick, "decoded at reduced resolution")
    change = quick - full
    figures.image(axes[0, 2], change, "difference, ±2 % of the range", span=(-0.02, 0.02), cmap="PuOr_r")
    return figure
