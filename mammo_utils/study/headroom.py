"""What the phantom leaves to be won: the controls that stand beside every network, and its statistics.

``python -m mammo_utils phantom`` prints the tables; difficulty is judged on the cohort ``develop`` only.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import ndimage, signal

from mammo_utils.data.cache import ImageCache
from mammo_utils.study import density, observer, phantoms
from mammo_utils.synth import breast
from mammo_utils.synth.exams import cohort


def measure(*, women: int, size: int, unet: int = 0, workers: int = 1) -> dict[str, pd.DataFrame]:
    """Tables about the first ``women`` of the cohort ``develop`` at ``size`` pixels.

    ``controls``: see `phantoms.controls`; every other woman fits, the rest are scored.  With ``unet``, the
    U-Net of the cpu profile stands beside them, trained with that many images through the network.
    ``density``: percent density by class beside the published values.  ``statistics``: texture exponent (from
    256 pixels up), muscle share of MLO views, correlation of percent density between views and sides, views
    a second.
    """
    patients = list(cohort("develop")[:women])
    if not 4 <= women <= len(cohort("develop")):
        raise ValueError(f"{women} women: give 4 to {len(cohort('develop'))}, the size of the cohort")
    exams = Parallel(n_jobs=workers)(delayed(_woman)(patient, size) for patient in patients)
    table = pd.DataFrame([row for rows in exams for row in rows])
    return {
        "controls": _controls(phantoms.women("develop", size=size, count=women, workers=workers), unet),
        "density": _density(table),
        "statistics": pd.DataFrame({"value": _statistics(table) | _speed(patients[:10], size)}).round(2),
    }


def _woman(patient: int, size: int) -> list[dict]:
    rows = []
    for view in breast.exam(patient, size=size, lesions=()):
        rows.append(
            {
                "woman": patient,
                "side": view.laterality,
                "view": view.view,
                "density": view.density,
                "percent_density": view.percent_density,
                "exponent": exponent(view.image, view.breast_mask, view.spacing_mm),
                "muscle": view.pectoral_mask.sum() / (view.breast_mask | view.pectoral_mask).sum(),
            }
        )
    return rows


def exponent(image: np.ndarray, inside: np.ndarray, spacing: float) -> float:
    """Power-law exponent β of the texture, P(f) = K / f^β, in the largest square inside the breast.

    The square is tapered by a Hann window after its mean plane is removed; β is the slope of log power over
    log frequency between the third harmonic and half the Nyquist frequency.  ``image`` and ``inside`` are
    H×W, ``spacing`` in mm.  Source: Burgess, SPIE 5034 (2003), who reports 1.5–3.5.
    """
    away = ndimage.distance_transform_cdt(np.pad(inside, 1), metric="chessboard")[1:-1, 1:-1]
    row, column = np.unravel_index(away.argmax(), away.shape)
    half = int(away.max()) - 1
    patch = image[row - half : row + half, column - half : column + half].astype(float)
    n = len(patch)
    y, x = np.mgrid[:n, :n] / n - 0.5
    plane = np.stack([np.ones(n * n), y.ravel(), x.ravel()], 1)
    patch = patch - (plane @ np.linalg.lstsq(plane, patch.ravel(), rcond=None)[0]).reshape(n, n)
    power = np.abs(np.fft.fft2(patch * np.outer(*(signal.windows.hann(n),) * 2))) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, spacing),) * 2))
    rings = np.arange(3, max(n // 4, 5) + 1)
    mean = ndimage.mean(power, np.round(frequency * n * spacing).astype(int), rings)
    return float(-np.polyfit(np.log(rings), np.log(mean), 1)[0])


def _controls(images: ImageCache, unet: int) -> pd.DataFrame:
    women = images.table["group"].to_numpy(str)
    fitting = np.isin(women, np.unique(women)[::2])
    fit, rows = np.flatnonzero(fitting), np.flatnonzero(~fitting)
    table = phantoms.controls(images, fit, rows)
    if unet:
        table.loc[f"U-Net, {len(fit)} labels"] = density.control(images, fit, rows, budget=unet)
    return table


def _density(table: pd.DataFrame) -> pd.DataFrame:
    found = table.groupby("density")["percent_density"].agg(["count", "mean", "std"])
    found.insert(1, "share", found["count"] / len(table))
    published = pd.DataFrame(breast.CLASSES, index=["wanted share", "published mean", "published std"]).T
    return found.join(published, how="outer").round(2)


def _statistics(table: pd.DataFrame) -> dict[str, float]:
    percent = table.pivot(index="woman", columns=["side", "view"], values="percent_density")
    low, middle, high = table["exponent"].quantile([0, 0.5, 1])
    muscle = table.loc[table["view"] == "MLO", "muscle"].quantile([0, 0.5, 1])
    return {
        "texture exponent, least": low,
        "texture exponent, median": middle,
        "texture exponent, greatest": high,
        "correlation of percent density, CC and MLO": percent["L"].corr().iloc[0, 1],
        "correlation of percent density, left and right": percent.xs("CC", axis=1, level=1).corr().iloc[0, 1],
        "muscle share in MLO, least": muscle.iloc[0],
        "muscle share in MLO, median": muscle.iloc[1],
        "muscle share in MLO, greatest": muscle.iloc[2],
    }


def _speed(patients: list[int], size: int) -> dict[str, float]:
    """Views a second of processor time, masks included."""
    started = time.process_time()
    for patient in patients:
        breast.exam(patient, size=size)
    return {"views per second and core": 4 * len(patients) / (time.process_time() - started)}


def main(*, women: int, size: int, unet: int, lesions: int, workers: int) -> None:
    """Print the tables of `measure` and, of ``lesions`` women, how visible lesions are to ``observer``."""
    print(f"phantom version {breast.VERSION}, {women} women of develop, {size} pixels\n")
    for name, table in measure(women=women, size=size, unet=unet, workers=workers).items():
        print(f"{name}\n{table.to_string()}\n")
    if lesions:
        table = observer.measure(women=lesions, size=size, workers=workers)
        print(f"lesions, AUC of a matched filter, {lesions} women\n{table.to_string()}\n")
