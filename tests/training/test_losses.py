import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mammo_utils.training import losses
from mammo_utils.training.losses import LOSSES

# Every loss, options included, as the tests below call it.
CASES = {
    "bce": {},
    "weighted_bce": {"pos_weight": 3.5},
    "focal": {"gamma": 2.0, "alpha": 0.25},
    "dice": {"smooth": 2.0},
    "tversky": {"alpha": 0.2, "beta": 0.9, "smooth": 0.5},
    "bce_dice": {},
    "hybrid_density": {"lam": 2.5},
}
EVERY = pytest.mark.parametrize("name", LOSSES)


def sigmoid(z):
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def pixels(*arrays):
    """(image, values of one pixel) over stacks (N, 1, H, W)."""
    for index in np.ndindex(arrays[0].shape):
        yield index[0], [float(array[index]) for array in arrays]


def slow_bce(z, t, pos_weight=1.0):
    values = [
        -pos_weight * y * math.log(sigmoid(x)) - (1 - y) * math.log(sigmoid(-x)) for _, (x, y) in pixels(z, t)
    ]
    return sum(values) / len(values)


def slow_focal(z, t, gamma, alpha):
    values = []
    for _, (x, y) in pixels(z, t):
        true_class = sigmoid(x) if y == 1 else 1 - sigmoid(x)
        weight = 1 if alpha is None else alpha if y == 1 else 1 - alpha
        values.append(-weight * (1 - true_class) ** gamma * math.log(true_class))
    return sum(values) / len(values)


def slow_overlap(z, t, false_positive, false_negative, smooth):
    """Mean over images of 1 - (TP + s) / (TP + a FP + b FN + s)."""
    counts = np.zeros((len(z), 3))
    for image, (x, y) in pixels(z, t):
        p = sigmoid(x)
        counts[image] += [p * y, p * (1 - y), (1 - p) * y]
    values = [
        1 - (tp + smooth) / (tp + false_positive * fp + false_negative * fn + smooth) for tp, fp, fn in counts
    ]
    return sum(values) / len(values)


def slow_density_error(z, t, b, within):
    predicted, true, area = np.zeros((3, len(z)))
    for image, (x, y, inside) in pixels(z, t, b):
        if inside or not within:
            predicted[image] += sigmoid(x)
            true[image] += y
        area[image] += inside
    errors = [abs(p - y) / a if a else 0 for p, y, a in zip(predicted, true, area, strict=True)]
    return sum(errors) / len(errors)


SLOW = {
    "bce": lambda z, t, b: slow_bce(z, t),
    "weighted_bce": lambda z, t, b: slow_bce(z, t, 3.5),
    "focal": lambda z, t, b: slow_focal(z, t, 2.0, 0.25),
    "dice": lambda z, t, b: slow_overlap(z, t, 0.5, 0.5, 1.0),  # 2TP + FP + FN + 2 halved
    "tversky": lambda z, t, b: slow_overlap(z, t, 0.2, 0.9, 0.5),
    "bce_dice": lambda z, t, b: slow_bce(z, t) + slow_overlap(z, t, 0.5, 0.5, 0.5),
    "hybrid_density": lambda z, t, b: (
        slow_bce(z, t) + slow_overlap(z, t, 0.5, 0.5, 0.5) + 2.5 * slow_density_error(z, t, b, True)
    ),
}


def random_case(seed, shape=(3, 1, 4, 5)):
    """Logits in float64, labels, breasts; the second image has no dense tissue, the third no breast."""
    rng = np.random.default_rng(seed)
    logits, target, breast = rng.normal(0, 3, shape), rng.random(shape) < 0.4, rng.random(shape) < 0.7
    target[1], breast[2] = 0, 0
    return [torch.from_numpy(x.astype(float)) for x in (logits, target, breast)]


def loss(name, logits, target, breast):
    return LOSSES[name](logits, target, breast=breast, **CASES[name])


@EVERY
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_equals_plain_loops_in_float64(name, seed):
    logits, target, breast = random_case(seed)
    expected = SLOW[name](logits.numpy(), target.numpy(), breast.numpy())
    value = loss(name, logits, target, breast)
    assert value.shape == ()
    assert value.item() == pytest.approx(expected, rel=1e-10)


@EVERY
def test_gradient_is_that_of_finite_differences(name):
    logits, target, breast = random_case(1, (3, 1, 2, 3))
    assert torch.autograd.gradcheck(lambda z: loss(name, z, target, breast), logits.requires_grad_())


