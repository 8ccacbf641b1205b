"""What happened in a run: one row an epoch, and a bar of text while it goes on."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import pandas as pd
from tqdm import tqdm


@dataclass
class History:
    """One row an epoch in ``rows``; ``best_epoch`` is the epoch whose weights the model has now, or 0 without
    validation, when it has the last.

    Keys of a row: ``epoch`` (1 is the first), ``step`` (changes of the weights so far), ``loss`` (mean over
    the images of the epoch), ``lr`` (the highest, at the last step), ``seconds`` and ``images`` of
    training alone, ``images_per_second``, and where it was validated the names that the metric gives;
    ``metric`` is the one that decides.  ``ended`` says why the run ended.
    """

    rows: list[dict] = field(default_factory=list)
    metric: str = ""
    best_epoch: int = 0
    ended: str = ""

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame(self.rows)

    @property
    def values(self) -> list[float]:
        """The validation values so far."""
        return [row[self.metric] for row in self.rows if self.metric in row]

    @property
    def best(self) -> float:
        """Validation value of ``best_epoch``; NaN without validation."""
        return next((row[self.metric] for row in self.rows if row["epoch"] == self.best_epoch), float("nan"))

    @property
    def seconds(self) -> float:
        """Time spent in training, validation left out."""
        return sum(row["seconds"] for row in self.rows)

    @property
    def images_per_second(self) -> float:
        """Images that went through the model in training, a second."""
        return sum(row["images"] for row in self.rows) / max(self.seconds, 1e-9)


def milestones(curve: dict[int, float], level: float) -> dict[str, float]:
    """What a ``curve`` of {images so far: value} comes to.

    ``watched`` is its last value, ``watched_mean`` the mean of all, ``images_to_level`` the images after
    which it first was ``level``, or all of them with ``reached`` 0.

    >>> milestones({100: 0.5, 200: 0.8, 300: 0.7}, 0.75)["images_to_level"]
    200.0
    """
    first = next((images for images, value in curve.items() if value >= level), None)
    last, value = list(curve.items())[-1]
    return {
        "watched": value,
        "watched_mean": sum(curve.values()) / len(curve),
        "reached": float(first is not None),
        "images_to_level": float(last if first is None else first),
    }


class Bar:
    """A bar of text on a terminal with loss, validation value, images a second and time left."""

    def __init__(self, run, *, total: int, done: int, shown: bool):
        self.run = run
        # A notebook has its live curve; there a bar on stderr would stand as an error.
        shown = shown and sys.stderr.isatty() and run.fabric.is_global_zero
        form = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}"
        self.bar = tqdm(total=total, initial=done, disable=not shown, bar_format=form)

    def move(self) -> None:
        """Move on by one step."""
        if self.bar.disable:
            return
        run, history = self.run, self.run.history
        value = f", {history.metric} {history.values[-1]:.3f}" if history.values else ""
        loss = run.loss / max(run.images, 1)
        speed = run.images / max(run.seconds, 1e-9)
        self.bar.set_description_str(f"epoch {run.epoch + 1}", refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.4f}{value}, {speed:.0f} images/s", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()
