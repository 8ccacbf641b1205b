"""Fractals against attractors that are known by hand and a chaos game played point by point."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from mammo_utils.data.batches import Batches
from mammo_utils.data.draws import hashed
from mammo_utils.synth import fractals

GREY = np.float32(127 / 255)


def system(*maps):
    """A system (1, 7, 7) of rows (a, b, c, d, e, f, p)."""
    return np.concatenate([np.array(maps, float), np.zeros((7 - len(maps), 7))])[None]


SIERPINSKI = system(*((0.5, 0, 0, 0.5, x / 2, y / 2, 1 / 3) for x, y in [(0, 0), (1, 0), (0, 1)]))
# Seven of the sixteen fields of a board, column and row from the bottom left, and never a dot near an edge:
# a field holds the eighth of the board that lies 7/24 from the next one.
FIELDS = [(0, 0), (3, 0), (1, 1), (2, 1), (0, 3), (1, 3), (3, 3)]
BOARD = system(*((1 / 8, 0, 0, 1 / 8, 7 / 24 * x, 7 / 24 * y, 1 / 7) for x, y in FIELDS))
POINTS = system(*((0, 0, 0, 0, x, y, 0.25) for x, y in [(0, 0), (2, 1), (0.5, 0.75), (1, 0.25)]))


def sierpinski(pixels):
    """The triangle, right angle at the bottom left: no binary digit is 1 in both coordinates."""
    number = np.arange(pixels)
    return (number[::-1, None] & number) == 0


@pytest.fixture(scope="module")
def four():
    return fractals.systems(4, seed=1)


@pytest.fixture(scope="module")
def made():
    return fractals.arrays(6, 8, size=32, dots=50_000, seed=2)


def chaos_game(maps, size, dots, rng):
    """Share of pixels that one point reaches which is moved ``dots`` times, in float64."""
    used = maps[maps[:, 6] > 0]
    point, path = np.zeros(2), np.empty((dots + 200, 2))
    for move, chosen in enumerate(rng.choice(len(used), len(path), p=used[:, 6])):
        matrix = used[chosen]
        path[move] = point = matrix[[0, 2]] * point[0] + matrix[[1, 3]] * point[1] + matrix[4:6]
    path = path[200:] - path[200:].min(0)
    margin = 6 * size / 512
    pixels = np.floor(path / path.max(0) * (size - 2 * margin) + margin).astype(int)
    return len(np.unique(pixels, axis=0)) / size**2


def test_a_category_has_what_fractaldb_asks_of_it(four):
    assert four.shape == (4, 7, 7)
    for maps in four:
        count = int((maps[:, 6] > 0).sum())
        assert 2 <= count <= 7
        assert (maps[count:] == 0).all()
        assert np.abs(maps[:count, :6]).max() < 1
        area = np.abs(np.linalg.det(maps[:, :4].reshape(-1, 2, 2)))
        np.testing.assert_allclose(maps[:, 6], area / area.sum(), atol=1e-12)
    assert (fractals.fill_rate(four) >= 0.2).all()


def test_systems_are_drawn_evenly_with_two_to_seven_maps():
    drawn = fractals._drawn(hashed(np.arange(3000)))
    counts = np.bincount((drawn[..., 6] > 0).sum(1), minlength=8)
    assert counts[:2].tolist() == [0, 0]
    assert counts[2:].min() > 400  # of 500
    values = drawn[..., :6][drawn[..., 6] > 0]
    assert np.abs(np.quantile(values, [0.25, 0.5, 0.75], axis=0) - [[-0.5], [0], [0.5]]).max() < 0.03


def test_a_category_is_the_same_for_any_number_of_categories(four):
    assert (fractals.systems(2, seed=1) == four[:2]).all()
    assert not (fractals.systems(2, seed=2) == four[:2]).all((1, 2)).any()


def test_the_fill_rate_is_that_of_a_chaos_game_played_point_by_point(four):
    drawn = fractals._drawn(hashed(np.arange(1000)))
    # Where a map stretches, a few far dots decide on the bounding box, and no two games are alike.
    shrink = np.linalg.norm(drawn[..., :4].reshape(-1, 7, 2, 2), 2, axis=(2, 3)).max(1) < 0.9
    many, rng = np.concatenate([four[:2], drawn[shrink][:6]]), np.random.default_rng(0)
    slow = np.array([chaos_game(maps, 256, 25_000, rng) for maps in many])
    fast = fractals.fill_rate(many, size=256, dots=25_000)
    assert np.ptp(slow) > 0.15
    np.testing.assert_allclose(fast, slow, rtol=0.05, atol=0.0005)


def test_the_search_keeps_what_the_criterion_keeps():
    drawn = fractals._drawn(hashed(fractals.SYSTEM, 4, 0, np.arange(100)))
    kept = np.flatnonzero(fractals.fill_rate(drawn) >= 0.2)
    assert (fractals.systems(1, seed=4)[0] == drawn[kept[0]]).all()


def test_dots_fall_into_the_fields_of_a_board():
    hit, bounded = fractals._hits(BOARD, size=6, dots=2000, device="cpu")  # with a margin of one pixel
    expected = np.zeros((6, 6), bool)
    for column, row in FIELDS:
        expected[4 - row, 1 + column] = True
    assert bounded.tolist() == [True]
    assert (hit[0].numpy() == expected).all()
    assert fractals.fill_rate(BOARD, size=6, dots=2000)[0] == pytest.approx(7 / 36)
    less = BOARD * [1, 1, 1, 1, 1, 1, 0.9]  # probabilities that do not sum to 1 are shares
    assert torch.equal(fractals._hits(less, size=6, dots=2000, device="cpu")[0], hit)


def test_the_sierpinski_triangle_triples_with_twice_the_pixels():
    # Margins of 3 and 6 leave 256 and 512 pixels.
    half, whole = (fractals.fill_rate(SIERPINSKI, size=n, dots=500_000)[0] * n**2 for n in (262, 524))
    assert half > 3**8  # dots on the edge of a field may fall beside it
    assert whole / half == pytest.approx(3, rel=0.01)
    image = fractals.render(SIERPINSKI, size=524, dots=500_000).numpy()[0]
    triangle = np.pad(sierpinski(512), 6)
    assert (image[~ndimage.binary_dilation(triangle, np.ones((5, 5)))] == 0).all()
    assert set(np.unique(image)) == {0, GREY}
    lit = (image > 0)[ndimage.binary_dilation(triangle, np.ones((3, 3)))]
    assert lit.mean() == pytest.approx(0.5, abs=0.01)


def test_patches_lie_around_their_dots_and_differ_between_keys():
    keys = hashed(9, np.arange(200))
    lit = (fractals.render(POINTS.repeat(200, 0), size=362, dots=400, keys=keys) > 0).numpy()
    # Margins of 4 leave 354 pixels; x ends at 2 and y, which points upwards, at 1.
    rows, columns = [357, 4, 361 - 4 - 265, 361 - 4 - 88], [4, 357, 4 + 88, 4 + 177]
    expected = np.zeros((362, 362), bool)
    expected[rows, columns] = True
    expected = ndimage.binary_dilation(expected, np.ones((3, 3)))
    assert (lit.any(0) == expected).all()
    often = lit.mean(0)[expected]
    assert often.min() > 0.32  # five standard deviations
    assert often.max() < 0.68
    relation = np.corrcoef(lit[:, expected].T) - np.eye(36)
    assert np.abs(relation).max() < 0.36


def test_painting_patches_one_by_one_gives_the_same_mixture():
    """FractalDB's way: each dot a random patch of its own, later ones over earlier ones."""
    rng, dots = np.random.default_rng(5), [(2, 2), (2, 3), (3, 5), (4, 4), (2, 2), (5, 2)]
    painted = np.zeros((4000, 8, 8))
    for row, column in dots:
        pattern = rng.integers(1, 512, 4000)[:, None] >> np.arange(9) & 1
        painted[:, row - 1 : row + 2, column - 1 : column + 2] = pattern.reshape(-1, 3, 3)
    hit = torch.zeros(1, 8, 8, dtype=torch.bool)
    hit[0, [r for r, _ in dots], [c for _, c in dots]] = True
    covered = fractals._spread(hit)[0].numpy()
    assert (painted.any(0) == covered).all()
    lit = fractals._coins(hashed(6, np.arange(4000)), 64).numpy().reshape(-1, 8, 8)[:, covered]
    for pixels in (painted[:, covered], lit):
        assert np.abs(pixels.mean(0) - 0.5).max() < 0.04
        assert np.abs(np.corrcoef(pixels.T) - np.eye(covered.sum())).max() < 0.08


