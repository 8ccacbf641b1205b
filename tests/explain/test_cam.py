"""Maps whose truth is known by hand, models left as they were, layers of every family."""

import copy
import warnings

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import RawScoresOutputTarget
from timm.layers import Conv2dSame
from torch import nn

from mammo_utils.data.preprocess import prepare
from mammo_utils.explain import cam, layers
from mammo_utils.models import classification, lora, segmentation


class Blob(nn.Module):
    """One layer of two 3×3 filters with stride 2, ReLU, the mean, one linear layer: all of it by hand.

    The first filter sums its window, the second takes what its middle has more than the eight around it.
    """

    def __init__(self, weight, bias=0.0):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(2, len(weight))
        with torch.no_grad():
            self.conv.weight.fill_(1)
            self.conv.weight[1] = -1
            self.conv.weight[1, 0, 1, 1] = 8
            self.conv.bias.copy_(torch.tensor([0.0, -1.0]))
            self.head.weight.copy_(torch.tensor(weight))
            self.head.bias.fill_(bias)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3)))


def activations(image):
    """What the layer of `Blob` gives for an H×W image, in numpy."""
    wide = np.pad(np.asarray(image, float), 1)
    found = np.zeros((2, image.shape[0] // 2, image.shape[1] // 2))
    for row, column in np.ndindex(found.shape[1:]):
        window = wide[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        found[:, row, column] = window.sum(), 9 * window[1, 1] - window.sum() - 1
    return np.maximum(found, 0)


@pytest.fixture
def image():
    """A wide dim area and one bright dot."""
    pixels = np.zeros((12, 16), np.float32)
    pixels[1:6, 1:7] = 0.25
    pixels[8, 10] = 1
    return pixels


def at_cells(maps):
    """Maps of `Blob` at the middles of its cells, where enlarging has changed nothing."""
    return maps[:, ::2, ::2]


def by_hand(method, image, weight):
    """The map of `Blob` on its own grid from the formula of each method, before negative values go."""
    a = activations(image)
    cells = a[0].size
    slope = np.array(weight) / cells  # of the logit, the same in every cell
    if method in ("gradcam", "hirescam"):
        return (slope[:, None, None] * a).sum(0)
    if method == "layercam":
        return (np.maximum(slope, 0)[:, None, None] * a).sum(0)
    if method == "gradcam++":
        share = slope**2 / (2 * slope**2 + a.sum((1, 2)) * slope**3)
        return ((np.maximum(slope, 0) * share * cells)[:, None, None] * a).sum(0)
    if method == "eigencam":
        x = a.reshape(2, -1).T
        x = x - x.mean(0)
        values, vectors = np.linalg.eigh(x.T @ x)
        part = (x @ vectors[:, values.argmax()]).reshape(a.shape[1:])
        return part if part.max() >= -part.min() else -part
    # Score-CAM: each activation, in 0–1 and between its cells at 0, 2, 4 …, is laid over the image
    logits, (tall, wide) = [], image.shape
    for one in a:
        rows = np.array([np.interp(np.arange(wide), np.arange(0, wide, 2), row) for row in one])
        mask = np.array([np.interp(np.arange(tall), np.arange(0, tall, 2), own) for own in rows.T]).T
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        logits.append(np.dot(weight, activations(image * mask).mean((1, 2))))
    shares = np.exp(logits - np.max(logits)) / np.exp(logits - np.max(logits)).sum()
    return (shares[:, None, None] * a).sum(0)


@pytest.mark.parametrize("method", cam.METHODS)
@pytest.mark.parametrize("target", [0, 1])
def test_every_method_by_hand(method, target, image):
    """Benign is the negated logit of a network with one: gradients change their sign."""
    weight = [-0.5, 2.0]
    own = weight if target == 1 else [0.5, -2.0]
    images = torch.tensor(image)[None, None]
    maps = cam.explain(Blob([weight]), images, target=target, method=method, layer="act", normalise=False)
    assert maps.shape == (1, 12, 16)
    assert maps.dtype == np.float32
    expected = np.maximum(by_hand(method, image, own), 0)
    assert expected.max() > 0
    np.testing.assert_allclose(at_cells(maps)[0], expected, rtol=1e-4, atol=1e-6)
    unit = cam.explain(Blob([weight]), images, target=target, method=method, layer="act")
    np.testing.assert_allclose(unit, cam.scaled(maps), atol=1e-6)
    assert (unit.min(), unit.max()) == (0, 1)


def test_the_dot_speaks_for_and_the_dim_area_against(image):
    images = torch.tensor(image)[None, None]
    options = {"method": "hirescam", "layer": "act", "normalise": False}
    malignant, benign = (cam.explain(Blob([[-0.5, 2.0]]), images, target=t, **options)[0] for t in (1, 0))
    assert np.unravel_index(malignant.argmax(), malignant.shape) == (8, 10)
    assert benign[8, 10] == 0
    assert benign[2:5, 2:6].all()
    # With the mean and a linear layer behind it, the cells of both signs add up to the logit.
    model = Blob([[-0.5, 2.0]], bias=0.3)
    cells = at_cells(malignant[None]).sum() - at_cells(benign[None]).sum()
    assert cells + 0.3 == pytest.approx(model(images).item(), rel=1e-5)


def test_a_class_of_several_is_its_own_logit(image):
    images, weight = torch.tensor(image)[None, None], [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]
    for target in range(3):
        maps = cam.explain(
            Blob(weight), images, target=target, method="gradcam", layer="act", normalise=False
        )
        expected = np.maximum(by_hand("gradcam", image, weight[target]), 0)
        np.testing.assert_allclose(at_cells(maps)[0], expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="choose one of: 0, 1, 2"):
        cam.explain(Blob(weight), images, target=3, method="gradcam", layer="act")


def test_the_activation_is_kept_before_a_layer_writes_over_it(image):
    """The ReLU behind the convolution works in place; negative values must still be in its map."""
    images = torch.tensor(image)[None, None]
    maps = cam.explain(
        Blob([[-1.0, 0.0]]), images, target=0, method="hirescam", layer="conv", normalise=False
    )
    model = Blob([[-1.0, 0.0]])
    before = model.conv(images)[0].detach().numpy()
    slope = np.where(before > 0, np.array([1.0, 0.0])[:, None, None], 0) / before[0].size
    np.testing.assert_allclose(at_cells(maps)[0], np.maximum((slope * before).sum(0), 0), atol=1e-6)
    eigen = cam.explain(model, images, target=1, method="eigencam", layer="conv", normalise=False)
    x = before.reshape(2, -1).T - before.reshape(2, -1).mean(1)
    values, vectors = np.linalg.eigh(x.T @ x)
    part = (x @ vectors[:, values.argmax()]).reshape(before.shape[1:])
    part = part if part.max() >= -part.min() else -part
    np.testing.assert_allclose(at_cells(eigen)[0], np.maximum(part, 0), atol=1e-4)


def test_a_module_that_is_used_twice_is_explained_at_its_last_use(image):
    class Twice(Blob):
        def forward(self, x):
            self.last = self.act(2 - self.act(self.conv(x)))
            return self.head(self.last.mean((2, 3)))

    images, weight = torch.tensor(image)[None, None], [[1.0, 3.0]]
    options = {"target": 1, "method": "hirescam", "layer": "act", "normalise": False}
    model = Twice(weight)
    maps = cam.explain(model, images, **options)
    last = np.maximum(2 - activations(image), 0)
    assert 0 < (last == 0).sum() < last.size
    expected = (np.array([1.0, 3.0])[:, None, None] * last).sum(0) / last[0].size
    np.testing.assert_allclose(at_cells(maps)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_grad_cam_plus_plus_where_slopes_are_small_and_values_negative(image, scale):
    """Slopes of 1e-6 weigh as slopes of 1e-2 do; values below 0 do not turn the sign of a weight."""
    images, weight = torch.tensor(image)[None, None], np.array([0.5, 3.0]) * scale
    options = {"target": 1, "method": "gradcam++", "normalise": False}
    model = Blob([weight.tolist()])
    model.act = nn.Identity()
    maps = cam.explain(model, images, layer="conv", **options)
    with torch.no_grad():
        a = model.conv(images)[0].numpy().astype(float)
    assert a[1].sum() < 0
    positive = np.maximum(a, 0).sum((1, 2))
    slope = weight / a[0].size
    share = slope**2 / (2 * slope**2 + positive * slope**3)
    expected = np.maximum(((slope * share * a[0].size)[:, None, None] * a).sum(0), 0)
    assert expected.max() > 0
    np.testing.assert_allclose(at_cells(maps)[0], expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_a_stretched_map_lies_half_a_cell_away(image):
    """The library's own map of an image that one stride divides, whose peak is beside the dot."""
    images = torch.tensor(image)[None, None]
    model = Blob([[0.0, 1.0]]).eval()
    with GradCAM(model, [model.act]) as library:
        stretched = library(images, [RawScoresOutputTarget()])[0]
    maps = cam.explain(model, images, target=1, method="gradcam", layer="act")[0]
    rows, columns = np.indices(maps.shape)
    middle, theirs = (
        np.array([(rows * heat).sum(), (columns * heat).sum()]) / heat.sum() for heat in (maps, stretched)
    )
    np.testing.assert_allclose(middle, (8, 10), atol=1e-6)
    np.testing.assert_allclose(theirs - middle, 0.5, atol=1e-4)  # (stride - 1) / 2


@pytest.mark.parametrize("row", [1, 2])
def test_a_planted_impulse_is_found_where_it_lies(row):
    """Five strides make cells of 32 pixels, 3¼ of them side by side; each answers to light in its middle."""
    model = nn.Sequential(*(nn.Conv2d(1, 1, 3, stride=2, padding=1) for _ in range(5)), nn.Flatten(2))
    model.append(nn.AdaptiveAvgPool1d(1)).append(nn.Flatten())
    for layer in model[:5]:
        nn.init.constant_(layer.weight, 1)
        nn.init.zeros_(layer.bias)
    images = torch.zeros(1, 1, 128, 104)
    images[0, 0, 32 * row, 64] = 1
    found = cam.explain(model, images, target=1, method="hirescam", layer="4", normalise=False)[0]
    assert np.unravel_index(found.argmax(), found.shape) == (32 * row, 64)
    stretched = layers.Grid.stretched((4, 4), (128, 104)).enlarge(found[::32, ::32], (128, 104))
    top = np.argwhere(stretched == stretched.max()).mean(0)
    np.testing.assert_allclose(top, (32 * row + 15.5, 64.5), atol=0.5)


# Family, layer and image: what a cell really sees is where its gradient lies.
SEEN = [
    ("unet/mobilenetv2_050", "stage3", 0.0),
    ("nnunet/small", "stage4", 0.0),
    ("segformer/small", "stage4", 0.0),
    ("upernet/swin_small", "stage3", 7.5),
    ("unet/tf_mobilenetv2_100", "stage3", 15.0),
    ("test_resnet", "stage4", 14.0),
    ("test_convnext2", "stage4", 15.5),
]


@pytest.mark.parametrize(("name", "layer", "first"), SEEN)
def test_cells_lie_where_the_network_sees_from(name, layer, first):
    torch.manual_seed(0)
    size = (256, 256)
    model = (segmentation if "/" in name else classification).build(name, size=size).eval()
    place = layers.find(model, torch.rand(1, 1, *size), layer)
    assert place.grid.first == (first, first)
    cell, kept = [count // 2 for count in place.grid.shape], []
    hook = place.module.register_forward_hook(lambda module, given, out: kept.append(place.to_maps(out)))
    seen = np.zeros(size)
    for _ in range(4):
        images = torch.rand(1, 1, *size, requires_grad=True)
        model(images)
        values = kept.pop()[0, :, cell[0], cell[1]]
        (slope,) = torch.autograd.grad((values * torch.randn_like(values)).sum(), images)
        seen += slope[0, 0].numpy() ** 2
    hook.remove()
    middle = [seen.sum(axis) @ np.arange(256) / seen.sum() for axis in (1, 0)]
    stride = place.grid.stride[0]
    np.testing.assert_allclose(middle, first + stride * np.array(cell), atol=0.25 * stride)


@pytest.mark.parametrize("adapted", [False, True])
def test_cells_of_uneven_padding_stay_where_they_are_when_adapted(adapted):
    """Three pixels are missing, one before and two behind: the first window of five has its middle at 1."""
    model = nn.Sequential(Conv2dSame(1, 1, 5, stride=2))
    if adapted:
        lora.add(model, rank=1)
    grid = layers.find(model, torch.zeros(1, 1, 16, 16), "0").grid
    assert grid == layers.Grid((8, 8), (2.0, 2.0), (1.0, 1.0))


NETWORKS = [
    ("test_efficientnet", None),
    ("mobilenetv2_050", "stage2"),
    ("test_resnet", "stem"),
    ("test_convnext2", None),
    ("unet/mobilenetv2_050", None),
    ("unet/mobilenetv2_050", "decoder"),
    ("segformer/small", "stem"),
    ("segformer/mit_b0", "stage2"),
    ("upernet/swin_small", "stage1"),  # as many channels as rows and columns
    ("dpt/test_vit", None),
    ("dpt/test_vit", "net.encoder.model.blocks.0"),
    ("sam/small", "stage4"),
    ("sam/small", None),
]


def built(name, size=(128, 104)):
    torch.manual_seed(0)
    return (segmentation if "/" in name else classification).build(name, size=size)


@pytest.mark.parametrize(("name", "layer"), NETWORKS)
def test_maps_of_every_family(name, layer):
    """Channels first and last, tokens with a class token: a map follows the pixels of its own image alone."""
    model, images = built(name), torch.rand(2, 1, 128, 104)
    options = {"target": 1, "method": "layercam", "layer": layer, "normalise": False}
    both = cam.explain(model, images, **options)
    assert both.shape == (2, 128, 104)
    assert (both >= 0).all()
    assert both.max((1, 2)).min() > 0
    alone = cam.explain(model, images[1:], **options)
    np.testing.assert_allclose(alone[0], both[1], rtol=1e-3, atol=1e-4 * both.max())


def test_gradient_times_activation_vanishes_before_a_normalisation_over_channels():
    """SAM's neck normalises every cell, so its logits do not depend on how large the values before it are."""
    model, images = built("sam/small"), torch.rand(1, 1, 128, 104)
    options = {"target": 1, "normalise": False}
    before, behind, other = (
        cam.explain(model, images, layer=layer, method=method, **options).max()
        for layer, method in (("stage4", "hirescam"), ("neck", "hirescam"), ("stage4", "layercam"))
    )
    assert before < 1e-4 * other
    assert behind > 1e-2 * other


@pytest.mark.parametrize("name", ["upernet/swin_small", "dpt/test_vit", "sam/small", "segformer/small"])
def test_tokens_are_laid_out_as_the_image_is(name):
    """What one bright square changes in the first layer lies where the square is."""
    model = built(name).eval()
    dark, light = torch.zeros(1, 1, 128, 104), torch.zeros(1, 1, 128, 104)
    light[..., 32:48, 64:80] = 1
    place = layers.find(model, dark, "stem")
    kept = []
    place.module.register_forward_hook(lambda module, given, out: kept.append(place.to_maps(out)))
    with torch.no_grad():
        model(dark), model(light)
    change = (kept[1] - kept[0]).abs().sum(1).numpy()
    found = place.grid.enlarge(change, (128, 104))[0]
    rows, columns = np.indices(found.shape)
    middle = [(rows * found).sum() / found.sum(), (columns * found).sum() / found.sum()]
    np.testing.assert_allclose(middle, (39.5, 71.5), atol=1.5)


def test_a_vit_with_a_class_token_by_the_path_of_its_layer():
    import timm

    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=3, in_chans=1, img_size=(64, 96)).eval()
    images = torch.rand(2, 1, 64, 96)
    layer = f"blocks.{len(model.blocks) - 1}.norm1"
    maps = cam.explain(model, images, target=2, method="hirescam", layer=layer, normalise=False)
    kept = []
    hook = model.get_submodule(layer).register_forward_hook(lambda m, given, out: kept.append(out))
    logits = model(images)
    hook.remove()
    (slope,) = torch.autograd.grad(logits[:, 2].sum(), kept[0])
    cells = (slope * kept[0])[:, 1:].sum(-1).detach().numpy().reshape(2, 4, 6)
    expected = layers.Grid.stretched((4, 6), (64, 96)).enlarge(np.maximum(cells, 0), (64, 96))
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("target", [0, 1])
def test_a_segmenter_is_explained_over_the_pixels_that_it_sets(target):
    model, images = built("unet/mobilenetv2_050").eval(), torch.rand(1, 1, 128, 104)
    kept = []
    hook = dict(model.parts)["decoder"].register_forward_hook(lambda m, given, out: kept.append(out))
    logits = model(images)
    hook.remove()
    chosen = logits[0, target] > 0
    assert 0 < chosen.sum() < chosen.numel()
    (slope,) = torch.autograd.grad(logits[0, target][chosen].mean(), kept[0])
    expected = (slope * kept[0]).sum(1).detach().numpy()[:, :, :104]  # the image was padded to 128 columns
    maps = cam.explain(model, images, target=target, method="hirescam", layer="decoder", normalise=False)
    np.testing.assert_allclose(maps, np.maximum(expected, 0), rtol=1e-3, atol=1e-7)


def frozen(model):
    for weight in model.parameters():
        weight.requires_grad_(False)


def headed(model):
    frozen(model)
    for weight in dict(model.parts)["head"].parameters():
        weight.requires_grad_(True)


STATES = {"frozen": frozen, "head alone": headed, "adapted": lambda model: lora.add(model, rank=2)}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ["mobilenetv2_050", "dpt/test_vit"])
def test_what_learns_does_not_change_a_map(name, state):
    model, images = built(name), torch.rand(1, 1, 128, 104)
    before = cam.explain(model, images, target=0, method="gradcam")
    STATES[state](model)
    learning = [weight.requires_grad for weight in model.parameters()]
    after = cam.explain(model, images, target=0, method="gradcam")
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert [weight.requires_grad for weight in model.parameters()] == learning


def test_an_adapted_model_is_explained_with_its_adapters():
    model, images = built("mobilenetv2_050"), torch.rand(1, 1, 128, 104)
    options = {"target": 0, "method": "gradcam", "normalise": False}
    before = cam.explain(model, images, **options)
    lora.add(model, rank=2)
    for adapter in lora.adapters(model).values():
        nn.init.normal_(adapter.b, std=0.3)
    adapted = cam.explain(model, images, **options)
    lora.merge(model)
    np.testing.assert_allclose(adapted, cam.explain(model, images, **options), rtol=1e-3, atol=1e-5)
    assert abs(adapted - before).max() > 0.05 * before.max()


def test_looking_for_a_layer_moves_no_statistics():
    model = built("mobilenetv2_050").train()
    before = copy.deepcopy(model.state_dict())
    layers.find(model, torch.rand(1, 1, 128, 104))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def state_of(model):
    return (
        {name: module.training for name, module in model.named_modules()},
        {name: weight.requires_grad for name, weight in model.named_parameters()},
        {name: weight.grad for name, weight in model.named_parameters()},
        {name: len(module._forward_hooks) for name, module in model.named_modules()},
        copy.deepcopy(model.state_dict()),
    )


@pytest.mark.parametrize("method", cam.METHODS)
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(method, fails):
    model = Blob([[-0.5, 2.0]]).train()
    model.act.eval()  # normalisation layers that stay frozen while the rest trains
    model.conv.bias.requires_grad_(False)
    images = torch.rand(2, 1, 12, 16)
    model(images).sum().backward()
    gradient = model.conv.weight.grad
    value = gradient.clone()
    modes, learning, gradients, hooks, weights = state_of(model)
    random = torch.get_rng_state()
    if fails:
        with pytest.raises(ValueError, match="no map of the image"):
            cam.explain(model, images, target=1, method=method, layer="head")
        broken = lambda module, given, out: 1 / 0  # noqa: E731
        calls = iter([None] * 2)  # the passes that look for the layer and the target go well
        hook = model.head.register_forward_hook(lambda *a: next(calls, 0) is not None and broken(*a) or None)
        with pytest.raises(ZeroDivisionError):
            cam.explain(model, images, target=1, method=method, layer="act")
        hook.remove()
    else:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error")
            cam.explain(model, images, target=1, method=method, layer="act")
    after = state_of(model)
    assert after[:2] == (modes, learning)
    assert all(after[2][name] is gradients[name] for name in gradients)
    assert model.conv.weight.grad is gradient
    assert torch.equal(gradient, value)
    assert after[3] == hooks
    assert all(torch.equal(after[4][name], weights[name]) for name in weights)
    assert torch.equal(torch.get_rng_state(), random)
    assert not images.requires_grad


def test_score_cam_draws_no_bar(capsys):
    cam.explain(Blob([[1.0, 1.0]]), torch.rand(2, 1, 12, 16), target=1, method="scorecam", layer="act")
    assert capsys.readouterr() == ("", "")


def test_every_method_in_inference_mode(image):
    model, images = Blob([[-0.5, 2.0]]), torch.tensor(image)[None, None]
    for method in cam.METHODS:
        options = {"target": 1, "method": method, "layer": "act"}
        expected = cam.explain(model, images, **options)
        with torch.inference_mode():
            np.testing.assert_array_equal(cam.explain(model, images.clone(), **options), expected)


def test_a_map_without_anything_is_0():
    model, images = Blob([[-1.0, -1.0]]), torch.rand(1, 1, 12, 16)
    for normalise in (True, False):
        maps = cam.explain(model, images, target=1, method="gradcam", layer="act", normalise=normalise)
        assert not maps.any()


def test_back_in_the_frame_of_the_file():
    """A right breast: the prepared image is mirrored and cut, and the map comes back to its place."""
    picture = np.zeros((120, 100), np.float32)
    rows, columns = np.indices(picture.shape)
    picture[((rows - 60) / 50) ** 2 + ((columns - 99) / 60) ** 2 < 1] = 0.5
    prepared = prepare(picture, (64, 52), laterality="R")
    point = prepared.to_prepared(np.array([[60, 70]]))[0]
    heat = np.exp(-0.1 * sum((axis - at) ** 2 for axis, at in zip(np.indices((64, 52)), point, strict=True)))
    (back,) = cam.original(heat[None].astype(np.float32), [prepared])
    assert (back.shape, back.dtype) == (picture.shape, np.float32)
    np.testing.assert_allclose(np.unravel_index(back.argmax(), back.shape), (60, 70), atol=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "cam"}, "gradcam, gradcam\\+\\+, hirescam, layercam, eigencam, scorecam"),
        ({"target": 2}, "choose one of: 0, 1"),
        ({"layer": "stage9"}, "stem, stage1, stage2, stage3, stage4"),
        ({"images": torch.rand(1, 64, 52)}, "N, channels, H, W"),
    ],
)
def test_wrong_names_list_the_right_ones(options, words):
    options = {"images": torch.rand(1, 1, 64, 52), "target": 1, "method": "gradcam"} | options
    with pytest.raises(ValueError, match=words):
        cam.explain(classification.build("test_efficientnet", size=64), **options)


def test_a_model_without_parts_needs_a_layer():
    with pytest.raises(ValueError, match="name the layer by the path"):
        cam.explain(Blob([[1.0, 1.0]]), torch.rand(1, 1, 12, 16), target=1, method="gradcam")


def test_a_layer_that_the_target_does_not_depend_on():
    model = Blob([[1.0, 1.0]])
    model.forward = lambda x: model.head(model.act(model.conv(x)).detach().mean((2, 3)) + x.mean())
    with pytest.raises(ValueError, match="does not depend on this layer"):
        cam.explain(model, torch.rand(1, 1, 12, 16), target=1, method="gradcam", layer="act")
