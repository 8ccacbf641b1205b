"""A file with a pretrained encoder: how it comes to be, and what it says of its making.

Beside FILE.safetensors stand FILE.csv, the history, and until it is finished FILE.pt, a checkpoint, and
FILE.json, the settings.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from mammo_utils.data import catalogs
from mammo_utils.models import weights
from mammo_utils.models.segmenter import Segmenter
from mammo_utils.profile import shipped
from mammo_utils.study import provenance
from mammo_utils.study.segmenter import SAVE_EVERY
from mammo_utils.training.pretraining import Recipe, pretrain

CHECKPOINT, HISTORY, SETTINGS = ".pt", ".csv", ".json"


def start_of(start: str) -> str:
    """What settings say of the weights that an encoder starts from: their name, or that of their file, never
    its folder, and a digest of what it holds."""
    path = Path(start)
    if not path.is_file():
        return start
    with path.open("rb") as file:
        return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"


def provided(model: str, settings: dict) -> Path | None:
    """The file that comes with the package for ``settings["method"]`` and ``model``.

    None unless it was made with these very ``settings``.
    """
    try:
        ready = shipped(f"weights/{weights.file_name(settings['method'], model)}")
    except FileNotFoundError:
        return None
    return ready if weights.made(ready).get("settings") == settings else None


def finished(out: Path, settings: dict) -> bool:
    """Whether ``out`` is there; if not, a run with these ``settings`` may begin or go on.

    Raises ``ValueError`` for a name without the suffix of safetensors, and if there is, or was begun, a file
    of other settings: lists what differs.
    """
    if out.suffix != weights.SUFFIX:
        raise ValueError(f"--out {out}: name a file that ends in {weights.SUFFIX}")
    begun = out.with_suffix(SETTINGS)
    if out.is_file():
        found, place = weights.made(out).get("settings", {}), out
    elif begun.is_file() and out.with_suffix(CHECKPOINT).is_file():
        found, place = json.loads(begun.read_text()), begun
    else:
        return False
    if differ := provenance.differences(found, settings):
        raise ValueError(
            f"{place} is of another run: {differ}; repeat its settings, or name another file with --out"
        )
    return out.is_file()


def learn(out: Path, settings: dict, model: Segmenter, images, rows=None, *, recipe: Recipe, fabric) -> None:
    """Pretrain the encoder of ``model`` on ``rows`` of ``images`` and write it to ``out``, or go on there.

    ``settings`` are kept with the weights, of which ``method``, ``budget`` and ``seed`` are used here.  The
    first process writes.  Raises as `training.pretraining.pretrain`.
    """
    checkpoint, history_of, begun = (out.with_suffix(end) for end in (CHECKPOINT, HISTORY, SETTINGS))
    if fabric.is_global_zero:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = begun.with_name(begun.name + ".part")
        part.write_text(json.dumps(settings, indent=1))
        os.replace(part, begun)
    history = pretrain(
        model,
        images,
        settings["method"],
        budget=settings["budget"],
        rows=rows,
        recipe=recipe,
        seed=settings["seed"],
        fabric=fabric,
        resume=checkpoint,
        save_every=SAVE_EVERY,
        watch=lambda history: catalogs.write(history.table, history_of),
    )
    if not fabric.is_global_zero:
        return
    made = {"settings": settings, "loss": history.rows[-1]["loss"], "seconds": history.seconds}
    made |= {"learnt_from": len(images.table) if rows is None else int(sum(rows))}
    made |= {"images_through": sum(row["images"] for row in history.rows), "processes": fabric.world_size}
    made |= {"machine": provenance.machine(settings["precision"]), "commit": provenance.commit()}
    catalogs.write(history.table, history_of)
    weights.save(model.encoder, out, made | {"date": provenance.today()})
    checkpoint.unlink()
    begun.unlink()
    print(f"{made['images_through']} images in {made['seconds']:.0f} s, loss {made['loss']:.4f}: {out}")
