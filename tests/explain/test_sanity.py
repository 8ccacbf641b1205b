"""What is scrambled and what stays, and which maps notice."""

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.metrics import structural_similarity

from mammo_utils.explain import cam, localisation, sanity
from mammo_utils.models import classification, lora

SIZE = (64, 52)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return classification.build("test_efficientnet", size=SIZE)


@pytest.fixture
def images():
    """Smooth pictures, so that maps have something to be alike in."""
    rows, columns = np.indices(SIZE) / 64
    waves = [np.sin(k * rows * 5 + 1) * np.cos(k * columns * 4) / 2 + 0.5 for k in (1, 2, 3, 4)]
    return torch.tensor(np.array(waves), dtype=torch.float32)[:, None]


def changed(model, other):
    """The parts in which two networks differ."""
    parts = dict(other.parts)
    return [
        name
        for name, part in model.parts
        if any(
            not torch.equal(a, b)
            for a, b in zip(part.state_dict().values(), parts[name].state_dict().values(), strict=True)
        )
    ]


@pytest.mark.parametrize("adapted", [False, True])
def test_layers_are_scrambled_from_the_head_on(model, adapted):
    if adapted:
        lora.add(model, rank=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = [name for name, _ in model.parts][::-1]
    cascade = list(sanity.randomised(model, order="cascading"))
    alone = list(sanity.randomised(model, order="independent"))
    assert [name for name, _ in cascade] == [name for name, _ in alone] == names
    for step, (name, copied) in enumerate(cascade):
        assert changed(model, copied) == names[: step + 1][::-1]
        assert changed(model, alone[step][1]) == [name]
    for name, value in cascade[-1][1].state_dict().items():
        own = before[name].flatten().sort().values
        assert torch.equal(value.flatten().sort().values, own)  # the same values at other places
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_unknown_order_lists_the_known_ones(model):
    with pytest.raises(ValueError, match="cascading, independent"):
        list(sanity.randomised(model, order="reverse"))


def test_similarity_by_the_libraries_own():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 20, 24))
    everywhere = np.ones(a.shape, bool)
    found = sanity.similarity(5 * a, b, everywhere)
    for k in range(3):
        one, other = cam.scaled(a[k]), cam.scaled(b[k])
        local = structural_similarity(one, other, data_range=1.0, full=True)[1]
        assert found["ssim"][k] == pytest.approx(local.mean(), abs=1e-6)
        assert found["rank"][k] == pytest.approx(localisation.likeness(a, b, everywhere)[k])
    same = sanity.similarity(a, 3 * a + 1, everywhere)  # of the scale nothing is left in either
    np.testing.assert_allclose(same, 1, atol=1e-5)


def test_the_head_matters_to_grad_cam_and_not_to_eigencam(model, images):
    """The first principal component of a layer knows nothing of what lies behind it."""
    inside = np.ones((4, *SIZE), bool)
    tables = {
        method: sanity.randomisation(model, images, inside, target=1, method=method, layer="stage2")
        for method in ("gradcam", "eigencam")
    }
    for table in tables.values():
        assert list(table["part"].unique()) == [
            "nothing", "head", "stage4", "stage3", "stage2", "stage1", "stem", "another image",
        ]  # fmt: skip
        np.testing.assert_allclose(table[table["part"] == "nothing"][["ssim", "rank"]], 1, atol=1e-6)
    mean = {method: table.groupby("part")["rank"].mean() for method, table in tables.items()}
    assert mean["eigencam"][["head", "stage4", "stage3"]].min() == pytest.approx(1)
    assert mean["eigencam"]["stage2"] < 0.99
    assert mean["gradcam"]["stage3"] < 0.9
    own = cam.explain(model, images, target=1, method="gradcam", layer="stage2", normalise=False)
    other = localisation.likeness(own, own[[3, 0, 1, 2]], inside)
    table = tables["gradcam"]
    np.testing.assert_allclose(table[table["part"] == "another image"]["rank"], other)


def test_two_networks_are_compared_image_by_image(model, images):
    torch.manual_seed(1)
    other = classification.build("test_efficientnet", size=SIZE)
    inside = np.ones((4, *SIZE), bool)
    options = {"target": 1, "method": "hirescam", "layer": "stage3"}
    found = sanity.between(model, other, images, inside, **options)
    maps = [cam.explain(net, images, **options, normalise=False) for net in (model, other)]
    np.testing.assert_allclose(found["rank"], localisation.likeness(*maps, inside))
    np.testing.assert_allclose(sanity.between(model, model, images, inside, **options), 1, atol=1e-6)


def test_summary_keeps_the_order_and_resamples_women():
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        [
            {"part": part, "image": k, "ssim": rng.random(), "rank": rng.random()}
            for part in ("nothing", "head", "stem")
            for k in range(8)
        ]
    )
    found = sanity.summary(table, list("aabbccdd"), n=100)
    assert list(found["part"]) == ["nothing", "head", "stem"]
    means = table.groupby("part", sort=False)[["ssim", "rank"]].mean()
    np.testing.assert_allclose(found[["ssim", "rank"]], means)
    assert (found["rank_low"] <= found["rank"]).all()
    assert (found["rank"] <= found["rank_high"]).all()
    one = sanity.summary(table.assign(rank=table["image"] // 2 * 1.0), list("abcdefgh"), n=100)
    two = sanity.summary(table.assign(rank=table["image"] // 2 * 1.0), list("aabbccdd"), n=100)
    assert (two["rank_high"] - two["rank_low"] > one["rank_high"] - one["rank_low"]).all()


@pytest.mark.parametrize(
    ("ranks", "failed"),
    [
        ((1.0, 0.6, 0.3, 0.1, 0.2), False),
        ((1.0, 1.0, 0.3, 0.1, 0.2), True),  # the head alone knows the classes
        ((1.0, 0.6, 0.9, 0.5, 0.2), True),  # nothing of the network is left
        ((1.0, 0.6, 0.9, 0.4, 0.9), False),  # what any two images share is another question
    ],
)
def test_a_method_fails_that_ignores_the_head_or_all_layers(ranks, failed):
    parts = ["nothing", "head", "stage1", "stem", "another image"]
    assert sanity.fails(pd.DataFrame({"part": parts, "rank": ranks})) is failed
