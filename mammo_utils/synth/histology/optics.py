"""From a field of view to what the camera sees."""

from __future__ import annotations

import numpy as np

from mammo_utils.synth.histology import tissue
from mammo_utils.synth.histology.cases import Patient

FINE = 2  # pixels drawn along each axis for one of the tile
STRENGTH = (1.9, 1.05)  # length of the optical density of the amount 1 of haematoxylin and of eosin
NOISE = 2.0  # of the camera, standard deviation in steps of 1/255


def shown(person: Patient, architecture, traits, rng, *, size: int, edge: float) -> np.ndarray:
    """Light through a section that is stained as ``person``'s are, (size, size, 3) uint8.

    ``architecture`` and ``traits`` as in `tissue.stained`, ``edge`` of the field in µm.  By the law of Beer
    and Lambert every stain takes its share of the light of each colour.
    """
    fine = FINE * size
    density = np.zeros((fine, fine, 3), np.float32)
    amounts = tissue.stained(architecture, traits, rng, size=fine, edge=edge)
    for amount, own, strength, stain in zip(amounts, person.amounts, STRENGTH, person.stains, strict=True):
        density += amount[..., None] * (own * strength * stain).astype(np.float32)
    light = np.exp(-density) * person.light.astype(np.float32)
    image = light.reshape(size, FINE, size, FINE, 3).mean((1, 3)) * 255
    image += NOISE * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