def test_small_images_are_means_of_large_ones(four):
    keys = hashed(3, np.arange(4))
    small, large = (fractals.render(four, size=size, keys=keys) for size in (181, 362))
    mean = large.numpy().reshape(4, 181, 2, 181, 2).mean((2, 4))
    assert small.dtype == torch.float32
    np.testing.assert_allclose(small.numpy(), mean, atol=1e-6)


def test_an_image_depends_on_its_system_and_key_only(four):
    keys = hashed(3, np.arange(25))
    many = fractals.render(four[np.arange(25) % 4], size=32, keys=keys)  # in two blocks
    assert torch.equal(fractals.render(four, size=32, keys=keys[:4]), many[:4])
    assert torch.equal(fractals.render(four[:1], size=32, keys=keys[24:]), many[24:])
    assert not torch.equal(many[0], many[4])


def test_what_diverges_is_not_kept_and_not_rendered():
    away = system((1.5, 0, 0, 1.5, 1, 0, 0.5), (1.6, 0, 0, 1.2, 0, 1, 0.5))
    assert fractals.fill_rate(away, dots=250_000)[0] == 0
    with pytest.raises(ValueError, match=r"system 1 diverges.*fill_rate"):
        fractals.render(np.concatenate([SIERPINSKI, away]), size=64)


