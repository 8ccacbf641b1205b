"""What a network minimises: losses of logits against dense tissue or a class.

Each is called as ``loss(logits, target, *, breast=None, **options)`` and returns a scalar, the mean of one
loss per image: N images taken one by one average to the loss of their batch.

*Shapes*: logits and target are both (N, 1, H, W); `bce`, `weighted_bce` and `focal` also take (N,) or (N, 1).
The two must agree exactly, because (N, 1) against (N,) would broadcast to N×N without a word.

*Precision*: float32 or above, whatever the dtype of the logits and with autocast off.  The sum in a soft Dice
over 512×512 pixels exceeds 65,504, the largest float16 number; the loss is then 1 and has no gradient.

*Breast*: (N, 1, H, W) 0/1, without the muscle.  Only the density term of `hybrid_density` refers to it.  The
others take it to be called alike and ignore it, since a network has to learn that there is no dense tissue
outside the breast too.

All raise ``ValueError`` for shapes that differ or do not fit and, on a CPU, for targets outside 0–1 (on a GPU
the look would wait for the device).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F


def _full_precision(loss):
    """Check what goes into ``loss`` and run it in at least float32, with autocast off."""

    @functools.wraps(loss)
    def checked(logits: Tensor, target: Tensor, *, breast: Tensor | None = None, **options) -> Tensor:
        if logits.shape != target.shape:
            raise ValueError(
                f"logits {tuple(logits.shape)} and target {tuple(target.shape)} must be of one shape, or "
                "every image would be compared with every other; use logits[:, :1] or logits[:, 0]"
            )
        if target.device.type == "cpu" and target.numel():
            low, high = target.aminmax()
            if not (low >= 0 and high <= 1):
                raise ValueError(
                    f"target must lie in 0-1 but spans {low} to {high}; a mask of 0/255 needs / 255"
                )
        dtype = torch.promote_types(logits.dtype, torch.float32)
        with torch.autocast(logits.device.type, enabled=False):
            return loss(logits.to(dtype), target.to(dtype), breast=breast, **options)

    return checked


@_full_precision
def bce(logits: Tensor, target: Tensor, *, breast: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, mean over pixels; targets may be soft.  On exact labels its mean is unbiased.

    >>> round(bce(torch.zeros(2), torch.tensor([0.0, 1.0])).item(), 4)
    0.6931
    """
    return F.binary_cross_entropy_with_logits(logits, target)


@_full_precision
def weighted_bce(
    logits: Tensor, target: Tensor, *, breast: Tensor | None = None, pos_weight: float = 1.0
) -> Tensor:
    """Binary cross-entropy whose positive part counts ``pos_weight`` times; targets may be soft.

    ``pos_weight`` = negatives / positives balances the classes.  It also moves the best logit up by
    log(``pos_weight``), so the probabilities are no longer calibrated.

    >>> round(weighted_bce(torch.zeros(2), torch.tensor([0.0, 1.0]), pos_weight=3).item(), 4)
    1.3863
    """
    # new_full writes the number on the device; a tensor made from it would be copied there and waited for.
    weight = logits.new_full((), pos_weight)
    return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)


@_full_precision
def focal(
    logits: Tensor,
    target: Tensor,
    *,
    breast: Tensor | None = None,
    gamma: float = 2.0,
    alpha: float | None = None,
) -> Tensor:
    """Cross-entropy times (1 - probability of the true class) ** ``gamma``, mean over pixels, for labels 0/1.

    What is already right counts little; ``gamma`` 0 is `bce`.  ``alpha`` (0–1) weighs positives and
    1 - ``alpha`` negatives; None weighs neither, so ``alpha=0.5`` is half of it.

    Source: Lin et al., ICCV 2017, arXiv 1708.02002 (``gamma=2, alpha=0.25``).
    """
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # In logarithms: a power of a probability that is rounded to 0 has no finite slope for gamma below 1.
    loss = loss * torch.exp(gamma * F.logsigmoid((1 - 2 * target) * logits))
    if alpha is not None:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return loss.mean()


