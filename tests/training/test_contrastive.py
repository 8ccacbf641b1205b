"""Contrastive objectives against loops written from the papers, and in two processes against one."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mammo_utils.training.contrastive import barlow_twins, gather, multi_view, nt_xent
from mammo_utils.training.devices import launch


def embeddings(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def slow_nt_xent(za, zb, temperature):
    """Equation 1 of 2002.05709: the other version of an image against all 2N - 1 other rows."""
    rows, n = [*za.tolist(), *zb.tolist()], len(za)
    total = 0
    for i in range(2 * n):
        terms = {j: math.exp(cosine(rows[i], rows[j]) / temperature) for j in range(2 * n) if j != i}
        total -= math.log(terms[(i + n) % (2 * n)] / sum(terms.values()))
    return total / (2 * n)


def slow_multi_view(z, patient, temperature, positive=None):
    rows, of_image = z.tolist(), []
    for i, anchor in enumerate(rows):
        terms = [math.exp(cosine(anchor, row) / temperature) for row in rows]
        negatives = sum(term for term, woman in zip(terms, patient, strict=True) if woman != patient[i])
        partners = [
            j
            for j in range(len(rows))
            if j != i and patient[j] == patient[i] and (positive is None or positive[j] == positive[i])
        ]
        if partners:
            of_image.append(
                -sum(math.log(terms[j] / (terms[j] + negatives)) for j in partners) / len(partners)
            )
    return sum(of_image) / len(of_image)


def slow_barlow_twins(za, zb, off_diagonal):
    """Equations 1 and 2 of 2103.03230, one pair of dimensions at a time."""
    total = 0
    for i, a in enumerate(za.numpy().T):
        for j, b in enumerate(zb.numpy().T):
            correlation = np.corrcoef(a, b)[0, 1]
            total += (1 - correlation) ** 2 if i == j else off_diagonal * correlation**2
    return total


# Women with 4, 3, 2 and 1 views; of the breasts of the first woman one has a single view.
PATIENT = [7, 0, 7, 3, 3, 7, 0, 0, 7, 5]
BREAST = [0, 0, 0, 1, 1, 0, 0, 1, 1, 0]


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_nt_xent_is_the_formula(temperature):
    za, zb = embeddings(5, 4), embeddings(5, 4, seed=1)
    expected = slow_nt_xent(za, zb, temperature)
    assert nt_xent(za, zb, temperature=temperature).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("positive", [None, BREAST])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_multi_view_is_the_formula(temperature, positive):
    z = embeddings(10, 4)
    expected = slow_multi_view(z, PATIENT, temperature, positive)
    options = {"temperature": temperature, "positive": positive and torch.tensor(positive)}
    assert multi_view(z, torch.tensor(PATIENT), **options).item() == pytest.approx(expected, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=3, max_size=12), st.integers(0, 10**6)
)
def test_multi_view_is_the_formula_for_any_women(views, seed):
    patient, positive = map(list, zip(*views, strict=True))
    z = embeddings(len(views), 3, seed=seed)
    if len(set(patient)) == 1 or len(set(views)) == len(views):
        with pytest.raises(ValueError, match="no two women or no two views"):
            multi_view(z, torch.tensor(patient), positive=torch.tensor(positive))
        return
    found = multi_view(z, torch.tensor(patient), positive=torch.tensor(positive)).item()
    assert found == pytest.approx(slow_multi_view(z, patient, 0.1, positive), rel=1e-9)


@pytest.mark.parametrize("off_diagonal", [0.0051, 1.0])
def test_barlow_twins_is_the_formula(off_diagonal):
    za = 100 * embeddings(9, 4) + 30  # so large that what guards against dividing by 0 is nothing
    zb = za + 100 * embeddings(9, 4, seed=1)
    expected = slow_barlow_twins(za, zb, off_diagonal)
    assert barlow_twins(za, zb, off_diagonal=off_diagonal).item() == pytest.approx(expected, rel=1e-7)


def test_worked_by_hand():
    same = torch.ones(3, 2)
    assert nt_xent(same, same).item() == pytest.approx(math.log(5))  # one of five rows that look alike
    a, b, c = torch.eye(3)
    # each sees its partner at 1 and two negatives at 0
    two = multi_view(torch.stack([a, b, a, b]), torch.tensor([4, 9, 4, 9]), temperature=1)
    assert two.item() == pytest.approx(math.log((math.e + 2) / math.e))
    # the first two views see a partner at 0 and a negative at 0, the third is nobody's partner
    one = multi_view(torch.stack([a, b, c]), torch.tensor([1, 1, 2]), temperature=0.3)
    assert one.item() == pytest.approx(math.log(2))
    # partners at 1 and at -1, whose cross-entropies are apart; two negatives at 0
    three = multi_view(torch.stack([a, a, -a, b, c]), torch.tensor([1, 1, 1, 2, 3]), temperature=1)
    near, far = math.log(1 + 2 / math.e), math.log(1 + 2 * math.e)
    assert three.item() == pytest.approx((2 * (near + far) / 2 + far) / 3)
    # two dimensions that changed places
    za = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert barlow_twins(za, za.flip(1), off_diagonal=0.25).item() == pytest.approx(2 + 2 * 0.25, rel=1e-4)


def test_barlow_twins_is_least_where_the_correlation_is_the_identity():
    za = 10 * torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    za.requires_grad_()
    least = barlow_twins(za, za, off_diagonal=0.5)
    (gradient,) = torch.autograd.grad(least, za)
    assert least.item() < 1e-12
    assert gradient.abs().max() < 1e-7
    for seed in range(5):
        other = za + embeddings(4, 3, seed=seed)
        assert barlow_twins(za, other, off_diagonal=0.5) > 1e-3
        assert barlow_twins(other, other, off_diagonal=0.5) > 1e-3  # they agree, and repeat each other


def test_barlow_twins_of_collapsed_embeddings_is_finite():
    z = torch.ones(4, 3, requires_grad=True)
    loss = barlow_twins(z, z)
    loss.backward()
    assert loss.item() == pytest.approx(3)
    assert z.grad.isfinite().all()


def objectives():
    patient, breast = torch.tensor(PATIENT), torch.tensor(BREAST)
    return {
        "nt_xent": lambda z: nt_xent(*z.chunk(2), temperature=0.4),
        "multi_view": lambda z: multi_view(z, patient, temperature=0.4),
        "positive": lambda z: multi_view(z, patient, temperature=0.4, positive=breast),
        "barlow_twins": lambda z: barlow_twins(*z.chunk(2), off_diagonal=0.3),
    }


@pytest.mark.parametrize("name", objectives())
def test_gradients_are_those_of_finite_differences(name):
    assert torch.autograd.gradcheck(objectives()[name], embeddings(10, 3).requires_grad_())


def test_the_order_of_the_rows_plays_no_part():
    za, zb, order = embeddings(10, 4), embeddings(10, 4, seed=1), torch.randperm(10)
    for objective in (nt_xent, barlow_twins):
        torch.testing.assert_close(objective(za[order], zb[order]), objective(za, zb))
        torch.testing.assert_close(objective(zb, za), objective(za, zb))
        assert abs(objective(za[order], zb) - objective(za, zb)) > 0.01  # pairs do
    patient, breast = torch.tensor(PATIENT), torch.tensor(BREAST)
    for positive in (None, breast):
        found = multi_view(za[order], patient[order], positive=None if positive is None else positive[order])
        torch.testing.assert_close(found, multi_view(za, patient, positive=positive))
    renamed = multi_view(za, 100 - patient, positive=1 - breast)
    torch.testing.assert_close(renamed, multi_view(za, patient, positive=breast))


def test_the_length_of_an_embedding_plays_no_part():
    z, length = embeddings(10, 4), torch.rand(10, 1, dtype=torch.float64) + 0.1
    for name in ("nt_xent", "multi_view", "positive"):
        torch.testing.assert_close(objectives()[name](z * length), objectives()[name](z))
    # of Barlow Twins it is the unit and the zero of each dimension
    found = objectives()["barlow_twins"](100 * z * (torch.rand(4) + 1) + torch.rand(4))
    torch.testing.assert_close(found, objectives()["barlow_twins"](100 * z), rtol=1e-6, atol=0)


def test_two_versions_of_an_image_are_two_views_of_a_woman():
    za, zb = embeddings(6, 4), embeddings(6, 4, seed=1)
    order, image = torch.randperm(12), torch.arange(6).repeat(2)
    found = multi_view(torch.cat([za, zb])[order], image[order], temperature=0.2)
    torch.testing.assert_close(found, nt_xent(za, zb, temperature=0.2))


def test_other_views_of_a_woman_neither_attract_nor_repel():
    """Two views of one breast, one of the other breast, and other women without partners."""
    z, breast = embeddings(5, 4).requires_grad_(), torch.tensor([0, 0, 1, 0, 0])
    patient = torch.tensor([1, 1, 1, 2, 3])
    loss = multi_view(z, patient, positive=breast)
    (gradient,) = torch.autograd.grad(loss, z)
    assert (gradient[2] == 0).all()
    assert (gradient[[0, 1, 3, 4]] != 0).any(1).all()  # the women without partner repel
    moved = z.detach().clone()
    moved[2] = moved[0]  # the worst that a negative could do
    assert multi_view(moved, patient, positive=breast) == loss
    assert multi_view(moved, torch.tensor([1, 1, 4, 2, 3]), positive=breast) > loss + 0.1
    assert multi_view(moved, patient) != loss


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", objectives())
def test_half_precision_is_computed_in_float32(name, dtype):
    z = embeddings(10, 64, dtype=torch.float32).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        found = objectives()[name](z)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, objectives()[name](z.float()), rtol=0, atol=0)


def test_large_and_similar_embeddings_stay_finite():
    z = (1000 + torch.randn(8, 4)).requires_grad_()
    loss = nt_xent(*z.chunk(2), temperature=0.001)
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: nt_xent(embeddings(4, 3), embeddings(5, 3)), r"not \(4, 3\) and \(5, 3\)"),
        (lambda: nt_xent(embeddings(1, 3), embeddings(1, 3)), "at least two images"),
        (lambda: barlow_twins(embeddings(4, 3), embeddings(4, 2)), r"not \(4, 3\) and \(4, 2\)"),
        (lambda: barlow_twins(embeddings(4), embeddings(4)), r"\(N, D\) each, not \(4,\)"),
        (lambda: multi_view(embeddings(4, 3), torch.zeros(4)), "no two women or no two views of one"),
        (lambda: multi_view(embeddings(4, 3), torch.arange(4)), "no two women or no two views of one"),
        (
            lambda: multi_view(embeddings(4, 3), torch.arange(3)),
            r"one patient and one positive each, not \(3,\)",
        ),
        (
            lambda: multi_view(embeddings(4, 3), torch.arange(4) // 2, positive=torch.zeros(4, 1)),
            r"not \(4,\) and \(4, 1\)",
        ),
        (
            lambda: nt_xent(embeddings(4, 3), embeddings(4, 3), temperature=0.0),
            "temperature=0.0 must be above 0",
        ),
    ],
)
def test_what_cannot_be_compared(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()


def test_in_one_process_nothing_is_gathered():
    z, patient = embeddings(3, 2), torch.arange(3)
    found = gather(z, patient)
    assert found[0] is z
    assert found[1] is patient


def shares(rank, world):
    """Losses and gradients of one linear layer, from the rows rank, rank + world, … of two versions."""
    fabric = launch("32-true")
    mine, number = slice(rank, None, world), torch.arange(12)
    rows = embeddings(2, 12, 6, dtype=torch.float32)[:, mine].flatten(0, 1)
    woman, breast = (number // 4)[mine], (number // 2)[mine]

    def by_breast(z, woman, breast):
        return multi_view(z, woman, positive=breast)

    losses = {
        "nt_xent": lambda z: nt_xent(*gather(*z.chunk(2))),
        "barlow_twins": lambda z: barlow_twins(*gather(*z.chunk(2))),
        "multi_view": lambda z: multi_view(*gather(z.chunk(2)[0], woman)),
        "positive": lambda z: by_breast(*gather(z.chunk(2)[0], woman, breast)),
    }
    found = {"numbers": gather(torch.arange(3) + 10 * rank)[0]}
    for name, loss in losses.items():
        torch.manual_seed(2)
        net = fabric.setup_module(torch.nn.Linear(6, 4))
        value = loss(net(rows))
        fabric.backward(value)
        found[name] = [value.detach(), *(p.grad for p in net.parameters())]
    return found


TWO = """
import os, sys
sys.path.insert(0, {folder!r})
from test_contrastive import shares
import torch

rank = os.environ["RANK"]
torch.save(shares(int(rank), 2), {path!r} + rank)
"""


def test_two_processes_have_the_loss_and_the_gradients_of_one(tmp_path):
    script, path = tmp_path / "two.py", tmp_path / "found"
    script.write_text(TWO.format(folder=os.path.dirname(__file__), path=str(path)))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MAMMO_DEVICE": "cpu"}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    one = shares(0, 1)
    for rank in (0, 1):
        found = torch.load(f"{path}{rank}", weights_only=True)
        assert found.pop("numbers").tolist() == [0, 1, 2, 10, 11, 12]
        assert set(found) == set(one) - {"numbers"}
        for name, tensors in found.items():
            for tensor, expected in zip(tensors, one[name], strict=True):
                torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-6)
