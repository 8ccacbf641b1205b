import numpy as np
import pytest
from scipy import stats

from mammo_utils.training import losses
from mammo_utils.training.optimum import answers

# Mostly sure pixels, fatty ones more than dense ones, in whole fiftieths so that nothing is rounded.
SHARES = np.round(stats.beta(0.3, 0.5).ppf((np.arange(40) + 0.5) / 40) * 50) / 50


def best_cut(shares, false_positive=0.5, false_negative=0.5):
    """The share from which calling a kind dense gives the best overlap of masks, by trying every cut."""

    def overlap(cut):
        called = shares >= cut
        hit = shares[called].sum()
        wrong, missed = (1 - shares[called]).sum(), shares[~called].sum()
        return hit / (hit + false_positive * wrong + false_negative * missed)

    cuts = np.unique(shares)
    return max(cuts, key=overlap), max(map(overlap, cuts))


def test_cross_entropy_asks_for_the_share_itself():
    np.testing.assert_allclose(answers(losses.bce, SHARES)[5:-5], SHARES[5:-5], atol=0.01)


def test_dice_asks_for_all_or_nothing_from_half_of_the_best_dice_on():
    cut, overlap = best_cut(SHARES)
    found = answers(losses.dice, SHARES, smooth=1e-3)
    # Lipton, Elkan and Naryanaswamy, ECML PKDD 2014: the best cut is half of the best Dice.
    assert cut == SHARES[overlap / 2 <= SHARES].min()
    clear = np.abs(SHARES - overlap / 2) > 0.02  # at the cut itself both answers cost the same
    assert clear.sum() >= 38
    np.testing.assert_allclose(found[clear], (cut <= SHARES)[clear], atol=0.02)
    assert found.mean() > SHARES.mean() + 0.02


@pytest.mark.parametrize(("loss", "weights"), [(losses.dice, (0.5, 0.5)), (losses.tversky, (0.3, 0.7))])
@pytest.mark.parametrize("kinds", [40, 200])
def test_no_cut_gives_a_better_overlap_than_the_answer(loss, weights, kinds):
    # 51 pixels a kind, so that no share is exactly one half
    shares = np.round(stats.beta(0.3, 0.5).ppf((np.arange(kinds) + 0.5) / kinds) * 51) / 51
    cut, _ = best_cut(shares, *weights)
    np.testing.assert_array_equal(answers(loss, shares, pixels=51, smooth=1e-3) >= 0.5, shares >= cut)


def test_tversky_that_dreads_misses_asks_for_more_than_dice():
    cut, _ = best_cut(SHARES, 0.3, 0.7)
    found = answers(losses.tversky, SHARES, smooth=1e-3)
    clear = np.abs(SHARES - cut) > 0.02
    np.testing.assert_allclose(found[clear], (cut <= SHARES)[clear], atol=0.02)
    assert cut < best_cut(SHARES)[0]


def test_focal_shrinks_towards_a_half_and_keeps_the_side():
    found = answers(losses.focal, SHARES)
    unsure = (SHARES > 0.05) & (SHARES < 0.95) & (SHARES != 0.5)
    assert (np.abs(found - 0.5) < np.abs(SHARES - 0.5))[unsure].all()
    np.testing.assert_array_equal(found[unsure] > 0.5, SHARES[unsure] > 0.5)


@pytest.mark.parametrize("lam", [1.0, 10.0])
def test_a_density_term_brings_the_amount_of_bce_dice_back(lam):
    plain = answers(losses.bce_dice, SHARES).mean()
    assert plain > SHARES.mean() + 0.01
    assert answers(losses.hybrid_density, SHARES, lam=lam).mean() == pytest.approx(SHARES.mean(), abs=0.002)
