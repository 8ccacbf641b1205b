"""Contrastive objectives: what makes embeddings of one source alike and those of others unlike.

Pure functions of embeddings (N, D), which are normalised here, in float32 or above with autocast off.  In a
run of several processes, `gather` first brings the rows of all of them together.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


def nt_xent(za: Tensor, zb: Tensor, *, temperature: float = 0.1) -> Tensor:
    """SimCLR's loss: each image must find its other version among all 2N - 1 rows.

    ``za`` and ``zb`` (N, D) are two versions of the same N images, row by row; N at least 2.  Returns the
    mean cross-entropy over the 2N rows.

    Source: Chen et al. 2020, arXiv 2002.05709.

    >>> z = torch.eye(2)
    >>> round(float(nt_xent(z, z, temperature=1.0)), 4)  # log(e + 1 + 1) - 1
    0.5514
    """
    _alike(za, zb)
    image = torch.arange(len(za), device=za.device)
    return multi_view(torch.cat([za, zb]), torch.cat([image, image]), temperature=temperature)


def multi_view(
    z: Tensor, patient: Tensor, *, temperature: float = 0.1, positive: Tensor | None = None
) -> Tensor:
    """Multi-view loss: the views of one woman attract, other women repel, her own views never do.

    ``z`` (N, D) holds any number of views of each woman, ``patient`` (N,) says whose they are.  Each pair of
    views is a cross-entropy of its own: that view among all images of other women.  With ``positive`` (N,),
    such as the number of the breast, only views of a woman that are equal in it attract; her others neither
    attract nor repel.  Returns the mean over images of the mean over their partners; an image without a
    partner counts only as the other women's negative.

    With two views of each image for a woman this is `nt_xent`.  Source: the form with several positives of
    Khosla et al. 2020, arXiv 2004.11362, but each pair has a denominator of its own, so that partners do not
    compete.

    Raises ``ValueError`` if no image has a partner, or all are of one woman.
    """
    positive = patient if positive is None else positive
    if not (z.ndim == 2 and patient.shape == positive.shape == z.shape[:1]):
        raise ValueError(
            f"embeddings {tuple(z.shape)} need one patient and one positive each, not "
            f"{tuple(patient.shape)} and {tuple(positive.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} must be above 0")
    with torch.autocast(z.device.type, enabled=False):
        z = F.normalize(_full(z), dim=1)
        similarity = z @ z.mT / temperature
        same = patient[:, None] == patient
        partners = same & (positive[:, None] == positive)
        partners.fill_diagonal_(False)
        anchors = partners.any(1)
        if same.all() or not anchors.any():
            raise ValueError(
                f"{len(z)} images hold no two women or no two views of one: take larger batches whose "
                "images are drawn by woman"
            )
        others = similarity.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
        pairs = torch.where(partners, F.softplus(others - similarity), 0.0).sum(1)
        return (pairs[anchors] / partners.sum(1)[anchors]).mean()


def barlow_twins(za: Tensor, zb: Tensor, *, off_diagonal: float = 0.0051) -> Tensor:
    """Barlow Twins' loss: each dimension agrees between two versions and says what no other says.

    ``za`` and ``zb`` (N, D) are two versions of the same N images.  Their dimensions are standardised over
    the images; the D×D correlation of the two is driven to the identity, with the weight ``off_diagonal`` on
    the redundancy.  Returns a sum over dimensions: it grows with D.

    Source: Zbontar et al. 2021, arXiv 2103.03230.
    """
    _alike(za, zb)
    with torch.autocast(za.device.type, enabled=False):
        a, b = ((z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() for z in (_full(za), _full(zb)))
        correlation = a.mT @ b / len(a)
        redundancy = correlation.pow(2).fill_diagonal_(0).sum()
        return (1 - correlation.diagonal()).pow(2).sum() + off_diagonal * redundancy


def gather(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The rows of all processes in the order of their ranks; gradients flow back to a row's own process.

    Every process must give equally many rows and then compute the same loss of all of them.  The mean of the
    processes' gradients, which is what distributed training takes, is that of one process with all rows.  In
    one process the tensors come back as they are.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return tensors
    return tuple(map(_gathered, tensors))


def _gathered(tensor: Tensor) -> Tensor:
    tensor = tensor.contiguous()
    rows = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, tensor.detach())
    if tensor.requires_grad:
        # The loss of all rows gives a process the whole gradient of its own; the mean will divide it.
        own = rows[dist.get_rank()] = tensor.view_as(tensor)  # its hook leaves the caller's tensor alone
        own.register_hook(lambda gradient: gradient * len(rows))
    return torch.cat(rows)


def _full(z: Tensor) -> Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))


def _alike(za: Tensor, zb: Tensor) -> None:
    if za.shape != zb.shape or za.ndim != 2 or len(za) < 2:
        raise ValueError(
            f"two versions of at least two images are needed, (N, D) each, not {tuple(za.shape)} and "
            f"{tuple(zb.shape)}"
        )
