"""Versions, pushes, correlations and paintings of notebook 04, and the figures drawn of them."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from mammo_utils.data.batches import Arrays, Batch, Batches
from mammo_utils.data.strengths import STRENGTHS
from mammo_utils.models import pretext
from mammo_utils.models.segmentation import build
from mammo_utils.show.figures import ORANGE, RED
from mammo_utils.show.figures import self_supervision as figures
from mammo_utils.show.figures import self_supervision_cases as cases
from mammo_utils.synth import fractals
from mammo_utils.synth.breast import exam
from mammo_utils.training import contrastive


def titles(figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


@pytest.fixture(scope="module")
def views():
    return exam(1022, size=64, lesions=())


def test_strengths_multiply_the_distance_from_no_change():
    twice = cases.ranges(geometry=2)
    assert (twice.rotation, twice.shift_rows) == ((-20, 20), (-0.12, 0.12))
    assert twice.scale == pytest.approx((0.85**2, 1.2**2))
    assert twice.gain == STRENGTHS["none"].gain
    half = cases.ranges(intensity=0.5)
    assert half.gain == pytest.approx((0.925, 1.075))
    assert half.gamma == pytest.approx((0.75**0.5, 1.33**0.5))
    assert half.rotation == (0, 0)
    assert half.vertical_flip == 0
    assert cases.ranges(geometry=5).elastic == (0, 0.05)  # more would fold the image


def test_a_crop_shows_at_least_the_share_that_was_asked_for():
    ranges = cases.ranges(smallest=0.25, intensity=1)
    assert (ranges.scale, ranges.centre_rows, ranges.gamma) == ((1, 2), (0, 1), STRENGTHS["standard"].gamma)
    for share in (0, 1.5):
        with pytest.raises(ValueError, match="share"):
            cases.ranges(smallest=share)


def test_networks_get_both_breasts_with_the_chest_wall_left_and_their_density(views):
    for view in views:
        made = cases.prepared(view)
        assert made.image.shape == (1, *view.image.shape)
        assert made.breast[0, :, 0].any()
        assert made.density[0] == pytest.approx(view.percent_density, abs=2)


def test_intensity_keeps_the_density_and_crops_do_not(views):
    own = cases.prepared(views[0])
    same, grey, cropped = (
        cases.versions(views[0], ranges, 20)
        for ranges in (cases.ranges(), cases.ranges(intensity=1), cases.ranges(smallest=1 / 16))
    )
    np.testing.assert_array_equal(same.image, np.repeat(own.image, 20, 0))
    np.testing.assert_array_equal(grey.dense, np.repeat(own.dense, 20, 0))
    assert np.abs(grey.image - own.image).max() > 0.05
    assert set(grey.density) == set(own.density)
    assert np.nanstd(cropped.density) > 3
    other = cases.versions(views[0], cases.ranges(smallest=1 / 16), 20, seed=1)
    assert not np.array_equal(cropped.image, other.image)


def test_brighter_counts_pixels_of_the_breast_alone():
    image, breast = np.array([[[0.2, 0.6, 0.9, 0.9]]]), np.array([[[True, True, True, False]]])
    assert cases.Versions(image, breast, breast).brighter(0.5) == pytest.approx(200 / 3)


def test_spread_has_a_row_for_each_version_that_shows_breast(views):
    kinds = {"as it is": cases.ranges(), "tiny": cases.ranges(smallest=0.01)}
    table = cases.spread({"one": views[0], "other": views[2]}, kinds, 30, level=0.5)
    assert len(table[table["kind"] == "as it is"]) == 60
    assert 0 < len(table[table["kind"] == "tiny"]) < 60  # some of the tiny ones are all air
    first = table[(table["woman"] == "one") & (table["kind"] == "as it is")]
    assert first["density"].to_numpy() == pytest.approx(cases.prepared(views[0]).density[0])


def test_pushes_are_the_slopes_of_the_loss_by_the_negatives():
    similarity = torch.tensor([0.9, 0.2, 0.5, -0.4], dtype=torch.float64, requires_grad=True)
    (torch.logsumexp(similarity / 0.2, 0) - similarity[0] / 0.2).backward()
    slopes = similarity.grad[1:].numpy()
    found = cases.pushes(similarity[1:].detach(), 0.2)
    np.testing.assert_allclose(found, slopes / slopes.sum())
    assert cases.pushes([0.9, 0.1], 0.01)[0] == pytest.approx(1)
    with pytest.raises(ValueError, match="above 0"):
        cases.pushes([0.9], 0)


def test_cosines_and_correlations_are_those_of_numpy():
    rng = np.random.default_rng(0)
    za, zb = rng.normal(size=(2, 50, 3))
    zb[:, 1] += za[:, 0]
    np.testing.assert_allclose(cases.correlations(za, zb), np.corrcoef(za.T, zb.T)[:3, 3:])
    by_hand = [[a @ b / np.sqrt(a @ a * (b @ b)) for b in za] for a in za]
    np.testing.assert_allclose(cases.cosines(za), by_hand)


def test_relations_are_the_directions_in_which_the_losses_pull():
    # Embeddings along the axes: the slope by entry (i, j) is the slope by the cosine of images i and j.
    woman, side = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 0, 1, 0, 0])
    for scheme, positive in (("woman", None), ("breast", torch.tensor(side))):
        z = torch.eye(6, requires_grad=True)
        contrastive.multi_view(z, torch.tensor(woman), positive=positive).backward()
        pull = -np.sign(np.where(np.eye(6), 0, z.grad.numpy().round(9)))
        np.testing.assert_array_equal(cases.relations(woman, side, scheme), pull)
    z = torch.eye(12, requires_grad=True)
    contrastive.nt_xent(z[:6], z[6:]).backward()
    across = -np.sign(z.grad.numpy()[:6, 6:])
    np.testing.assert_array_equal(cases.relations(woman, side, "each image for itself"), across)
    with pytest.raises(ValueError, match="each image for itself, breast, woman"):
        cases.relations(woman, side, "exam")


class Grey(torch.nn.Module):
    """Paints one grey everywhere."""

    def forward(self, image, hidden):
        return torch.full_like(image, 0.5)


def test_paintings_are_judged_on_hidden_pixels_of_the_breast():
    image = torch.linspace(0, 1, 64).view(1, 1, 8, 8).repeat(2, 1, 1, 1)
    breast = torch.ones_like(image)
    breast[..., 6:] = 0
    batch = Batch(image, breast, breast, torch.arange(2), torch.arange(2))
    state = torch.random.get_rng_state()
    found = cases.paint(Grey(), batch, patch=2, ratio=0.5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert found.hidden.sum((1, 2)).tolist() == [32, 32]
    pixels, inside = image[:, 0].numpy(), breast[:, 0].numpy().astype(bool)
    asked = found.hidden & inside
    assert found.error == pytest.approx(np.abs(0.5 - pixels[asked]).mean(), rel=1e-5)
    errors = []
    for own, hidden, part in zip(pixels, found.hidden, inside, strict=True):
        errors += list(np.abs(own[~hidden & part].mean() - own[hidden & part]))
    assert found.plain == pytest.approx(np.mean(errors), rel=1e-5)
    again = cases.paint(Grey(), batch, patch=2, ratio=0.5, seed=1)
    assert not np.array_equal(again.hidden, found.hidden)
    figure = figures.painted(found, [0, 1])
    drawn = figure.axes[4].images[0].get_array()
    np.testing.assert_allclose(drawn[asked[0]], 0.5)
    np.testing.assert_allclose(drawn[~found.hidden[0]].T, [pixels[0][~found.hidden[0]]] * 3)
    seen = figure.axes[2].images[0].get_array()
    assert len(np.unique(seen[found.hidden[0]], axis=0)) == 1


def test_features_are_those_in_front_of_the_projector_and_modes_stay():
    images = (np.random.default_rng(0).random((3, 64, 52)) * 65535).astype(np.uint16)
    cache = Arrays(images, {"breast": np.ones(images.shape, bool)}, pd.DataFrame({"group": list("aab")}))
    torch.manual_seed(0)
    segmenter = build("unet/test_efficientnet", size=64)
    head = pretext.Projected(segmenter, hidden=8, out=4).train()
    pixels = torch.from_numpy(images / np.float32(65535))[:, None]
    features = pretext.embed(head, Batches(cache, target="breast"))
    assert head.training
    with torch.no_grad():
        wanted = pretext.Features(segmenter.eval()).pooled(pixels)
    torch.testing.assert_close(features, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pretext.embed(segmenter, Batches(cache, target="breast")), features)
    assert cases.embeddings(head, pixels).shape == (3, 4)


def test_neighbourhood_asks_for_the_woman_then_for_others():
    table = pd.DataFrame({"group": list("aabbc"), "laterality": list("LRLRL")})
    table = table.assign(percent_density=[10.0, 14, 50, 52, 11], machine=["x", "x", "y", "y", "y"])
    # a's breasts lie together and near c; b's right breast lies near nobody's, but nearest to its left.
    z = [[1, 0], [1, 0.1], [-0.2, 1], [-1, 1], [1, 0.3]]
    found = cases.neighbourhood(z, table)
    assert found.loc["other breast", "found"] == 1
    assert found.loc["other breast", "chance"] == pytest.approx(1 / 4)
    # Nearest of another woman: a's two take c, b's left c, b's right c, and c the second of a.
    assert found.loc["density", "found"] == pytest.approx(np.mean([1, 3, 39, 41, 3]))
    assert found.loc["vendor", "found"] == pytest.approx(2 / 5)
    pairs = [(i, j) for i in range(5) for j in range(5) if table["group"][i] != table["group"][j]]
    gaps = [abs(table["percent_density"][i] - table["percent_density"][j]) for i, j in pairs]
    assert found.loc["density", "chance"] == pytest.approx(np.mean(gaps))
    alike = [table["machine"][i] == table["machine"][j] for i, j in pairs]
    assert found.loc["vendor", "chance"] == pytest.approx(np.mean(alike))


def test_scarce_draws_labels_in_their_share():
    colours = figures.scarce(40, 160, each=20).axes[0].collections[0].get_facecolor()
    assert len(colours) == 10
    assert (colours == to_rgba(ORANGE)).all(1).sum() == 2


def test_chaos_shows_so_many_dots():
    dots = np.random.default_rng(0).normal(size=(50, 2))
    figure = figures.chaos(dots, np.arange(50) % 2, [5, 20])
    assert [len(axes.collections[0].get_offsets()) for axes in figure.axes] == [5, 20, 50]
    assert len(np.unique(figure.axes[2].collections[0].get_facecolor(), axis=0)) == 2


def test_sheet_says_what_was_scaled():
    weighting = np.array([[0, 1], [0, 24]])
    written = titles(figures.sheet(np.zeros((2, 2, 8, 8)), weighting))
    assert written == ["as it is", "a × 0.2", "as it is", "f × 1.8"]
    assert fractals.WEIGHTS[24].tolist() == [1, 1, 1, 1, 1, 1.8, 1]


def test_versions_are_drawn_with_their_density(views):
    kinds = {"moved": cases.ranges(geometry=1), "tiny": cases.ranges(smallest=0.01)}
    figure = figures.changes(views[0], kinds, count=9, seed=2)
    for row, ranges in enumerate(kinds.values()):
        density = cases.versions(views[0], ranges, 9, seed=2).density
        wanted = ["no breast" if np.isnan(percent) else f"{percent:.0f} %" for percent in density]
        assert titles(figure)[10 * row + 1 : 10 * row + 10] == wanted
    assert "no breast" in titles(figure)
    last = figures.strength(views[0], kinds["moved"], count=50).axes[-1]
    assert sum(bar.get_height() for bar in last.patches) == 50


def test_kept_draws_a_point_for_each_version():
    table = pd.DataFrame({"woman": list("aab"), "kind": ["k"] * 3, "density": [1.0, 2, 3], "brighter": 4.0})
    left, right = figures.kept(table, level=0.5).axes
    assert [point[1] for dots in left.collections for point in dots.get_offsets()] == [1, 2, 3]
    assert [point[1] for dots in right.collections for point in dots.get_offsets()] == [4, 4, 4]


def test_the_other_version_is_framed():
    figure = figures.similarities(np.zeros((4, 8, 6)), {"one": np.eye(4)}, np.array([1, 0, 3, 2]))
    frames = [p.get_xy() for p in figure.axes[0].patches if isinstance(p, Rectangle) and not p.get_fill()]
    assert frames == [(1, 0), (0, 1), (3, 2), (2, 3)]


def test_temperature_names_the_hardest_negatives_and_adds_up_their_share():
    rng = np.random.default_rng(0)
    similarity = cases.cosines(rng.normal(size=(64, 5)))
    hers = np.zeros(64, bool)
    negatives = np.delete(np.arange(64), [3, 35])
    hardest = negatives[similarity[3, negatives].argmax()]
    hers[[3, 35, hardest]] = True
    figure = figures.temperature(np.zeros((64, 8, 6)), similarity, 3, hers, 0.2)
    share = 100 * cases.pushes(similarity[3, negatives], 0.2).max()
    title = figure.axes[2].title
    assert title.get_text() == f"1.: {similarity[3, hardest]:.2f}, hers\n{share:.1f} % of push"
    assert title.get_color() == RED != figure.axes[3].title.get_color()
    chosen = next(line for line in figure.axes[-1].lines if "chosen" in line.get_label())
    assert (chosen.get_ydata()[1], chosen.get_ydata()[-1]) == pytest.approx((share, 100))


def test_correlations_end_with_the_identity():
    axes = figures.correlations({"before": np.full((3, 3), 0.5)}).axes
    np.testing.assert_array_equal(axes[1].images[0].get_array(), np.eye(3))