def test_an_instance_is_its_category_with_one_parameter_scaled_and_axes_mirrored(four):
    made, weighting = fractals.variants(four, 40, seed=7)
    assert made.shape == (4, 40, 7, 7)
    assert (made[:, 0] == four).all()
    assert (weighting[:, 0] == 0).all()
    signs = {(x, y): (1, x * y, x * y, 1, x, y, 1) for x in (-1, 1) for y in (-1, 1)}
    seen = set()
    for maps, own, numbers in zip(made, four, weighting, strict=True):
        once = len(set(numbers))
        assert (numbers[once:] == numbers[np.arange(40 - once) % once]).all()  # from the start again
        assert set(numbers[:once]) == set(numbers)
        for instance, number in zip(maps, numbers, strict=True):
            used = own[:, 6] > 0
            ratio = instance[used] / own[used]
            np.testing.assert_allclose(ratio, ratio[:1].repeat(len(ratio), 0))
            factors = np.abs(ratio[0]).round(9)
            changed = np.flatnonzero(factors != 1)
            assert changed.tolist() == ([(number - 1) // 4] if number else [])
            assert not number or factors[changed[0]] == [0.2, 0.6, 1.4, 1.8][(number - 1) % 4]
            sign = tuple(np.sign(ratio[0]).astype(int))
            assert sign in signs.values()
            seen.add(sign)
    assert len(seen) == 4
    assert (fractals.fill_rate(made.reshape(-1, 7, 7), size=128, dots=6250) >= 0.09).all()


def test_mirrored_axes_mirror_the_image():
    turned = BOARD.copy()
    turned[0, :, :4] = [0, 1 / 8, -1 / 8, 0]  # every field holds the board turned by a quarter
    turned[0, :, 5] += 1 / 8
    plain = fractals._hits(turned, size=6, dots=2000, device="cpu")[0][0]
    made, weighting = fractals.variants(turned, 60)
    same = made[weighting == 0]
    axes = {(-1, 1): [1], (1, -1): [0], (-1, -1): [0, 1], (1, 1): []}
    hits = fractals._hits(same, size=6, dots=2000, device="cpu")[0]
    seen = set()
    for hit, maps in zip(hits, same, strict=True):
        sign = tuple(np.sign(maps[1, 4:6] / turned[0, 1, 4:6]))
        assert torch.equal(hit.flip(axes[sign]), plain)
        seen.add(sign)
    assert len(seen) == 4


def test_instances_do_not_depend_on_how_many_there_are(made):
    fewer = fractals.arrays(4, 3, size=32, dots=50_000, seed=2)
    rows = (8 * np.arange(4)[:, None] + np.arange(3)).ravel()
    assert (fewer.images == made.images[rows]).all()
    columns = ["category", "weighting", "image_id", "group"]
    assert (fewer.table[columns].to_numpy() == made.table.loc[rows, columns].to_numpy()).all()


def test_groups_are_the_weightings_of_a_category(made):
    table = made.table
    assert table["image_id"].is_unique
    assert table["category"].tolist() == np.repeat(range(6), 8).tolist()
    assert (table.groupby("group")[["category", "weighting"]].nunique() == 1).all(axis=None)
    assert table["group"].nunique() == len(table[["category", "weighting"]].drop_duplicates()) > 6


def test_instances_differ_and_are_nearest_to_their_own_category():
    made = fractals.arrays(10, 12, size=32, dots=50_000, seed=5)
    category = made.table["category"].to_numpy()
    flat = ndimage.gaussian_filter(made.images / 65535.0, (0, 1, 1)).reshape(120, -1)
    assert len(np.unique(made.images.reshape(120, -1), axis=0)) == 120
    relation = np.corrcoef(flat)
    np.fill_diagonal(relation, -1)
    nearest = category[relation.argmax(1)]
    assert (nearest == category).mean() > 0.3  # chance is 11 of 119, 0.09


def test_categories_have_textures_of_their_own():
    one, other = fractals.arrays(2, 1, size=362).images > 0
    inside = ndimage.binary_erosion(ndimage.binary_closing(one) & ndimage.binary_closing(other))
    assert inside.sum() > 5000
    assert (one == other)[inside].mean() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("instances", [1, 3])
def test_batches_give_images_and_categories(instances):
    made = fractals.arrays(5, instances, size=32, dots=20_000)
    assert made.images.dtype == np.uint16
    assert made.images.shape == (5 * instances, 32, 32)
    batches = Batches(made, target="category", batch_size=4, augment="standard", shuffle=True, seed=1)
    rows = []
    for batch in batches:
        assert batch.image.shape[1:] == (1, 32, 32)
        assert batch.image.amax((1, 2, 3)).min() > 0.1
        assert batch.target.tolist() == [row // instances for row in batch.row.tolist()]
        rows += batch.row.tolist()
    assert sorted(rows) == list(range(5 * instances))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fractals.systems(0), "classes=0 must be 1 or more"),
        (lambda: fractals.arrays(1, 0, size=32), "instances=0"),
        (lambda: fractals.render(SIERPINSKI, size=0), "size=0"),
        (lambda: fractals.render(SIERPINSKI, size=8, dots=0), "dots=0"),
        (lambda: fractals.render(SIERPINSKI[0], size=8), r"\(N, 7, 7\).*not \(7, 7\)"),
        (lambda: fractals.render(SIERPINSKI, size=8, keys=hashed([1, 2])), "2 keys for 1 systems"),
        (lambda: fractals.fill_rate(SIERPINSKI, size=2), "size=2 leaves no pixel"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
