"""What a loss asks for where nobody can be sure: its best answers, without a network in between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

STARTS = (-1.0, 0.0, 1.0)  # logits of all kinds; overlap losses have valleys, and the lowest is taken
SURE = 8.0  # logit of a kind in a start that is all or nothing


def answers(
    loss: Callable, shares, *, pixels: int = 50, steps: int = 300, rate: float = 0.3, **options
) -> np.ndarray:
    """The probability that minimises ``loss`` for each kind of pixel, all kinds together in one image.

    ``shares``: K numbers 0–1; of the ``pixels`` pixels of kind k this share is labelled dense, rounded to
    whole pixels, and a network can tell the kinds apart but not the pixels of a kind.  The breast is the
    whole image.  ``loss``: a function of `losses`, called with ``options``.  ``steps`` of Adam at ``rate``,
    falling to 0 by a cosine, from vague starts and from the best of the answers that are all or nothing from
    some share on: the best answer to an overlap loss is such a one, and gradients alone stop beside it.

    Returns K probabilities.

    >>> from mammo_utils.training import losses
    >>> print(answers(losses.bce, [0.1, 0.5, 0.8]).round(2))
    [0.1 0.5 0.8]
    """
    shares = np.asarray(shares, float)
    marked = np.arange(pixels) < np.round(shares * pixels)[:, None]
    target = torch.tensor(marked, dtype=torch.float32)[None, None]

    def value(logit: torch.Tensor) -> torch.Tensor:
        labels = target.expand(len(logit), -1, -1, -1)
        spread = logit[:, None, :, None].expand_as(labels)
        return loss(spread, labels, breast=torch.ones_like(labels), **options)

    def lowest(logits: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return logits[int(np.argmin([value(logit[None]).item() for logit in logits]))]

    cuts = np.append(np.unique(shares), np.inf)
    sure = lowest(torch.tensor(np.where(shares >= cuts[:, None], SURE, -SURE), dtype=torch.float32))
    vague = torch.tensor(STARTS)[:, None].expand(-1, len(shares))
    # The starts are images of one batch: a loss is the mean over images, so they do not disturb each other.
    logit = torch.cat([vague, sure[None]]).requires_grad_()
    optimiser = torch.optim.Adam([logit], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        value(logit).backward()
        optimiser.step()
        schedule.step()
    return lowest(logit.detach()).sigmoid().numpy()
