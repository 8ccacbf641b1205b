"""Images a second of the training loop beside a bare loop and its peers: ``python benchmarks/training.py``.

All train the same U-Net on the same batches in memory, with AdamW and BCE + Dice on both channels, each as a
user of that library would write it at its defaults.  They take turns, once in every round; printed are
medians and ratios.  Peers that are not installed are named and left out (``pip install '.[bench]'``).
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from importlib.util import find_spec
from statistics import median

import torch

from mammo_utils import profile
from mammo_utils.data.batches import Batch
from mammo_utils.models.blocks import PlainUNet
from mammo_utils.models.segmentation import build
from mammo_utils.study import provenance
from mammo_utils.training import losses, tasks
from mammo_utils.training.loop import fit

LR = 1e-3


def made(steps: int, size: tuple[int, int], batch_size: int) -> list[Batch]:
    """Batches of noise with a disc as mask: the loops differ, the data does not matter."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    disc = (rows**2 + columns**2 < 0.5).float().expand(batch_size, 1, *size).contiguous()
    number = torch.arange(batch_size)
    return [
        Batch(
            torch.rand(batch_size, 1, *size, generator=generator) * 0.5 + disc / 2, disc, disc, number, number
        )
        for _ in range(steps)
    ]


def both(logits: torch.Tensor, dense: torch.Tensor, breast: torch.Tensor) -> torch.Tensor:
    """The loss that every loop minimises."""
    return losses.bce_dice(logits[:, :1], dense) + losses.bce_dice(logits[:, 1:], breast)


def network(name: str, size: tuple[int, int]) -> torch.nn.Module:
    """The segmenter called ``name``; ``plain`` is a U-Net of 1.6 M parameters with batch normalisation.

    Instance normalisation, as nnU-Net has it, is slow on processors in every loop alike.
    """
    if name != "plain":
        return build(name, size=size)
    model = PlainUNet(1, 2, (24, 48, 80, 128, 160))
    for block in [part for part in model.modules() if isinstance(part, torch.nn.Sequential)]:
        for place, layer in enumerate(block):
            if isinstance(layer, torch.nn.InstanceNorm2d):
                block[place] = torch.nn.BatchNorm2d(layer.num_features)
    return model


def bare(model, batches, *, channels_last: bool, dtype: torch.dtype | None) -> None:
    """PyTorch's own loop, in the fewest lines."""
    device = profile.device()
    model.to(device).train()
    if channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    for batch in batches:
        image, dense, breast = (tensor.to(device) for tensor in batch[:3])
        with torch.autocast(device.split(":")[0], dtype=dtype, enabled=dtype is not None):
            logits = model(image)
        both(logits, dense, breast).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def ours(model, batches, *, precision: str) -> None:
    """The loop of this package."""
    fit(model, batches, tasks.segmentation("bce_dice"), epochs=1, lr=LR, precision=precision, progress=False)


def with_lightning(model, batches) -> None:
    """Lightning's Trainer at its defaults."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, batch, index):
            return both(self.model(batch[0]), batch[1], batch[2])

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=LR)

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=1, default_root_dir=folder, enable_checkpointing=False, **quiet
        )
        ready = torch.utils.data.DataLoader([tuple(batch[:3]) for batch in batches], batch_size=None)
        trainer.fit(Module(), ready)


def with_fastai(model, batches) -> None:
    """fastai's Learner at its defaults, with one cycle of its own optimiser."""
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    pairs = [(batch.image, torch.cat([batch.target, batch.breast], 1)) for batch in batches]

    class Loader(list):
        device, dataset, bs = torch.device(profile.device()), pairs, len(pairs[0][0])

        def to(self, device):
            return self

    data = DataLoaders(Loader(pairs), Loader(pairs[:1]))
    learner = Learner(data, model, loss_func=lambda x, y: both(x, y[:, :1], y[:, 1:]), lr=LR)
    learner.remove_cbs([callback for callback in learner.cbs if callback.name in ("progress", "recorder")])
    learner.fit(1)


def with_monai(model, batches) -> None:
    """MONAI's SupervisedTrainer at its defaults."""
    from monai.engines import SupervisedTrainer

    device = torch.device(profile.device())
    model.to(device)
    pairs = [{"image": batch.image, "label": torch.cat([batch.target, batch.breast], 1)} for batch in batches]
    SupervisedTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=pairs,
        network=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=LR),
        loss_function=lambda x, y: both(x, y[:, :1], y[:, 1:]),
    ).run()


def main() -> None:
    parser = argparse.ArgumentParser(description="Training speed beside a bare loop and the peers.")
    parser.add_argument("--model", default="plain", help="plain, or a segmenter's name (%(default)s)")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(128, 128), help="height and width (%(default)s)"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="images a batch (%(default)s)")
    parser.add_argument("--steps", type=int, default=12, help="batches a turn (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each loop (%(default)s)")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)

    half = profile.precision() == "bf16-mixed"
    own = torch.bfloat16 if half else None
    arms = {
        "bare loop, float32": lambda m, b: bare(m, b, channels_last=False, dtype=None),
        "bare loop, float32, channels-last": lambda m, b: bare(m, b, channels_last=True, dtype=None),
        "bare loop, channels-last, auto precision": lambda m, b: bare(m, b, channels_last=True, dtype=own),
        "fit, float32": lambda m, b: ours(m, b, precision="32-true"),
        "fit, auto precision": lambda m, b: ours(m, b, precision="auto"),
    }
    peers = {"lightning": with_lightning, "fastai": with_fastai, "monai": with_monai}
    for name, run in peers.items():
        if find_spec(name):
            arms[f"{name} at its defaults"] = run
        else:
            print(f"{name} is not installed and left out")

    batches = made(options.steps, tuple(options.size), options.batch_size)
    seconds = {name: [] for name in arms}
    for turn in range(options.rounds + 1):
        for name, run in arms.items():
            torch.manual_seed(0)
            model = network(options.model, tuple(options.size))
            started = time.perf_counter()
            run(model, batches)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)

    images = options.steps * options.batch_size
    speed = {name: images / median(times) for name, times in seconds.items()}
    parameters = sum(p.numel() for p in network(options.model, tuple(options.size)).parameters())
    shape = "×".join(map(str, options.size))
    print(f"{options.model}, {parameters / 1e6:.2f} M parameters, {shape}, batches of {options.batch_size}")
    print(f"{provenance.machine()}, {torch.get_num_threads()} threads, auto precision: {profile.precision()}")
    for name, value in speed.items():
        print(f"{value:8.1f} images/s  {value / speed['bare loop, float32']:5.2f}  {name}")
    fits = ("fit, float32", "bare loop, float32, channels-last"), (
        "fit, auto precision", "bare loop, channels-last, auto precision"
    )  # fmt: skip
    for mine, other in fits:
        print(f"{mine} against {other}: {speed[mine] / speed[other]:.3f}")
    found = [speed[name] for name in speed if name.endswith("defaults")]
    if found:
        print(
            f"fit, auto precision against the fastest peer: {speed['fit, auto precision'] / max(found):.2f}"
        )


if __name__ == "__main__":
    main()
