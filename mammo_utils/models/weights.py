"""Where the weights of an encoder come from: nowhere, a library's download, this package, or a local file."""

from __future__ import annotations

import json
import os
import re
import warnings
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from mammo_utils.profile import choose, shipped

SUFFIX = ".safetensors"
# How an encoder was pretrained here; names of `training.pretraining.RECIPES`, a room above this one.
METHODS = ("fractal", "simclr", "barlow_twins", "masked", "multiview")
# Those whose files come with this package; the last one learnt to outline lesions, `study.outlined`.
SHIPPED = (*METHODS, "lesions")
# What timm's classifiers have behind the features that a segmenter uses.
HEADS = {"classifier", "conv_head", "bn2", "fc", "fc_norm", "head", "norm"}


def check(weights: str | Path, model: str, download: str | None) -> str | Path:
    """Return "none", the name of the download, or the path of a safetensors file; raise on anything else.

    ``download`` is the name of the weights that a library offers for the encoder of ``model``, if any.  A
    name in ``SHIPPED`` becomes the path of the file that comes with this package.

    Raises ``ValueError`` for an unknown name; ``FileNotFoundError`` as `pretrained`.
    """
    if Path(weights).suffix == SUFFIX:
        return Path(weights)
    offered = ("none", *([download] if download else []), *SHIPPED, f"the path of a {SUFFIX} file")
    chosen = choose(f"weights for {model}", str(weights), offered)
    return pretrained(chosen, model) if chosen in SHIPPED else chosen


def file_name(method: str, model: str) -> str:
    """The name under which this package keeps the encoder of ``model`` after pretraining by ``method``.

    >>> file_name("multiview", "unet/mobilenetv2_050"), file_name("fractal", "sam/small")
    ('mobilenetv2_050_multiview.safetensors', 'sam_small_fractal.safetensors')
    """
    encoder = model.rpartition("/")[2]
    if encoder == "small":  # what three families call a network of their own; other names are timm's
        encoder = model.replace("/", "_")
    return f"{encoder}_{method}{SUFFIX}"


def pretrained(method: str, model: str) -> Path:
    """The file with the encoder of ``model`` after pretraining by ``method`` that comes with this package.

    Raises ``FileNotFoundError`` where there is none: says which there are and how to make it.
    """
    name = file_name(method, model)
    try:
        return shipped(f"weights/{name}")
    except FileNotFoundError:
        source = "" if method == "fractal" else "--data CATALOGUE --root DIR "
        how = f"  python -m mammo_utils pretrain {method} --model {model} {source}--out {name}\n"
        if method not in METHODS:
            encoder = model.rpartition("/")[2]
            how = f"  mammo_utils.study.outlined.encoder({encoder!r}, size=128)\n"
        raise FileNotFoundError(
            f"no weights {method!r} of {model} come with this package ({name}); there are: "
            f"{', '.join(_shipped()) or 'none'}.  Make them with\n{how}"
            "and give the path of that file as weights"
        ) from None


def _shipped() -> list[str]:
    try:
        files = shipped("weights").glob(f"*{SUFFIX}")
        return sorted(file.name for file in files if file.stem.endswith(SHIPPED))  # not whole networks
    except FileNotFoundError:
        return []


@contextmanager
def downloading(weights: str, model: str):
    """Turn whatever goes wrong in a library's download into one sentence that says what to do."""
    try:
        yield
    except Exception as error:  # the libraries raise their own, the network's and the hub's errors
        first = str(error).strip().splitlines()[:1] or ["no reason given"]
        reason = f"{type(error).__name__}: {first[0].split('. ')[0]}"
        raise RuntimeError(
            f"the weights {weights!r} of {model} could be neither downloaded nor found in the cache "
            f"({reason}): connect once without HF_HUB_OFFLINE=1 so that they are kept in the cache folder "
            f"(HF_HOME or HF_HUB_CACHE), copy that folder here, or give the path of a local "
            f"{SUFFIX} file as weights"
        ) from None


def stem(encoder: nn.Module) -> str:
    """Name of the weight of the first convolution, which alone depends on the number of channels."""
    return next(name for name, module in encoder.named_modules() if isinstance(module, nn.Conv2d)) + ".weight"


def save(encoder: nn.Module, path: str | Path, made: dict) -> None:
    """Write the weights of ``encoder`` under the names of timm, with ``made`` (plain values) as JSON beside.

    The file appears whole or not at all.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    save_file(tensors, part, metadata={"made": json.dumps(made)})
    os.replace(part, path)


_UNREADABLE = "not a readable safetensors file ({}); name another, or remove it to make it anew"


def made(path: str | Path) -> dict:
    """What `save` wrote beside the weights of the file, empty where it was not written here.

    Raises ``ValueError`` for what is not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("made", "{}"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: {_UNREADABLE.format(error)}") from None


def modules(path: str | Path) -> set[str]:
    """First parts of the names of the weights in a safetensors file, empty where there is no such file.

    Raises ``ValueError`` for what is not a safetensors file.
    """
    if not Path(path).is_file():
        return set()
    try:
        with safe_open(path, framework="pt") as file:
            return {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118, it is no dictionary
    except SafetensorError as error:
        raise ValueError(f"{path}: {_UNREADABLE.format(error)}") from None


def load(encoder: nn.Module, path: str | Path) -> None:
    """Copy the weights in a safetensors file, under the names of timm, into ``encoder``.

    The first convolution of a colour file is summed over its channels for a grey encoder: on a grey picture
    this is what three equal channels would give.  A classifier behind the encoder's last stage is left out
    and named in a warning.

    Raises
        FileNotFoundError: there is no such file.
        ValueError: it is not a safetensors file, or names or shapes differ; all that differ are listed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of a {SUFFIX} file or weights='none'")
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error}); fetch it anew") from None
    wanted = encoder.state_dict()
    # An encoder that returns its stages has "layers_0" where the file of the whole network has "layers.0".
    flat = {name: re.sub(r"^(\w+)\.(\d+)\.", r"\1_\2.", name) for name in found}
    found = {flat[name] if flat[name] in wanted else name: tensor for name, tensor in found.items()}
    first = stem(encoder)
    if first in found and found[first].ndim == 4 and wanted[first].shape[1] == 1:
        found[first] = found[first].sum(dim=1, keepdim=True)
    behind = sorted(name for name in found if name not in wanted and name.split(".")[0] in HEADS)
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in wanted and name not in behind]
    wrong += [
        f"{name} is {tuple(found[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    if wrong:
        raise ValueError(
            f"{path} does not fit this encoder; {len(wrong)} of {len(wanted)} weights differ (file against "
            f"encoder), so it belongs to another network:\n  " + "\n  ".join(wrong)
        )
    encoder.load_state_dict({name: found[name] for name in wanted})
    if behind:
        warnings.warn(f"{path.name}: left out the classifier: {', '.join(behind)}", stacklevel=2)
