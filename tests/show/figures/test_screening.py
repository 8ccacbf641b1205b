"""Figures of screening: what they draw are the numbers that other ways give."""

import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.text import Text

from mammo_utils.evaluation import classification, operating
from mammo_utils.show.figures import screening as figures
from mammo_utils.synth.breast import exam


@pytest.fixture
def cases():
    """Two breasts of 200 women, 40 with cancer in one of them."""
    rng = np.random.default_rng(0)
    label = np.zeros((200, 2), int)
    label[:40, 0] = 1
    score = rng.normal(size=400) + 1.2 * label.ravel()
    return score, label.ravel(), np.repeat(np.arange(200), 2)


def words(figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


@pytest.mark.parametrize("rates", [(0.8, 0.9, 0.02), (0.55, 0.93, 0.005), (0, 1, 0.5), (1, 0, 1)])
def test_every_woman_stands_in_the_crowd_once(rates):
    counts = figures.fates(*rates)
    assert sum(counts.values()) == figures.CROWD
    sick = counts["cancer, called back"] + counts["cancer, missed"]
    assert sick == round(1000 * rates[2])
    assert counts["healthy, called back"] == pytest.approx((1000 - sick) * (1 - rates[1]), abs=0.5)
    figure = figures.crowd(*rates)
    groups = figure.axes[0].findobj(PatchCollection)
    assert [len(group.get_paths()) for group in groups] == [2 * count for count in counts.values()]
    middles = [path.get_extents().p0.round(2).tolist() for group in groups for path in group.get_paths()]
    assert len({tuple(place) for place in middles}) == 2000  # nobody stands on another


def test_shares_of_a_crowd_lie_between_0_and_1():
    with pytest.raises(ValueError, match="between 0 and 1"):
        figures.fates(0.8, 90, 0.02)


def test_prevalence_moves_precision_and_not_the_roc_curve(cases):
    score, label, _ = cases
    figure = figures.prevalences(score, label, (0.5, 0.02), specificity=0.9)
    left, right = figure.axes
    assert f"ROC-AUC {classification.roc_auc(score, label):.2f}" in words(figure)
    for share in (0.5, 0.02):
        weights = classification.prevalence_weights(label, share)
        area = classification.average_precision(score, label, weights=weights)
        assert f"{100 * share:.3g} % positive: PR-AUC {area:.3f}" in words(figure)
    cut = operating.threshold_at(score, label, specificity=0.9)
    found = operating.confusion(score, label, threshold=cut)
    points = [line.get_xydata()[0] for line in right.lines if line.get_marker() == "o"]
    for point, share in zip(points, (0.5, 0.02), strict=True):
        value = operating.predictive_values(found.sensitivity, found.specificity, share)[0]
        assert point == pytest.approx([found.sensitivity, value])
    assert len(left.lines) == 3


def test_the_point_of_the_threshold_lies_on_the_curves(cases):
    score, label, woman = cases
    figure = figures.curves(score, label, groups=woman, cut=1.0)
    called = score >= 1.0
    hits = called[label == 1].mean()
    for ax, x, y in zip(
        figure.axes, (called[label == 0].mean(), hits), (hits, label[called].mean()), strict=True
    ):
        (point,) = (line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o")
        assert point == pytest.approx([x, y])
    nobody = figures.curves(score, label, groups=woman, cut=np.inf)
    assert [sum(line.get_marker() == "o" for line in ax.lines) for ax in nobody.axes] == [1, 0]


def test_the_four_counts_add_up_to_the_women(cases):
    score, label, _ = cases
    figure = figures.confusion(score, label, 1.0, prevalence=0.02)
    texts = [t.get_text() for t in figure.axes[1].texts]
    counts = dict(zip(texts[1::2], (float(one.replace(",", "")) for one in texts[::2]), strict=True))
    assert set(counts) == set(figures.FATES)
    assert sum(counts.values()) == pytest.approx(10_000, abs=2)
    assert counts["cancer, called back"] == pytest.approx(200 * (score >= 1)[label == 1].mean(), abs=0.5)
    called = counts["cancer, called back"] + counts["healthy, called back"]
    assert f"{100 * counts['cancer, called back'] / called:.2g} % of those called back" in words(figure)


def test_reliability_marks_bins_without_a_positive_apart(cases):
    score, label, woman = cases
    logit = 3 * score - 4
    weights = classification.prevalence_weights(label, 0.02, groups=woman)
    figure = figures.reliability({"a": logit, "b": logit - 2}, label, groups=woman, weights=weights)
    for ax in figure.axes:
        dots, triangles = (
            [x for line in ax.lines if line.get_marker() == m for x in line.get_xdata()] for m in "ov"
        )
        assert len(dots) + len(triangles) == 8
        assert len(triangles) > 0
    assert "a: calibration error" in words(figure)


def test_a_lesion_is_framed_and_shown_beside_its_twin():
    options = {"prevalence": 1.0}
    pairs = {}
    for size in (48, 96):
        sick = next(v for v in exam(3, size=size, **options) if v.cancer)
        twin = next(
            v
            for v in exam(3, size=size, lesions=(), **options)
            if (v.laterality, v.view) == (sick.laterality, sick.view)
        )
        pairs[size] = sick, twin
    figure = figures.sizes(pairs)
    for column, (sick, _) in enumerate(pairs.values()):
        (frame,) = figure.axes[column].patches
        rows, columns = np.nonzero(sick.lesion_mask)
        assert frame.get_path().get_extents().contains(columns.mean(), rows.mean())
        below = figure.axes[len(pairs) + column].images[0].get_array()
        assert below.shape[1] == pytest.approx(3 * below.shape[0], abs=3)
        with_it, without, added = np.split(np.asarray(below), 3, axis=1)
        stretched = (with_it - without) / (with_it - without).max()
        span = np.max([with_it, without]) - np.min([with_it, without])
        np.testing.assert_allclose((added - added.min()) / span, stretched - stretched.min(), atol=1e-5)


def test_bars_of_the_slides_stand_where_the_numbers_say():
    figure = figures.accuracies({"a": (0.822, 0.756), "b": (0.9, 0.95)})
    points = [tuple(line.get_xydata()[0]) for line in figure.axes[0].lines if len(line.get_xdata())]
    assert points == [pytest.approx(p) for p in ((75.6, 0), (82.2, 0), (95, 1), (90, 1))]
    figure = figures.implied_shares({"a": (0.12, 0.19)})
    (bar,) = figure.axes[0].patches
    assert (bar.get_x(), bar.get_width()) == pytest.approx((12, 7))
    assert "12 to 19 %" in words(figure)
