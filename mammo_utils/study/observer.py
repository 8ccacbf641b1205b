"""How visible the phantom's lesions are to a matched filter that knows nothing but their mean look.

The filter compares an image with the mean shadow of a kind of lesion, both prewhitened by the power spectrum
of healthy breasts, and divides by the whitened energy nearby, because the gain of a display and the strength
of the texture are unknown and change from place to place.  A reader of screening mammograms is not told where
to look, and neither is a network that classifies whole images: the score of a view is the greatest response
in the breast.  With the place known, the same filters tell how much of a lesion's shadow is there at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import fft, ndimage

from mammo_utils.evaluation.classification import roc_auc
from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.study.grid import Study
from mammo_utils.synth import breast
from mammo_utils.synth.breast import anatomy, lesions
from mammo_utils.synth.exams import cohort

SHAPES = tuple(lesions.SHAPES)
LOCAL = 10.0  # mm, of the Gaussian mean that is taken off an image
REACH = 24.0  # mm from the middle of a template to its end
NEARBY, NEARBY_SPECK = 1.25, 4.0  # reach of the energy: times the size of a mass; mm round a speck
FLOOR = 0.02  # energy nearby counts as no less than this share of its mean in the breast
MARGIN = 6.0  # mm along skin, muscle and chest wall where nobody looks for lesions
GROUPS = 3  # templates a shape, for small, medium and large lesions


@dataclass
class Shadow:
    """One view with a lesion."""

    lesion: breast.Lesion
    image: np.ndarray  # H×W float16, flattened
    place: tuple[int, int]  # pixel of the middle of a mass, of the brightest speck


@dataclass
class Background:
    """One view of a healthy breast, and the same view with a lesion of every shape."""

    image: np.ndarray
    inside: np.ndarray  # H×W bool, where to look
    spacing: float
    shadows: list[Shadow]


def measure(*, women: int, size: int, workers: int = 1) -> pd.DataFrame:
    """Area under the ROC curve (AUC) of the matched filter at ``size`` pixels, by kind of lesion.

    The first ``women`` of the cohort ``develop`` get a lesion of every shape in either breast; every other
    woman fits, the rest are scored.  A row by shape: views with such a lesion against the same views without,
    read by the templates of that shape.  Then cancers with shapes as often as they are drawn, read by all
    templates, the responses combined with Hotelling's weights: against their healthy twins, and against the
    rest, which has benign lesions as often as they are drawn.  Columns: ``place known`` and ``place
    unknown`` for one view, ``two views`` of a breast with the place unknown (mean of their scores), and the
    limits of the 95 % interval of ``place unknown`` that resamples women.

    Raises ``ValueError`` for fewer than 8 women or more than the cohort has.

    Source: Barrett and Myers, Foundations of Image Science (2004), ch. 13 (prewhitening, Hotelling's
    weights); Scharf and Friedlander, IEEE Trans Signal Process 42 (1994) 2146 (division by the energy);
    Burgess, Jacobson and Judy, Med Phys 28 (2001) 419 (masses in mammograms).
    """
    if not 8 <= women <= len(cohort("develop")):
        raise ValueError(f"{women} women: give 8 to {len(cohort('develop'))}, the size of the cohort")
    patients = list(cohort("develop")[:women])
    found = Parallel(n_jobs=workers)(delayed(backgrounds)(patient, size) for patient in patients)
    respond = matched_filter([view for views in found[::2] for view in views])
    read = np.array([[_read(view, respond) for view in views] for views in found])
    malignant = [[[s.lesion.malignant for s in view.shadows] for view in views[::2]] for views in found]
    return _table(read.reshape(women, 2, 2, *read.shape[2:]), np.array(malignant))


def backgrounds(patient: int, size: int) -> list[Background]:
    """The four views of one woman, flattened, with the shadows of five lesions each."""
    traits = anatomy.woman(patient, 0)
    bodies = {side: anatomy.breast(traits, patient, 0, side) for side in "LR"}
    views = []
    healthy = breast.exam(patient, size=size, lesions=())
    for view in healthy:
        away = ndimage.distance_transform_edt(np.pad(view.breast_mask, 1))[1:-1, 1:-1] * view.spacing_mm
        inside = away > MARGIN if (away > MARGIN).any() else view.breast_mask
        image = _flatten(view)
        views.append(Background(image, inside, view.spacing_mm, []))
    for shape in SHAPES:
        placed = []
        for side in "LR":
            rng = anatomy.stream(0, patient, "observer", shape, side)
            placed.append(lesions.grow(bodies[side], side, shape, bool(rng.random() < 0.5), rng))
        for view, own in zip(breast.exam(patient, size=size, lesions=tuple(placed)), views, strict=True):
            image, lesion = _flatten(view), view.lesions[0]
            if lesion.is_mass:
                place = tuple(int(round(at.mean())) for at in np.nonzero(view.lesion_mask))
            else:
                place = np.unravel_index((image - own.image).argmax(), image.shape)
            own.shadows.append(Shadow(lesion, image, place))
    return views


def _flatten(view: breast.View) -> np.ndarray:
    """The image of the breast less its local mean, in units of its standard deviation, 0 outside."""
    mask, sigma = view.breast_mask.astype(np.float32), LOCAL / view.spacing_mm
    mean, weight = (ndimage.gaussian_filter(a, sigma, truncate=3) for a in (view.image * mask, mask))
    flat = (view.image - mean / np.maximum(weight, 1e-6)) * mask
    return (flat / flat[view.breast_mask].std()).astype(np.float16)


def matched_filter(fitting: list[Background]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Fit the filters; returns f(image, inside) → responses (shapes×H×W) in units of their spread."""
    shape = fitting[0].image.shape
    spacing = np.mean([view.spacing for view in fitting])
    reach = int(REACH / spacing)
    wide = tuple(n + 2 * reach for n in shape)  # images are mirrored at their edges
    ring = np.hypot(*np.meshgrid(fft.fftfreq(wide[0]), fft.rfftfreq(wide[1]), indexing="ij"))
    ring = np.round(ring * max(wide)).astype(int)

    def spectrum(image):
        return fft.rfft2(np.pad(image.astype(np.float32), reach, mode="reflect"))

    def central(picture):  # its middle moved to the corner, where the transform has its origin
        canvas = np.zeros(wide, np.float32)
        canvas[: 2 * reach + 1, : 2 * reach + 1] = picture
        return np.roll(canvas, (-reach, -reach), (0, 1))

    def back(spectra):
        return fft.irfft2(spectra, s=wide)[..., reach:-reach, reach:-reach]

    total = sum(np.abs(spectrum(view.image)) ** 2 for view in fitting)
    power = (np.bincount(ring.ravel(), total.ravel()) / np.maximum(np.bincount(ring.ravel()), 1))[ring]
    whiten = 1 / np.sqrt(power / power.mean(), dtype=np.float32)
    away = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    filters, near = [], []
    for number, name in enumerate(SHAPES):
        pairs = [(view, view.shadows[number]) for view in fitting]
        order = np.argsort([shadow.lesion.size for _, shadow in pairs], kind="stable")
        for group in np.array_split(order, GROUPS):
            looks = [_look(*pairs[i], reach) for i in group]
            template = _symmetric(np.mean(looks, 0)) * np.clip(4 * (1 - away / reach), 0, 1)
            size = np.mean([pairs[i][1].lesion.size for i in group])
            extent = NEARBY_SPECK if "calcifications" in name else NEARBY * size
            disc = central(np.clip(extent / spacing - away + 0.5, 0, 1))
            look = disc * fft.irfft2(fft.rfft2(central(template)) * whiten, s=wide)
            filters.append(np.conj(fft.rfft2(look)))
            near.append(np.conj(fft.rfft2(disc / disc.sum())))
    filters, near = np.array(filters), np.array(near)

    def normalised(image, inside):
        white = spectrum(image) * whiten
        energy = back(fft.rfft2(fft.irfft2(white, s=wide) ** 2) * near)
        floor = FLOOR * energy[:, inside].mean(1)
        return back(white * filters) / np.sqrt(np.maximum(energy, floor[:, None, None]))

    spread = np.mean([normalised(view.image, view.inside)[:, view.inside].std(1) for view in fitting], 0)

    def respond(image, inside):
        response = normalised(image, inside) / spread[:, None, None]
        return response.reshape(len(SHAPES), GROUPS, *shape).max(1)

    return respond


