"""Class activation maps of classifiers and segmenters, in the scale of the logit and in the image's frame.

The methods are those of pytorch_grad_cam, three of them mended.  Around them stands what it leaves to its
user: a layer and a layout for each family, one-logit networks, frozen and adapted ones, a model left as it
was found, maps that lie where the cells of the layer lie, and the scale that it removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytorch_grad_cam as library
import torch
from scipy.special import softmax
from torch import Tensor, nn

from mammo_utils.data.preprocess import Prepared
from mammo_utils.explain import layers
from mammo_utils.models.inspect import mode
from mammo_utils.profile import choose

BATCH = 32  # images at a time


class _Raw:
    """A method that stops at the layer's own grid, before the library scales and stretches its map."""

    def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth) -> np.ndarray:
        hooked = self.activations_and_grads
        values, slopes = (list(map(np.asarray, kept)) for kept in (hooked.activations, hooked.gradients))
        hooked.release()  # Score-CAM runs the network again and would keep every activation
        if self.uses_gradients and not slopes:
            raise ValueError("the target does not depend on this layer; choose another one")
        # Of a module that is used twice the last use counts; the library puts its slopes last as well.
        return self.get_cam_image(
            input_tensor, None, targets, values[-1], slopes[-1] if slopes else None, eigen_smooth
        )

    def aggregate_multi_layers(self, maps: np.ndarray) -> np.ndarray:
        return maps


class _Eigen(_Raw, library.EigenCAM):
    """The first principal component, with the sign that makes its greatest value positive.

    The library takes the sign that the decomposition happens to give, and needs a matrix of the squared
    number of cells.
    """

    def get_cam_image(self, input_tensor, layer, targets, activations, grads, eigen_smooth) -> np.ndarray:
        maps = []
        for image in activations:
            cells = image.reshape(len(image), -1).T
            cells = cells - cells.mean(0)
            part = cells @ np.linalg.svd(cells, full_matrices=False)[2][0]
            maps.append((part if part.max() >= -part.min() else -part).reshape(image.shape[1:]))
        return np.array(maps)


class _PlusPlus(_Raw, library.GradCAMPlusPlus):
    """Equation 19 as it stands, for layers whose values may be negative as well.

    The library adds 1e-6 to the denominator, more than the squared slope of a layer with many cells.  And the
    paper's layers end in a ReLU: where they do not, the sum of their values takes the denominator through 0,
    so that only what is positive is summed.
    """

    def get_cam_weights(self, input_tensor, layer, targets, activations, grads) -> np.ndarray:
        rising = np.maximum(grads, 0)
        total = np.maximum(activations, 0).sum((2, 3), keepdims=True)
        return (rising / (2 + total * rising)).sum((2, 3))


class _Score(_Raw, library.ScoreCAM):
    """Every channel hides the image where it is low, its cells lying where they do in the maps.

    The library stretches a channel from corner to corner, beside what its cells have seen, and holds a copy
    of the image for each channel at once.
    """

    grid: layers.Grid

    def get_cam_weights(self, input_tensor, layer, targets, activations, grads) -> np.ndarray:
        scores = np.empty(activations.shape[:2])
        with torch.no_grad():
            for image, channels, target, row in zip(input_tensor, activations, targets, scores, strict=True):
                for first in range(0, len(channels), BATCH):
                    shown = scaled(self.grid.enlarge(channels[first : first + BATCH], image.shape[-2:]))
                    outputs = self.model(image * torch.from_numpy(shown)[:, None].to(image))
                    row[first : first + BATCH] = [float(target(output)) for output in outputs]
        return softmax(scores, axis=1)


METHODS = {
    "gradcam": type("GradCAM", (_Raw, library.GradCAM), {}),
    "gradcam++": _PlusPlus,
    "hirescam": type("HiResCAM", (_Raw, library.HiResCAM), {}),
    "layercam": type("LayerCAM", (_Raw, library.LayerCAM), {}),
    "eigencam": _Eigen,
    "scorecam": _Score,
}


