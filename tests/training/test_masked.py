"""Masked images: which pixels are hidden, and which of them the error is taken over."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mammo_utils.training.masked import reconstruction, squares


@settings(max_examples=60, deadline=None)
@given(high=st.integers(1, 40), wide=st.integers(1, 40), patch=st.integers(1, 9), ratio=st.floats(0.05, 0.95))
def test_whole_squares_are_hidden_and_as_many_as_asked_for(high, wide, patch, ratio):
    places = [(row, column) for row in range(0, high, patch) for column in range(0, wide, patch)]
    number = round(ratio * len(places))
    if number in (0, len(places)):
        with pytest.raises(ValueError, match="hide some, not all"):
            squares(3, (high, wide), patch=patch, ratio=ratio)
        return
    hidden = squares(3, (high, wide), patch=patch, ratio=ratio)
    assert hidden.shape == (3, 1, high, wide)
    assert hidden.dtype == torch.bool
    for image in hidden[:, 0]:
        found = [image[row : row + patch, column : column + patch] for row, column in places]
        assert all(square.all() or not square.any() for square in found)
        assert sum(bool(square.any()) for square in found) == number


@pytest.mark.parametrize(("ratio", "number"), [(0.6, 10), (0.5, 8), (0.05, 1), (0.95, 15)])
def test_the_share_is_exact_in_every_image(ratio, number):
    hidden = squares(20, (64, 64), patch=16, ratio=ratio)
    assert (hidden.sum((1, 2, 3)) == number * 256).all()


def test_every_square_is_hidden_as_often_as_any_other():
    torch.manual_seed(0)
    often = squares(4000, (12, 20), patch=4, ratio=0.4)[:, 0, ::4, ::4].flatten(1).float()
    assert (often.mean(0) - 0.4).abs().max() < 0.04  # five standard deviations
    together = torch.corrcoef(often.T)  # 6 of 15 without replacement: -1 / 14 for any two
    assert (together[~torch.eye(15, dtype=torch.bool)] + 1 / 14).abs().max() < 0.08


def test_images_have_squares_of_their_own_which_the_seed_decides():
    torch.manual_seed(4)
    first, second = (squares(8, (32, 32), patch=4, ratio=0.5) for _ in range(2))
    assert len({image.numpy().tobytes() for image in torch.cat([first, second])}) == 16
    torch.manual_seed(4)
    assert torch.equal(squares(8, (32, 32), patch=4, ratio=0.5), first)


@pytest.mark.parametrize(
    ("patch", "ratio", "reason"),
    [
        (8, 0.0, "hides 0 of 16 squares of 8 pixels"),
        (8, 1.0, "hides 16 of 16 squares"),
        (8, 1.7, "hides 27 of 16 squares"),
        (8, -0.5, "hides -8 of 16 squares"),
        (32, 0.6, "hides 1 of 1 squares of 32 pixels.* smaller patch"),
    ],
)
def test_nothing_and_everything_are_not_hidden(patch, ratio, reason):
    with pytest.raises(ValueError, match=reason):
        squares(2, (32, 32), patch=patch, ratio=ratio)


def examples(n=3, shape=(9, 7), seed=0):
    rng = np.random.default_rng(seed)
    painted, image = (torch.from_numpy(rng.random((n, 1, *shape))) for _ in range(2))
    hidden, breast = (torch.from_numpy(rng.random((n, 1, *shape)) < share) for share in (0.5, 0.7))
    return painted, image, hidden, breast


@pytest.mark.parametrize("within", [False, True])
def test_the_error_is_the_mean_over_hidden_pixels_inside_the_breast(within):
    painted, image, hidden, breast = examples()
    errors = [
        abs(painted[place].item() - image[place].item())
        for place in np.ndindex(tuple(image.shape))
        if hidden[place] and (breast[place] or not within)
    ]
    found = reconstruction(painted, image, hidden, breast=breast.float() if within else None)
    assert found.item() == pytest.approx(np.mean(errors), rel=1e-6)


def test_what_is_seen_or_outside_of_the_breast_has_no_influence():
    painted, image, hidden, breast = examples()
    painted.requires_grad_()
    (gradient,) = torch.autograd.grad(reconstruction(painted, image, hidden, breast=breast), painted)
    counted = hidden & breast
    assert (gradient[~counted] == 0).all()
    assert (gradient[counted].abs() - 1 / counted.sum()).abs().max() < 1e-8
    assert (gradient.sign() == (painted - image).sign() * counted).all()
    other = torch.where(counted, painted, torch.rand(image.shape, dtype=image.dtype))
    assert reconstruction(other, image, hidden, breast=breast) == reconstruction(
        painted, image, hidden, breast=breast
    )
    assert torch.autograd.gradcheck(
        lambda x: reconstruction(x, image, hidden, breast=breast.double()), painted
    )


def test_images_without_breast_teach_nothing_and_break_nothing():
    painted, image, hidden, breast = examples()
    breast[0] = False
    wanted = reconstruction(painted[1:], image[1:], hidden[1:], breast=breast[1:])
    torch.testing.assert_close(reconstruction(painted, image, hidden, breast=breast), wanted)
    painted.requires_grad_()
    loss = reconstruction(painted, image, hidden, breast=torch.zeros_like(image))
    loss.backward()
    assert loss.item() == 0
    assert (painted.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_neither_overflows_nor_loses_the_count(dtype):
    image = torch.zeros(1, 1, 512, 512)
    painted, hidden = torch.full_like(image, 0.75).to(dtype), torch.ones_like(image, dtype=torch.bool)
    with torch.autocast("cpu", dtype=dtype):
        found = reconstruction(painted, image, hidden)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(0.75, rel=1e-6)


@pytest.mark.parametrize("wrong", ["painted", "hidden", "breast"])
def test_shapes_that_would_broadcast_are_refused(wrong):
    named = dict(zip(("painted", "image", "hidden", "breast"), examples(), strict=True))
    named[wrong] = named[wrong][:, 0] if wrong == "hidden" else named[wrong][:1]
    breast = named.pop("breast")
    with pytest.raises(ValueError, match=r"of one shape, not \[\(.*\(3, 1, 9, 7\)"):
        reconstruction(**named, breast=breast)