def _look(view: Background, shadow: Shadow, reach: int) -> np.ndarray:
    """What the lesion adds to the image, cut out round its place."""
    row, column = shadow.place
    added = np.pad(shadow.image.astype(np.float32) - view.image, reach)
    return added[row : row + 2 * reach + 1, column : column + 2 * reach + 1]


def _symmetric(picture: np.ndarray) -> np.ndarray:
    """Mean over the eight ways to turn and mirror a square."""
    turned = [np.rot90(picture, quarter) for quarter in range(4)]
    return np.mean([*turned, *(turn.T for turn in turned)], 0)


def _read(view: Background, respond: Callable) -> np.ndarray:
    """Responses: greatest and at the place (2), by lesion (5), without and with it (2), by filter (5)."""
    absent, found = respond(view.image, view.inside), []
    for shadow in view.shadows:
        present, at = respond(shadow.image, view.inside), (slice(None), *shadow.place)
        greatest = [response[:, view.inside].max(1) for response in (absent, present)]
        found.append([greatest, [absent[at], present[at]]])
    return np.swapaxes(np.array(found), 0, 1)


def _table(read: np.ndarray, malignant: np.ndarray) -> pd.DataFrame:
    """From ``read``, women×sides×views×places×lesions×2×filters, and women×sides×lesions of bool."""
    benign_odds, odds = np.transpose(list(lesions.SHAPES.values()))
    unknown, known = np.moveaxis(read, 3, 0)
    columns = {"place known": known, "place unknown": unknown, "two views": unknown.mean(2, keepdims=True)}
    cancer, benign = odds * malignant, benign_odds * ~malignant
    single = np.eye(len(SHAPES))
    rows = {name: (single[i], single[i] + 0 * cancer, 0 * benign) for i, name in enumerate(SHAPES)}
    rows["cancer, against its twin"] = (None, cancer, 0 * benign)
    rows["cancer, against the rest"] = (None, cancer, benign)
    table = {name: {} for name in rows}
    for name, (weights, *shares) in rows.items():
        for column, values in columns.items():
            score = values[1::2] @ (_hotelling(values[::2], odds) if weights is None else weights)
            shares_held = [np.broadcast_to(s[1::2, :, None], score.shape[:-1]).ravel() for s in shares]
            arrays = [*score.reshape(-1, 2).T, *shares_held]
            table[name][column] = _auc(*arrays)
            if column == "place unknown":
                women = np.repeat(np.arange(len(score)), score[0, ..., 0].size)
                interval = bootstrap(_auc, *arrays, groups=women, n=200)
                table[name] |= {"low": interval.low, "high": interval.high}
    return pd.DataFrame(table).T.round(3)


