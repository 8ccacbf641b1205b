"""Where a run is, and how that is kept on disk: tensors and plain values only, replaced in one piece."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from mammo_utils.training.history import History


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says where it stopped and what to change."""


class Run:
    """The state of a run: finished epochs, and steps and sums within the epoch under way."""

    def __init__(self, model: nn.Module, optimiser, fabric: Fabric, *, path, settings: dict):
        self.model, self.optimiser, self.fabric = model, optimiser, fabric
        self.path, self.settings = None if path is None else Path(path), settings
        self.history = History()
        self.best = None  # weights of the best epoch
        self.epoch = 0
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.step, self.batches, self.loss, self.images, self.seconds = 0, 0, 0.0, 0, 0.0

    def finish_epoch(self, steps: int, *, lr: float) -> None:
        """Add the row of the epoch to the history."""
        self.epoch += 1
        if self.fabric.world_size > 1:
            sums = self.fabric.all_reduce(torch.tensor([self.loss, self.images]), reduce_op="sum")
            self.loss, self.images = sums[0].item(), int(sums[1])
        self.history.rows.append(
            {
                "epoch": self.epoch,
                "step": self.epoch * steps,
                "loss": self.loss / self.images,
                "lr": lr,
                "seconds": self.seconds,
                "images": self.images,
                "images_per_second": self.images / self.seconds,
            }
        )
        self._start_epoch()

    def judge(self, scores: dict[str, float], sign: int, patience: int | None) -> None:
        """Add scores to the last row, keep the weights if they are best, end a run that waits in vain."""
        history = self.history
        history.metric = next(iter(scores))
        history.rows[-1] |= scores
        value, best = scores[history.metric], history.best
        if best != best or sign * value > sign * best:  # NaN: the first
            history.best_epoch = self.epoch
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        waited = sum(history.metric in row and row["epoch"] > history.best_epoch for row in history.rows)
        if patience is not None and waited >= patience:
            history.ended = f"no better {history.metric} in {waited} scores"

    def load_best(self) -> None:
        """Give the model the weights of the best epoch."""
        if self.best is not None:
            self.model.load_state_dict(self.best)

    @property
    def remedy(self) -> str:
        """What to change in a run whose numbers are not finite, and what is left of it."""
        kept = self.path is not None and self.path.exists()
        return "lower lr, set clip, look at the images, or train with precision='32-true'" + (
            f"; {self.path} holds the state before" if kept else ""
        )

    def save(self) -> None:
        """Write the state, if there is a path; a kill at any moment leaves the old or the new file.

        Raises ``TrainingError`` for weights that are not finite, path or not: nothing could go on from them.
        """
        # A finite loss may have a gradient that is not, and after the last step no loss would tell.
        if not torch.stack([weight.isfinite().all() for weight in self.model.parameters()]).all():
            raise TrainingError(
                f"weights are no longer finite after {len(self.history.rows)} epochs and {self.step} steps, "
                f"though the loss was: {self.remedy}"
            )
        if not self.path or not self.fabric.is_global_zero:
            return
        plain = ("epoch", "step", "batches", "loss", "images", "seconds", "settings", "best")
        state = {name: getattr(self, name) for name in plain} | {"history": vars(self.history)}
        state |= {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        state["scaler"] = self.fabric.strategy.precision.state_dict()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(self.path.name + ".part")
        torch.save(state, draft)
        os.replace(draft, self.path)

    def restore(self) -> None:
        """Go on from the file, if there is one.

        Raises ``ValueError`` if it is not such a state, or if it comes from a run with other settings or of
        another model.
        """
        if not self.path or not self.path.exists():
            return
        try:
            state = torch.load(self.path, map_location=self.fabric.device, weights_only=True)
            found = state.pop("settings")
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, AttributeError) as error:
            raise ValueError(f"{self.path} is not a checkpoint of fit; remove it to start afresh") from error
        other = [
            f"{name} is {found.get(name)!r} there and {self.settings.get(name)!r} here"
            for name in sorted(found | self.settings)
            if found.get(name) != self.settings.get(name)
        ]
        if other:
            raise ValueError(
                f"{self.path} comes from another run: {'; '.join(other)}; use the settings of that run, "
                "or another file to start afresh"
            )
        try:
            self.model.load_state_dict(state.pop("model"))
            self.optimiser.load_state_dict(state.pop("optimiser"))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.path} comes from another model or strategy; use that one, or another file to start "
                f"afresh: {error}"
            ) from error
        self.fabric.strategy.precision.load_state_dict(state.pop("scaler"))
        vars(self.history).update(state.pop("history"))
        vars(self).update(state)
