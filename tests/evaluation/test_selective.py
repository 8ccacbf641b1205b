"""Risk over coverage: worked by hand, and what holds of any curve."""

import numpy as np
import pytest

from mammo_utils.evaluation import classification, selective


def test_the_curve_of_five_cases_by_hand():
    doubt, loss, weights = [3, 1, 2, 2, 5], [6, 0, 2, 4, 10], [1, 2, 1, 1, 0]
    curve = selective.risk_coverage(doubt, loss, weights=weights)
    assert curve.doubt.tolist() == [1, 2, 3, 5]
    assert curve.coverage == pytest.approx([0.4, 0.8, 1, 1])
    assert curve.risk == pytest.approx([0, 6 / 4, 12 / 5, 12 / 5])


def test_doubt_by_the_loss_itself_is_never_beaten_and_blind_doubt_is_flat():
    rng = np.random.default_rng(0)
    loss = rng.exponential(size=500)
    best = selective.risk_coverage(loss, loss)
    other = selective.risk_coverage(rng.normal(size=500), loss)
    assert (best.risk <= other.risk + 1e-12).all()
    assert (np.diff(best.risk) >= 0).all()
    flat = selective.risk_coverage(np.zeros(500), loss)
    assert (flat.coverage.tolist(), flat.risk.tolist()) == ([1], [pytest.approx(loss.mean())])


def test_what_is_lost_among_the_dismissed_is_the_roc_curve_seen_from_below():
    rng = np.random.default_rng(1)
    label = (rng.random(400) < 0.2).astype(int)
    score = rng.normal(size=400) + label
    curve = classification.roc(score, label)
    share = 1 - (curve.sensitivity * label.sum() + curve.false_positive_rate * (1 - label).sum()) / 400
    assert selective.lost(score, label, shares=share) == pytest.approx(1 - curve.sensitivity)
    weights = classification.prevalence_weights(label, 0.02)
    many = np.repeat([0.0, 1.0], [round(weights[label == 0].mean()), 1])  # copies of negatives weigh the same
    copies = np.concatenate([np.repeat(score[label == 0], len(many) - 1), score[label == 1]])
    truth = np.repeat([0, 1], [(label == 0).sum() * (len(many) - 1), label.sum()])
    whole = np.where(label == 1, 1.0, len(many) - 1)
    shares = [0.1, 0.5, 0.9, 1.0]
    assert selective.lost(score, label, shares=shares, weights=whole) == pytest.approx(
        selective.lost(copies, truth, shares=shares), abs=0.02
    )
    assert np.isnan(selective.lost(score, 0 * label, shares=shares)).all()


@pytest.mark.parametrize(
    ("doubt", "loss", "options", "words"),
    [
        ([1, 2], [1], {}, "one length"),
        ([1, np.nan], [1, 2], {}, "missing values"),
        ([1, 2], [1, 2], {"weights": [0, 0]}, "not all be zero"),
    ],
)
def test_what_cannot_be_ranked_is_refused(doubt, loss, options, words):
    with pytest.raises(ValueError, match=words):
        selective.risk_coverage(doubt, loss, **options)