def _hotelling(values: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Weights of the filters that part lesions, their shapes in the shares ``odds``, from health best."""
    share = np.broadcast_to(odds, values.shape[:-2]).ravel()
    without, having = (values[..., i, :].reshape(-1, len(SHAPES)) for i in (0, 1))
    spread = np.cov(without.T) + np.cov(having.T, aweights=share)
    return np.linalg.solve(spread, np.average(having, 0, share) - without.mean(0))


def _auc(without: np.ndarray, having: np.ndarray, cancer: np.ndarray, benign: np.ndarray) -> float:
    """AUC of views with a lesion, weighed by ``cancer``, against healthy and benign ones."""
    share = lesions.BENIGN / 2 if benign.any() else 0.0  # of the breasts
    twins = (cancer + benign > 0) / np.count_nonzero(cancer + benign)
    weights = [cancer, (1 - share) * twins, share * benign / max(benign.sum(), 1e-9)]
    label = np.repeat([1, 0, 0], len(having))
    return roc_auc(np.concatenate([having, without, having]), label, weights=np.concatenate(weights))


def visible(settings: dict, seed: int) -> dict[str, float]:
    """`measure` as one run of a study: AUC of one view, ``known_`` and ``unknown_`` place, by shape."""
    table = measure(women=settings["women"], size=settings["size"])
    return {
        f"{place}_{shape.replace(' ', '_')}": float(table.loc[shape, f"place {place}"])
        for place in ("known", "unknown")
        for shape in SHAPES
    }


# The same women at three image heights: nothing in it is drawn anew by a seed.
SIZES = Study(
    "lesion_sizes",
    "mammo_utils.study.observer:visible",
    [{"size": size, "women": 100} for size in (128, 256, 512)],
    seeds=[0],
    tolerance={
        f"{place}_{shape.replace(' ', '_')}": 0.02 for place in ("known", "unknown") for shape in SHAPES
    },
)
