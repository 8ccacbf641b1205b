"""Every named segmenter: shapes, parts, normalisation, determinism, and what a training loop relies on."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mammo_utils.data.preprocess import prepare, width_for
from mammo_utils.models.blocks import breast_box
from mammo_utils.models.segmentation import MODELS, build
from mammo_utils.models.segmenter import padded
from mammo_utils.synth import breast

SMALL = [name for name, model in MODELS.items() if model.profile != "gpu"]
LARGE = [name for name, model in MODELS.items() if model.profile == "gpu"]


def made(name, *, size=64, seed=0, **options):
    torch.manual_seed(seed)
    return build(name, size=size, **options)


def images(number=2, shape=(64, 52), channels=1):
    return torch.rand(number, channels, *shape, generator=torch.Generator().manual_seed(1))


def check_parts(model):
    parts = model.parts
    assert 5 <= len(parts) <= 8
    assert [name for name, _ in parts][-2:] == ["decoder", "head"]
    held = [id(parameter) for _, module in parts for parameter in module.parameters()]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in model.parameters()}
    encoder = [id(parameter) for _, module in parts[:-2] for parameter in module.parameters()]
    assert set(encoder) == {id(parameter) for parameter in model.encoder.parameters()}


def check_step(model, x):
    """One training step: finite logits of the input's size, and a gradient for every parameter."""
    logits = model.train()(x)
    assert logits.shape == (len(x), 2, *x.shape[-2:])
    assert logits.isfinite().all()
    target = (x.mean(dim=1, keepdim=True) > 0.5).float().expand_as(logits)
    F.binary_cross_entropy_with_logits(logits.float(), target).backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not idle, idle  # several processes would wait for their gradients
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_every_family_has_a_small_counterpart_and_every_kind_is_there():
    assert {MODELS[name].family for name in SMALL} == {MODELS[name].family for name in LARGE}
    assert {model.kind for model in MODELS.values()} == {"CNN", "transformer", "SAM-like"}


@pytest.mark.parametrize("name", SMALL)
def test_trains_on_one_image_and_its_parts_hold_every_parameter_once(name):
    model = made(name)
    check_parts(model)
    check_step(model, images(1))


# One model at a time is in memory: the largest, with its gradients, takes about 1 GB.
@pytest.mark.parametrize("name", LARGE)
def test_large_models_train_on_one_image(name):
    model = made(name)
    check_parts(model)
    check_step(model, images(1))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(128, 104), (101, 77)])
def test_any_size_comes_back_as_it_went_in(name, shape):
    model = made(name, size=shape).eval()
    x = images(1, shape)
    with torch.no_grad():
        logits = model(x)
        assert logits.shape == (1, 2, *shape)
        # the padding is black and lies right and below: an image with that border gives the same
        tall, wide = padded(shape, model.stride)
        border = F.pad(x, (0, wide - shape[1], 0, tall - shape[0]))
        box = (breast_box(x),) if MODELS[name].family == "SAM-like" else ()
        torch.testing.assert_close(model(border, *box)[..., : shape[0], : shape[1]], logits)


@pytest.mark.parametrize("name", SMALL)
def test_same_seed_same_network(name):
    x = images()
    with torch.no_grad():
        first, again, other = (made(name, seed=seed).eval()(x) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("name", SMALL)
def test_bf16_and_channels_last_agree_with_fp32(name):
    model, x = made(name).eval(), images()
    with torch.no_grad():
        exact = model(x)
    model = model.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        torch.testing.assert_close(model(x), exact, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            near = model(x).float()
        check_step(model, x)
    assert (near - exact).abs().mean() < 0.05 * exact.std()


@pytest.mark.parametrize("name", SMALL)
def test_learns(name):
    """Thirty steps on two phantoms bring the loss well below that of the best constant."""
    views = [view for patient in (0, 1) for view in breast.exam(patient, size=64, lesions=())[:1]]
    x = torch.from_numpy(np.stack([view.image for view in views]))[:, None]
    masks = [np.stack([view.dense_mask, view.breast_mask]) for view in views]
    target = torch.from_numpy(np.stack(masks)).float()
    share = target.mean(dim=(0, 2, 3))
    constant = -(share * share.log() + (1 - share) * (1 - share).log()).mean().item()
    model = made(name, size=tuple(x.shape[-2:])).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(x), target)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.6 * constant


def test_study_encoder_holds_over_half_of_the_weights():
    model = made("unet/mobilenetv2_050")
    inside = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert inside > 0.5 * sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["unet/test_efficientnet", "dpt/test_vit", "sam/small"])
def test_parts_follow_copies_and_exchanged_layers(name):
    model = copy.deepcopy(made(name))
    check_parts(model)
    layer = next(module for module in model.encoder.blocks.modules() if hasattr(module, "weight"))
    path = next(path for path, module in model.named_modules() if module is layer)
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, torch.nn.Sequential(layer, torch.nn.Linear(1, 1)))
    check_parts(model)


def test_colours_classes_and_one_number_for_the_size():
    model = made("unet/test_efficientnet", channels=3, classes=4).eval()
    assert model.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert model(images(1, channels=3)).shape == (1, 4, 64, 52)
    grey = made("unet/test_efficientnet")
    assert grey.mean.item() == pytest.approx((0.485 + 0.456 + 0.406) / 3)
    swin = made("upernet/swin_small", size=160)
    assert swin.only == padded((160, width_for(160)), 32) == (160, 160)


def test_normalisation_is_inside_the_model():
    model, x = made("nnunet/small").eval(), images()
    with torch.no_grad():
        padding = (0, 64 - 52, 0, 0)
        by_hand = model.net((F.pad(x, padding) - model.mean) / model.std)[..., :52]
        assert torch.equal(model(x), by_hand)
    assert {"mean", "std"} <= model.state_dict().keys()


def test_swin_says_which_size_it_was_built_for():
    with pytest.raises(ValueError, match=r"up to 64×64.*128×104.*size=\(128, 104\)"):
        made("upernet/swin_small", size=64)(images(1, (128, 104)))


def test_wrong_name_lists_the_right_ones():
    with pytest.raises(ValueError, match="unknown segmentation model 'unet'.*sam/vit_b"):
        build("unet", size=64)


def test_breast_box_is_the_box_of_the_bright_area():
    image = torch.zeros(3, 1, 60, 50)
    image[0, 0, 10:40, 0:30] = 0.8
    image[0, 0, 55, 45] = 1.0  # a dot is no breast
    image[1, 0, 5:60, 20:50] = 0.1  # dark, yet the brightest
    assert breast_box(image).tolist() == [[10, 0, 40, 30], [5, 20, 60, 50], [0, 0, 60, 50]]


def test_breast_box_of_prepared_phantoms_is_that_of_the_breast_with_its_muscle():
    for patient in range(4):
        for view in breast.exam(patient, size=128, lesions=()):
            ready = prepare(view.image, view.image.shape, laterality=view.laterality)
            rows, columns = np.nonzero(ready.foreground)
            truth = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
            found = breast_box(torch.from_numpy(ready.image)[None, None])[0].numpy()
            assert np.abs(found - truth).max() <= 5, (patient, view.laterality, view.view)


def test_prompt_changes_the_answer_of_the_sam_like_model_only_through_the_box():
    model, x = made("sam/small").eval(), images(1)
    with torch.no_grad():
        torch.testing.assert_close(model(x, breast_box(x)), model(x))
        other = torch.tensor([[0.0, 0.0, 20.0, 20.0]])
        assert not torch.allclose(model(x, other), model(x))