def test_hand_worked():
    """Probabilities 1/2, 3/4, 1/4, 1/2; the second and fourth pixel are dense, the first three breast."""
    logits = torch.tensor([0, math.log(3), -math.log(3), 0]).reshape(1, 1, 2, 2)
    target = torch.tensor([0, 1, 0, 1]).reshape(1, 1, 2, 2)
    breast = torch.tensor([1, 1, 1, 0]).reshape(1, 1, 2, 2)
    cross_entropy = (2 * math.log(2) + 2 * math.log(4 / 3)) / 4
    # Overlap 3/4 + 1/2 = 5/4, sums 2 and 2: (5/2 + 1) / (4 + 1) = 7/10.
    assert losses.dice(logits, target).item() == pytest.approx(0.3)
    assert losses.bce(logits, target).item() == pytest.approx(cross_entropy)
    # TP 5/4, FP 3/4, FN 3/4: 9/4 / (5/4 + 3/4 · 0.3 + 3/4 · 0.7 + 1) = 3/4.
    assert losses.tversky(logits, target).item() == pytest.approx(0.25)
    # Density 3/2 of 3 pixels against 1 of 3; over the whole picture 2 against 2.
    for within, error in ((True, 1 / 6), (False, 0.0)):
        value = losses.hybrid_density(logits, target, breast=breast, lam=6, within=within)
        assert value.item() == pytest.approx(cross_entropy + 0.3 + 6 * error)
    assert losses.density(logits.sigmoid(), breast).item() == pytest.approx(0.5)
    assert losses.density(target, breast).item() == pytest.approx(1 / 3)
    assert losses.density(target, breast, within=False).item() == pytest.approx(2 / 3)


def test_options_reduce_to_each_other():
    logits, target, breast = random_case(3)
    plain = losses.bce(logits, target)
    torch.testing.assert_close(losses.weighted_bce(logits, target), plain)
    torch.testing.assert_close(losses.focal(logits, target, gamma=0), plain)
    torch.testing.assert_close(losses.focal(logits, target, gamma=0, alpha=0.5), plain / 2)
    torch.testing.assert_close(
        losses.tversky(logits, target, alpha=0.5, beta=0.5, smooth=0.5), losses.dice(logits, target)
    )
    torch.testing.assert_close(
        losses.hybrid_density(logits, target, breast=breast, lam=0), losses.bce_dice(logits, target)
    )


def test_beta_weighs_what_is_missed_and_alpha_what_is_too_much():
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2] = 1
    small, large = (torch.full((1, 1, 4, 4), -9.0) for _ in range(2))
    small[..., :1] = 9
    large[..., :3] = 9
    sure_of_less = {"alpha": 0.9, "beta": 0.1}
    assert losses.tversky(small, target) > losses.tversky(large, target)
    assert losses.tversky(small, target, **sure_of_less) < losses.tversky(large, target, **sure_of_less)


@EVERY
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_better_prediction_costs_less(name, seed):
    rng = np.random.default_rng(seed)
    target = torch.from_numpy((rng.random((2, 1, 6, 5)) < 0.4).astype(float))
    breast, right = torch.ones_like(target), 2 * target - 1
    ladder = [loss(name, k * right, target, breast).item() for k in (-9, -2, -0.5, 0, 0.5, 2, 9)]
    assert ladder == sorted(ladder, reverse=True)
    assert ladder[-1] < 0.01 < ladder[0]


@EVERY
def test_images_taken_one_by_one_average_to_the_batch(name):
    logits, target, breast = random_case(5)
    single = [loss(name, *(x[i : i + 1] for x in (logits, target, breast))) for i in range(3)]
    torch.testing.assert_close(loss(name, logits, target, breast), torch.stack(single).mean())


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_the_float32_value_at_512(name, dtype):
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(1, 1, 512, 512, generator=generator) + 1).to(dtype)
    target = (torch.rand(1, 1, 512, 512, generator=generator) < 0.5).float()
    expected = loss(name, logits.float(), target, torch.ones_like(target))
    value = loss(name, logits, target, torch.ones_like(target))
    assert value.dtype == torch.float32
    assert value.item() == expected.item()
    # The task is not empty: this sum, in the dtype of the logits, is beyond what float16 holds.
    if dtype == torch.float16:
        assert logits.sigmoid().sum().isinf()


@EVERY
def test_float32_and_a_gradient_under_autocast(name):
    logits, target, breast = (x.float() for x in random_case(2, (3, 1, 16, 16)))
    expected = loss(name, logits, target, breast)
    rounded = logits.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(name, logits, target, breast).item() == expected.item()
        loss(name, rounded, target, breast).backward()
    assert rounded.grad.isfinite().all()
    assert rounded.grad.abs().sum() > 0


@EVERY
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_extreme_logits_stay_finite(name, scale):
    _, target, breast = random_case(4)
    logits = (scale * (2 * target - 1)).float().requires_grad_()
    value = loss(name, logits, target, breast)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()
    if scale > 0:
        assert value.item() == pytest.approx(0, abs=1e-6)


def test_focal_has_a_slope_at_saturated_logits_for_small_gamma():
    logits = torch.tensor([200.0, -200.0, 200.0], requires_grad=True)
    losses.focal(logits, torch.tensor([1.0, 0.0, 0.0]), gamma=0.5).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("smooth", [0.1, 1.0, 10.0])
