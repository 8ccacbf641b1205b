"""What a loss asks for where nobody can be sure: its best answers, without a network in between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

STARTS = (-1.0, 0.0, 1.0)  # logits; overlap losses have valleys, and the lowest of three is taken


def answers(
    loss: Callable, shares, *, pixels: int = 50, steps: int = 300, rate: float = 0.3, **options
) -> np.ndarray:
    """The probability that minimises ``loss`` for each kind of pixel, all kinds together in one image.

    ``shares``: K numbers 0–1; of the ``pixels`` pixels of kind k this share is labelled dense, rounded to
    whole pixels, and a network can tell the kinds apart but not the pixels of a kind.  The breast is the
    whole image.  ``loss``: a function of `losses`, called with ``options``.  ``steps`` of Adam at ``rate``,
    falling to 0 by a cosine.

    Returns K probabilities.

    >>> from mammo_utils.training import losses
    >>> print(answers(losses.bce, [0.1, 0.5, 0.8]).round(2))
    [0.1 0.5 0.8]
    """
    shares = np.asarray(shares, float)
    marked = np.arange(pixels) < np.round(shares * pixels)[:, None]
    target = torch.tensor(marked, dtype=torch.float32).expand(len(STARTS), 1, -1, -1)
    # The starts are images of one batch: a loss is the mean over images, so they do not disturb each other.
    logit = torch.tensor(STARTS)[:, None].repeat(1, len(shares)).requires_grad_()
    optimiser = torch.optim.Adam([logit], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def value(rows: slice) -> torch.Tensor:
        spread = logit[rows, None, :, None].expand_as(target[rows])
        return loss(spread, target[rows], breast=torch.ones_like(target[rows]), **options)

    for _ in range(steps):
        optimiser.zero_grad()
        value(slice(None)).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        best = int(np.argmin([value(slice(start, start + 1)).item() for start in range(len(STARTS))]))
        return logit[best].sigmoid().numpy()
