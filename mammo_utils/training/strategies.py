"""What may change during a run, and how fast: each strategy makes a plan for a model.

A model lists its ``parts``, (name, module) from stem to head, which together hold every parameter once.  The
last ones, ``decoder`` and ``head``, are new in a transfer; what lies before them is the encoder.  Every
strategy is called with the model, the highest rate ``lr`` and the number of ``epochs``; all but ``full``
raise ``ValueError`` for a model without such parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from mammo_utils.models import lora as adaptation
from mammo_utils.models.lora import NEW

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)  # the first one is of batch and instance norm


@dataclass(frozen=True)
class Plan:
    """Parameters with their learning rates, epoch by epoch, and an optional penalty.

    ``groups(epoch)`` returns a list of ``{"name", "params", "lr"}`` that has the same groups, in the same
    order, for every epoch; a group whose rate is 0 is frozen in that epoch, as is every parameter in no
    group.  A group may have options of the optimiser, such as ``weight_decay``, beside.  ``penalty()`` is
    added to the loss of every step; None where there is none.

    Batch norm whose own parameters are all frozen keeps its running statistics and normalises by them.
    ``statistics=False`` holds those of every batch norm still, but for the ones in new parts, whose
    statistics are those of nothing yet.
    """

    groups: Callable[[int], list[dict]]
    penalty: Callable[[], Tensor | None] = lambda: None
    statistics: bool = True


def full(model: nn.Module, *, lr: float, epochs: int) -> Plan:
    """Every parameter changes in every epoch at one rate."""
    return Plan(lambda epoch: [{"name": "all", "params": list(model.parameters()), "lr": lr}])


def layerwise(model: nn.Module, *, lr: float, epochs: int, decay: float = 2.6) -> Plan:
    """Each part has a rate of its own: the head ``lr``, every other the next part's over ``decay``.

    Source: Howard 2018, arXiv 1801.06146 (2.6).
    """
    parts = _parts(model)
    return Plan(
        lambda epoch: [
            _group(name, part.parameters(), lr / decay**above)
            for above, (name, part) in zip(reversed(range(len(parts))), parts, strict=True)
        ]
    )


def gradual(model: nn.Module, *, lr: float, epochs: int, every: int = 1, fall: float = 1.0) -> Plan:
    """New parts change from the start, the encoder's from its top: one more after ``every`` epochs each.

    All changing parts have the rate ``lr`` · ``fall`` ** (number of thawed parts of the encoder).  A run that
    is too short leaves the lowest parts frozen.

    Source: Howard 2018, arXiv 1801.06146 (one more part after each epoch).
    """
    if every < 1:
        raise ValueError(f"every={every}: give 1 epoch or more")
    if not 0 < fall <= 1:
        raise ValueError(f"fall={fall}: give a factor above 0 and up to 1 for the rates")
    parts = _parts(model)
    depth = sum(name not in NEW for name, _ in parts)

    def groups(epoch: int) -> list[dict]:
        thawed = min(epoch // every, depth)
        rate = lr * fall**thawed
        return [
            _group(name, part.parameters(), rate if place >= depth - thawed else 0.0)
            for place, (name, part) in enumerate(parts)
        ]

    return Plan(groups)


def head(model: nn.Module, *, lr: float, epochs: int) -> Plan:
    """The new parts alone change: decoder and head of a segmenter, head of a classifier."""
    _, new = _halves(model)
    return Plan(lambda epoch: [_group("new", new, lr)])


def bnbitfit(model: nn.Module, *, lr: float, epochs: int, statistics: bool = True) -> Plan:
    """Of the encoder, scales and shifts of the norms and all biases change; the new parts as a whole.

    ``statistics``: whether the running statistics of the encoder's batch norm move as well.

    Source: Ben Zaken 2021, arXiv 2106.10199 (biases).
    """
    encoder, new = _halves(model)
    norms = {id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters(recurse=False)}
    norms |= {id(p) for name, p in model.named_parameters() if name.endswith("bias")}
    small = [p for p in encoder if id(p) in norms]
    return Plan(
        lambda epoch: [_group("norms and biases", small, lr), _group("new", new, lr)], statistics=statistics
    )


def lora(
    model: nn.Module,
    *,
    lr: float,
    epochs: int,
    rank: int = 4,
    alpha: float = 1.0,
    targets: Iterable[str] | None = None,
) -> Plan:
    """Adapters, as `models.lora.add` puts them into the encoder, and the new parts change.

    The adapters stay apart afterwards; `models.lora.merge` adds them to the weights.  A model that has
    adapters keeps those, whatever the options say.

    Source: Hu 2021, arXiv 2106.09685.
    """
    _parts(model)
    if not adaptation.adapters(model):
        adaptation.add(model, rank=rank, alpha=alpha, targets=targets)
    _, new = _halves(model)
    known = {id(p) for p in new}
    thin = [p for one in adaptation.adapters(model).values() for p in one.parameters() if id(p) not in known]
    return Plan(lambda epoch: [_group("adapters", thin, lr), _group("new", new, lr)])


def lp_ft(model: nn.Module, *, lr: float, epochs: int, probe: float = 0.5, lower: float = 0.1) -> Plan:
    """The new parts alone change for a share ``probe`` of the epochs, then everything at ``lower`` · ``lr``.

    Source: Kumar 2022, arXiv 2202.10054 (the order and a lower rate; share and factor are this package's).
    """
    if epochs < 2 or not 0 < probe < 1:
        raise ValueError(f"epochs={epochs}, probe={probe}: two phases need 2 epochs and a share within 0–1")
    encoder, new = _halves(model)
    first = min(max(1, round(probe * epochs)), epochs - 1)

    def groups(epoch: int) -> list[dict]:
        old, fresh = (0.0, lr) if epoch < first else (lower * lr, lower * lr)
        return [_group("encoder", encoder, old), _group("new", new, fresh)]

    return Plan(groups)


def l2_sp(model: nn.Module, *, lr: float, epochs: int, alpha: float = 0.1, beta: float = 0.01) -> Plan:
    """Everything changes; ``alpha`` / 2 · ‖w − w₀‖² + ``beta`` / 2 · ‖w of new parts‖² is added to the loss.

    w₀ are the encoder's weights, norms and biases when this is called.  The penalty takes the place of weight
    decay, which would pull to zero.

    Source: Li 2018, arXiv 1802.01483.
    """
    encoder, new = _halves(model)
    start = [p.detach().clone() for p in encoder]

    def penalty() -> Tensor:
        start[:] = [
            w.to(p.device) for w, p in zip(start, encoder, strict=True)
        ]  # fit may have moved the model
        away = sum((p - w).square().sum() for p, w in zip(encoder, start, strict=True))
        return alpha / 2 * away + beta / 2 * sum(p.square().sum() for p in new)

    def groups(epoch: int) -> list[dict]:
        return [
            _group(name, params, lr) | {"weight_decay": 0.0}
            for name, params in (("encoder", encoder), ("new", new))
        ]

    return Plan(groups, penalty)


STRATEGIES = {
    "full": full,
    "layerwise": layerwise,
    "gradual": gradual,
    "head": head,
    "bnbitfit": bnbitfit,
    "lora": lora,
    "lp_ft": lp_ft,
    "l2_sp": l2_sp,
}


def hold(model: nn.Module, plan: Plan) -> None:
    """Put batch norm whose statistics must not move into evaluation mode."""
    new = {m for name, part in getattr(model, "parts", ()) if name in NEW for m in part.modules()}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            own = [p.requires_grad for p in module.parameters()]  # none without scale and shift
            if (own and not any(own)) or not (plan.statistics or module in new):
                module.eval()


def trainable(model: nn.Module, plan: Plan, epoch: int = 0) -> pd.DataFrame:
    """Numbers of parameters by part of the network, from stem to head.

    The index is the name of the part; ``trainable`` are those that change in ``epoch``, ``all`` includes
    adapters; ``lr`` is the highest rate in the part, 0 where it is frozen.
    """
    rates = {id(p): group["lr"] for group in plan.groups(epoch) for p in group["params"] if group["lr"] > 0}
    rows = []
    for name, part in _parts(model):
        sizes = {id(p): p.numel() for p in part.parameters()}
        moving = [one for one in sizes if one in rates]
        lr = max((float(rates[one]) for one in moving), default=0.0)
        rows.append((name, sum(sizes[one] for one in moving), sum(sizes.values()), lr))
    return pd.DataFrame(rows, columns=["part", "trainable", "all", "lr"]).set_index("part")


def _group(name: str, params: Iterable[nn.Parameter], lr: float) -> dict:
    return {"name": name, "params": list(params), "lr": lr}


def _parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    parts = getattr(model, "parts", [])
    if not any(name in NEW for name, _ in parts):
        raise ValueError(
            f"{type(model).__name__} has no parts that end with a head, as models.segmentation.build makes "
            "them: take one of those, or the strategy 'full'"
        )
    return parts


def _halves(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters of the encoder, and of the new parts."""
    halves: tuple[list, list] = ([], [])
    for name, part in _parts(model):
        halves[name in NEW].extend(part.parameters())
    return halves