def test_empty_target_costs_by_the_pixels_wrongly_called_dense(smooth):
    target = torch.zeros(1, 1, 5, 6, dtype=torch.float64)
    for wrong in (0, 1, 7, 30):
        logits = torch.full((1, 1, 30), -60.0, dtype=torch.float64)
        logits[..., :wrong] = 60
        value = losses.dice(logits.reshape(1, 1, 5, 6), target, smooth=smooth)
        assert value.item() == pytest.approx(1 - smooth / (wrong + smooth), abs=1e-12)
    logits = torch.zeros(1, 1, 5, 6, requires_grad=True)
    losses.dice(logits, target.float(), smooth=smooth).backward()
    assert (logits.grad > 0).all()


def test_empty_breast_adds_no_density_term_and_no_gradient():
    logits, target, breast = random_case(6)
    assert not breast[2].any()
    logits.requires_grad_()
    extra = losses.hybrid_density(logits, target, breast=breast) - losses.bce_dice(logits, target)
    extra.backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[2].abs().max() < 1e-15
    assert (logits.grad[:2].abs().amax((1, 2, 3)) > 1e-6).all()
    assert losses.density(target, breast)[2] == 0


def test_density_term_knows_the_amount_and_not_the_place():
    target = torch.zeros(1, 1, 4, 4)
    target[..., 0] = 1
    breast = torch.ones_like(target)

    def term(logits):
        return losses.hybrid_density(logits, target, breast=breast) - losses.bce_dice(logits, target)

    elsewhere, twice = 60 * (2 * target.flip(3) - 1), torch.full_like(target, -60.0)
    twice[..., :2] = 60
    assert term(elsewhere).item() == pytest.approx(0, abs=1e-5)
    assert term(twice).item() == pytest.approx(0.25, abs=1e-5)


def test_density_of_half_precision_is_summed_in_float32():
    dense = torch.full((2, 1, 512, 512), 0.75, dtype=torch.float16)
    value = losses.density(dense, torch.ones(2, 1, 512, 512, dtype=torch.bool))
    assert value.tolist() == [0.75, 0.75]
    assert value.dtype == torch.float32


@pytest.mark.parametrize("name", ["bce", "weighted_bce"])
@given(share=st.floats(0.05, 0.95))
def test_soft_labels_are_met_by_the_same_probability(name, share):
    logits = torch.tensor([[math.log(share / (1 - share))]], dtype=torch.float64, requires_grad=True)
    value = LOSSES[name](logits, torch.full_like(logits, share))
    value.backward()
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert value.item() == pytest.approx(entropy)
    assert logits.grad.item() == pytest.approx(0, abs=1e-9)


def test_pos_weight_moves_the_best_logit_by_its_logarithm():
    share, weight = 0.02, 46.2
    logits = torch.tensor([math.log(share / (1 - share) * weight)], dtype=torch.float64, requires_grad=True)
    losses.weighted_bce(logits, torch.full_like(logits, share), pos_weight=weight).backward()
    assert logits.grad.item() == pytest.approx(0, abs=1e-12)


@EVERY
@pytest.mark.parametrize(
    ("logits", "target"), [((4, 1, 8, 8), (4, 8, 8)), ((4, 2, 8, 8), (4, 1, 8, 8)), ((4, 1), (4,))]
)
def test_unequal_shapes_are_refused(name, logits, target):
    with pytest.raises(ValueError, match=r"must be of one shape.*logits\[:, 0\]"):
        loss(name, torch.zeros(logits), torch.zeros(target), torch.ones(target))


@EVERY
@pytest.mark.parametrize("wrong", [255.0, -1.0, math.nan])
def test_targets_outside_0_to_1_are_refused(name, wrong):
    target = torch.zeros(2, 1, 4, 4)
    target[1, 0, 2, 2] = wrong
    with pytest.raises(ValueError, match="target must lie in 0-1"):
        loss(name, torch.zeros_like(target), target, torch.ones_like(target))


@pytest.mark.parametrize("name", ["dice", "tversky", "bce_dice", "hybrid_density"])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 8, 8), (4, 2, 8, 8)])
def test_overlap_needs_masks_of_one_channel(name, shape):
    with pytest.raises(ValueError, match=r"needs logits \(N, 1, H, W\)"):
        loss(name, torch.zeros(shape), torch.zeros(shape), torch.ones(shape))


def test_hybrid_density_needs_a_fitting_breast():
    zeros = torch.zeros(2, 1, 4, 4)
    with pytest.raises(ValueError, match="needs breast="):
        losses.hybrid_density(zeros, zeros)
    with pytest.raises(ValueError, match=r"breast \(2, 4, 4\) must be of one shape"):
        losses.hybrid_density(zeros, zeros, breast=zeros[:, 0])


def test_integer_and_bool_masks_are_taken():
    logits, target, breast = random_case(8)
    expected = losses.hybrid_density(logits, target, breast=breast)
    value = losses.hybrid_density(logits, target.bool(), breast=breast.to(torch.uint8))
    torch.testing.assert_close(value, expected)
