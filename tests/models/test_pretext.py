"""Heads of pretext tasks on every encoder: shapes, whose weights they train, what embedding leaves."""

import numpy as np
import pandas as pd
import pytest
import torch

from mammo_utils.data.batches import Arrays, Batches
from mammo_utils.models.pretext import Features, Labeller, Painter, Projected, embed
from mammo_utils.models.segmentation import MODELS, build

SMALL = [name for name, model in MODELS.items() if model.profile != "gpu"]
LARGE = [name for name, model in MODELS.items() if model.profile == "gpu"]
SHAPE = (64, 52)
EVERY = pytest.mark.parametrize("name", SMALL)


def made(name="unet/test_efficientnet", *, seed=0, **options):
    torch.manual_seed(seed)
    return build(name, size=SHAPE, **options)


def images(number=2, shape=SHAPE, seed=1):
    return torch.rand(number, 1, *shape, generator=torch.Generator().manual_seed(seed))


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before, module):
    after = module.state_dict()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def heads(segmenter):
    """(head, what it is called with, shape of what it gives)"""
    x, hidden = images(), images(seed=2) > 0.5
    return [
        (Projected(segmenter, hidden=24, out=12), (x,), (2, 12)),
        (Painter(segmenter), (x, hidden), (2, 1, *SHAPE)),
        (Labeller(segmenter, classes=7), (x,), (2, 7)),
    ]


def check_heads(segmenter):
    """Every head gives its shape, and every one of its weights a gradient; the decoder gets none."""
    for head, arguments, shape in heads(segmenter):
        found = head(*arguments)
        assert found.shape == shape
        found.square().mean().backward()
        idle = [name for name, parameter in head.named_parameters() if parameter.grad is None]
        assert not idle, idle  # several processes would wait for their gradients
        assert all(p.grad.isfinite().all() for p in head.parameters())
        ours = {id(parameter) for parameter in head.parameters()}
        assert all(id(parameter) in ours for parameter in segmenter.encoder.parameters())
        head.zero_grad()
    rest = [*segmenter.net.decoder.parameters(), *segmenter.net.segmentation_head.parameters()]
    assert all(parameter.grad is None for parameter in rest)


@EVERY
def test_heads_serve_every_family(name):
    check_heads(made(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_heads_serve_large_models(name):
    check_heads(made(name))


@EVERY
def test_features_are_the_deepest_map_that_the_decoder_gets(name):
    segmenter, shape = made(name).eval(), (64, 64)
    features, caught = Features(segmenter), []

    def catch(module, arguments):
        maps = arguments[0]
        while isinstance(maps, (list, tuple)):
            maps = maps[0] if isinstance(maps[0], (list, tuple)) else maps[-1]
        caught.append(maps)

    segmenter.net.decoder.register_forward_pre_hook(catch)
    with torch.no_grad():
        segmenter(images())
        found = features.eval()(images())
    assert found.shape == (2, features.width, *(side // features.reduction for side in shape))
    assert torch.equal(found, caught[0])
    torch.testing.assert_close(features.pooled(images()), found.flatten(2).mean(2))
    assert found.flatten(2).std(2).mean() > 1e-4  # a map, not a pooled vector that was spread out


@pytest.mark.parametrize("name", ["unet/test_efficientnet", "nnunet/small", "dpt/test_vit", "sam/small"])
@pytest.mark.parametrize("shape", [(101, 77), (40, 130)])
def test_any_size_is_painted(name, shape):
    painter = Painter(made(name))
    x = images(1, shape)
    assert painter(x, x > 0.5).shape == (1, 1, *shape)


def test_a_network_for_one_size_says_so():
    head = Projected(made("upernet/swin_small"), hidden=8, out=4)
    with pytest.raises(ValueError, match=r"up to 64×64, these are 101×77; build it with size=\(101, 77\)"):
        head(images(2, (101, 77)))


@EVERY
def test_a_painter_cannot_see_what_is_hidden(name):
    painter, x = Painter(made(name)).eval(), images()
    hidden = torch.zeros_like(x, dtype=torch.bool)
    hidden[:, :, 16:48, 16:48] = True
    with torch.no_grad():
        painted = painter(x, hidden)
        assert torch.equal(painter(torch.where(hidden, images(seed=5), x), hidden), painted)
        assert not torch.equal(painter(torch.where(hidden, x, images(seed=5)), hidden), painted)
        painter.fill += 0.3
        assert not torch.equal(painter(x, hidden), painted)


def test_a_cell_of_the_map_paints_its_own_square():
    painter = Painter(made("nnunet/small"))
    assert painter.features.reduction == 16
    cells = torch.randn(1, painter.features.width, 4, 4, requires_grad=True)
    painted = painter.head(cells)
    assert painted.shape == (1, 1, 64, 64)
    for row, column in ((0, 0), (15, 16), (37, 63)):
        (gradient,) = torch.autograd.grad(painted[0, 0, row, column], cells, retain_graph=True)
        assert gradient.abs().sum(1)[0].nonzero().tolist() == [[row // 16, column // 16]]


@pytest.mark.parametrize("name", ["unet/test_efficientnet", "sam/small"])
@pytest.mark.parametrize("kind", range(3))
def test_training_a_head_trains_the_encoder_of_the_segmenter_and_nothing_else_of_it(name, kind):
    segmenter = made(name)
    head, arguments, _ = heads(segmenter)[kind]
    assert head.features.net is segmenter.net.encoder
    encoder, whole = state(segmenter.encoder), state(segmenter)
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(2):  # the second step sees what the first has changed
        optimiser.zero_grad()
        head(*arguments).square().mean().backward()
        optimiser.step()
    weights = {name for name, _ in segmenter.encoder.named_parameters()}
    assert len(changed(encoder, segmenter.encoder) & weights) > 0.9 * len(weights)
    assert all(name.startswith("net.encoder.") for name in changed(whole, segmenter))


def batches(number=7, size=3, **options):
    rng = np.random.default_rng(3)
    stored = rng.integers(0, 65536, (number, *SHAPE), dtype=np.uint16)
    table = pd.DataFrame({"group": np.arange(number) // 2})
    whole = Arrays(stored, {"breast": np.ones(stored.shape, bool)}, table)
    return Batches(whole, target="breast", batch_size=size, **options)


@EVERY
def test_embeddings_do_not_depend_on_the_batch(name):
    segmenter = made(name)
    z = embed(segmenter, batches())
    assert z.shape == (7, Features(segmenter).width)
    assert (z.dtype, z.device.type, z.requires_grad) == (torch.float32, "cpu", False)
    scale = z.abs().max().item()
    for size in (1, 7):
        torch.testing.assert_close(embed(segmenter, batches(size=size)), z, rtol=1e-4, atol=1e-5 * scale)
    some = embed(segmenter, batches(rows=[5, 0]))
    torch.testing.assert_close(some, z[[5, 0]], rtol=1e-4, atol=1e-5 * scale)
    assert z.std(0).max() > 1e-3 * scale  # images differ


def test_embedding_leaves_the_segmenter_as_it_was():
    segmenter = made().train()
    segmenter.encoder.bn1.eval()  # as a strategy may have frozen it
    before, modes = state(segmenter), [module.training for module in segmenter.modules()]
    first = embed(segmenter, batches())
    assert not changed(before, segmenter)
    assert [module.training for module in segmenter.modules()] == modes
    assert torch.equal(embed(segmenter.eval(), batches()), first)
    assert not any(module.training for module in segmenter.modules())
    assert all(parameter.grad is None for parameter in segmenter.parameters())