def explain(
    model: nn.Module, images, *, target: int, method: str, layer: str | None = None, normalise: bool = True
) -> np.ndarray:
    """Heat map of each image: (N, H, W) float32, where ``model`` sees what speaks for ``target``.

    ``images``: (N, channels, H, W) in 0–1, as the model takes them.  ``target``: a class, of a network with
    one logit 0 (benign: the negated logit) or 1; of a segmenter a channel, whose mean logit over the pixels
    that it sets is explained (over all if it sets none).  ``method``: one of ``METHODS``.  ``layer``: as in
    `layers.find`, by default the end of the encoder.

    ``normalise`` scales every map to 0–1, so that a weak map looks like a strong one and maps of two images
    or two classes cannot be compared.  Without it maps have the method's own scale: the logit's for gradcam,
    hirescam and layercam (with a linear layer behind the mean over the last map, the first two are the cells'
    contributions to the logit), for gradcam++ that times up to half the number of cells, the activations' for
    the others.  What is negative is 0 in both cases.

    eigencam asks for no target: its map is the same for every class and for any layers behind.  scorecam
    takes a pass for every channel.

    In front of a normalisation over the channels of a cell (layer norm) gradient times activation sums to 0
    in every cell: take hirescam behind it.

    Works on frozen and adapted models; afterwards modes, ``requires_grad`` and gradients of the model are
    what they were.

    Raises ``ValueError`` for an unknown method, layer or target, and for images of another shape.

    Source: Selvaraju 2017, arXiv 1610.02391; Chattopadhay 2018, arXiv 1710.11063; Draelos 2020, arXiv
    2011.08891; Jiang 2021, 10.1109/TIP.2021.3089943; Muhammad 2020, arXiv 2008.00299; Wang 2020, arXiv
    1910.01279.

    >>> from mammo_utils.models.classification import build
    >>> images = torch.rand(2, 1, 64, 52)
    >>> explain(build("test_efficientnet", size=64), images, target=1, method="gradcam").shape
    (2, 64, 52)
    """
    kind = METHODS[choose("method", method, METHODS)]
    images = torch.as_tensor(images, dtype=torch.float32)
    if images.ndim != 4 or not len(images):
        raise ValueError(f"images must be (N, channels, H, W) with N above 0, not {tuple(images.shape)}")
    images = images.detach().to(next(model.parameters()).device)
    with untouched(model), torch.inference_mode(False), torch.enable_grad():
        place = layers.find(model, images[:1], layer)
        _check(target, place.output)
        coarse = np.concatenate([_coarse(kind, model, place, part, target) for part in images.split(BATCH)])
    maps = place.grid.enlarge(np.maximum(coarse, 0), images.shape[-2:])
    return scaled(maps) if normalise else maps


def scaled(maps: np.ndarray) -> np.ndarray:
    """Every map (…, H, W) brought to 0–1 by itself, float32; one that is the same everywhere becomes 0."""
    low, high = (end(maps, axis=(-2, -1), keepdims=True) for end in (np.min, np.max))
    return ((maps - low) / np.where(high > low, high - low, 1)).astype(np.float32)


def original(maps: np.ndarray, prepared: Sequence[Prepared]) -> list[np.ndarray]:
    """Maps (N, H, W) of prepared images in the frames of the files; float32, 0 outside the crop."""
    return [one.to_original(heat).astype(np.float32) for heat, one in zip(maps, prepared, strict=True)]


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Context with a frozen model in evaluation mode, which then is as it was, also after an error."""
    kept = [(weight, weight.requires_grad, weight.grad) for weight in model.parameters()]
    try:
        with mode(model):
            for weight, _, _ in kept:
                weight.requires_grad_(False)
                weight.grad = None
            yield
    finally:
        for weight, learns, gradient in kept:
            weight.requires_grad_(learns)
            weight.grad = gradient


def _coarse(kind: type, model: nn.Module, place: layers.Place, images: Tensor, target: int) -> np.ndarray:
    """Maps on the layer's own grid, signed."""
    goals = _goals(model, images, target)
    method = kind(model, [place.module], reshape_transform=place.to_maps)
    method.grid = place.grid
    try:
        # The weights are frozen here: gradients flow because the image wants one.
        return method(images.clone().requires_grad_(), goals)
    finally:
        method.activations_and_grads.release()


def _check(target: int, output: Tensor) -> None:
    """Refuse a class or channel that a model with this output does not have."""
    count = output.shape[1] if output.ndim > 1 else 1
    one_logit = output.ndim <= 2 and count == 1
    choose("target", target, range(2 if one_logit else count))


def _goals(model: nn.Module, images: Tensor, target: int) -> list[Callable[[Tensor], Tensor]]:
    """For each image the function of its output, (classes) or (channels, H, W), that is explained."""
    with torch.no_grad():
        outputs = model(images)
    return [_goal(output, target) for output in outputs]


def _goal(output: Tensor, target: int) -> Callable[[Tensor], Tensor]:
    if output.ndim == 3:
        # Chosen once: the pixels must not change with what Score-CAM hides.
        chosen = output[target] > 0
        chosen = chosen if chosen.any() else torch.ones_like(chosen)
        return lambda logits: logits[target][chosen].mean()
    if output.numel() == 1:
        return lambda logit: logit.sum() if target == 1 else -logit.sum()
    return lambda logits: logits[target]