@_full_precision
def dice(logits: Tensor, target: Tensor, *, breast: Tensor | None = None, smooth: float = 1.0) -> Tensor:
    """Soft Dice loss 1 - (2·Σpt + s) / (Σp + Σt + s) for each image, then the mean over images.

    ``smooth`` (s, in pixels, above 0) rules where the target is empty: the loss is then 1 - s / (Σp + s),
    which is 0 for an empty prediction and one half where s pixels are wrongly called dense.  So an image
    without dense tissue has a gradient as well.

    Source: Milletari et al., 3DV 2016, arXiv 1606.04797, here without squares in the denominator.

    >>> white = torch.full((1, 1, 2, 2), 50.0)
    >>> dice(white, torch.ones(1, 1, 2, 2)).item(), round(dice(white, torch.zeros(1, 1, 2, 2)).item(), 4)
    (0.0, 0.8)
    """
    probability = _image(logits).sigmoid()
    overlap = _sum(probability * target)
    total = _sum(probability) + _sum(target)
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()


@_full_precision
def tversky(
    logits: Tensor,
    target: Tensor,
    *,
    breast: Tensor | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
) -> Tensor:
    """Tversky loss 1 - (TP + s) / (TP + α·FP + β·FN + s) for each image, then the mean over images.

    ``alpha`` is the weight of false positives, ``beta`` of false negatives (some codes swap them): a larger
    ``beta`` gives larger masks.  0.5 and 0.5 make it `dice` with twice the ``smooth``; empty masks as there.

    Source: Salehi et al., MLMI 2017, arXiv 1706.05721.
    """
    probability = _image(logits).sigmoid()
    hit = _sum(probability * target)
    false_positive = _sum(probability * (1 - target))
    false_negative = _sum((1 - probability) * target)
    return (1 - (hit + smooth) / (hit + alpha * false_positive + beta * false_negative + smooth)).mean()


@_full_precision
def bce_dice(logits: Tensor, target: Tensor, *, breast: Tensor | None = None) -> Tensor:
    """Sum of `bce` and `dice` with equal weights: the one decides every pixel, the other the overlap."""
    return bce(logits, target) + dice(logits, target)


@_full_precision
def hybrid_density(
    logits: Tensor, target: Tensor, *, breast: Tensor | None = None, lam: float = 1.0, within: bool = True
) -> Tensor:
    """`bce_dice` + ``lam`` · mean over images of |predicted `density` - true density|.

    ``breast`` is needed; an image whose breast is empty adds no density term.  ``within=False`` counts dense
    tissue outside the breast as well, still over the area of the breast.  The density term knows the amount
    and not the place, so it stands beside the two others, never alone.

    Raises ``ValueError`` without a breast.

    Source: ours.  Qu et al. 2026 (10.64898/2026.02.23.26346855) name a hybrid segmentation–density loss, but
    its formula could not be found.
    """
    if breast is None:
        raise ValueError("hybrid_density needs breast=, the (N, 1, H, W) masks that density refers to")
    predicted = density(_image(logits).sigmoid(), breast, within=within)
    error = (predicted - density(target, breast, within=within)).abs()
    return bce_dice(logits, target) + lam * error.mean()


def density(dense: Tensor, breast: Tensor, *, within: bool = True) -> Tensor:
    """Dense area over breast area, (N,), as a fraction 0–1 (not percent), from summed probabilities.

    ``dense``: (N, 1, H, W) probabilities or masks; ``breast``: masks of that shape, without the muscle.
    ``within=False`` counts dense tissue outside the breast too, so that the fraction can exceed 1.  An empty
    breast gives 0 with no gradient, so that it cannot spoil the others of its batch.

    Raises ``ValueError`` for unequal shapes.

    >>> density(torch.tensor([[[[1.0, 0.5, 0.5]]]]), torch.tensor([[[[1, 1, 0]]]]))
    tensor([0.7500])
    """
    if dense.shape != breast.shape:
        raise ValueError(f"dense {tuple(dense.shape)} and breast {tuple(breast.shape)} must be of one shape")
    dtype = torch.promote_types(dense.dtype, torch.float32)
    dense, breast = dense.to(dtype), breast.to(dtype)
    area = _sum(breast)
    inside = _sum(dense * breast if within else dense)
    # The inner where keeps the division finite: 0 · inf in its backward pass would be NaN.
    return torch.where(area > 0, inside / torch.where(area > 0, area, 1), 0)


LOSSES = {loss.__name__: loss for loss in (bce, weighted_bce, focal, dice, tversky, bce_dice, hybrid_density)}


def _image(logits: Tensor) -> Tensor:
    if logits.ndim != 4 or logits.shape[1] != 1:
        raise ValueError(f"an overlap of masks needs logits (N, 1, H, W), not {tuple(logits.shape)}")
    return logits


def _sum(values: Tensor) -> Tensor:
    """Sum over everything but the first axis."""
    return values.flatten(1).sum(1)
