import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.evaluation.segmentation import (
    METRICS,
    agreement,
    density_classes,
    dice,
    iou,
    percent_density,
    precision,
    scores,
    sensitivity,
    spearman,
    surface_distance,
    weighted_kappa,
)

CUTS = (30, 40, 50)


def example():
    rng = np.random.default_rng(4)
    breast = np.zeros((12, 8, 8), bool)
    breast[:, :, :6] = True
    target = breast & (rng.random(breast.shape) < 0.4)
    prediction = target ^ (rng.random(breast.shape) < 0.1)
    return prediction, target, breast, np.repeat(np.arange(6), 2)


def test_table_of_scores_holds_the_weighted_means():
    prediction, target, breast, women = example()
    weights = np.arange(1, 13)
    table = scores(prediction, target, groups=women, weights=weights, breast=breast, n=100)
    assert list(table.index) == ["dice", "density_mae", "density_bias"]
    single = [dice(p, t) for p, t in zip(prediction, target, strict=True)]
    error = [
        100 * (p & b).sum() / b.sum() - 100 * t.sum() / b.sum()
        for p, t, b in zip(prediction, target, breast, strict=True)
    ]
    assert table.estimate["dice"] == pytest.approx(np.average(single, weights=weights))
    assert table.estimate["density_mae"] == pytest.approx(np.average(np.abs(error), weights=weights))
    assert table.estimate["density_bias"] == pytest.approx(np.average(error, weights=weights))
    assert (table.low < table.estimate).all()
    assert (table.estimate < table.high).all()


def test_an_image_of_weight_two_counts_as_two_images():
    prediction, target, _, women = example()
    twice = np.r_[0, np.arange(12)]
    weighted = scores(prediction, target, groups=women, weights=np.r_[2, np.ones(11)], n=200)
    doubled = scores(prediction[twice], target[twice], groups=women[twice], n=200)
    np.testing.assert_allclose(weighted, doubled)


def test_density_may_refer_to_the_predicted_breast_and_an_empty_one_means_zero():
    target, breast = np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    own = np.stack([np.array([[1, 0], [1, 0]], bool), np.zeros((2, 2), bool)])
    table = scores(target, target, groups=[1, 2], breast=breast, predicted_breast=own, n=20)
    assert table.estimate["density_mae"] == 50  # errors 0 and -100
    assert table.estimate["density_bias"] == -50


def test_an_empty_true_breast_is_named():
    mask = np.ones((2, 2, 2), bool)
    breast = np.stack([mask[0], ~mask[0]])
    with pytest.raises(ValueError, match=r"empty for images \[1\]"):
        scores(mask, mask, groups=[1, 2], breast=breast)


def test_one_image_is_not_a_stack():
    mask = np.ones((2, 2), bool)
    with pytest.raises(ValueError, match=r"N×H×W, not \(2, 2\)"):
        scores(mask, mask, groups=[1, 2])


@pytest.mark.parametrize("weights", [[1, -1], [1, np.nan], [0, 0], [1, 1, 1], 1])
def test_bad_weights_are_refused(weights):
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(ValueError, match="weights must be 2 numbers"):
        scores(mask, mask, groups=[1, 2], weights=weights)


def rated():
    """The example with a reader's classes that roughly follow the true density."""
    prediction, target, breast, women = example()
    classes = density_classes(percent_density(target, breast) + np.resize([0, 9, -9], 12), CUTS)
    return prediction, target, breast, women, classes


def test_every_row_equals_the_plain_mean_or_another_library():
    prediction, target, breast, women, classes = rated()
    table = scores(
        prediction, target, groups=women, breast=breast, density_class=classes, cuts=CUTS, spacing=0.7,
        metrics=METRICS, n=50,
    )  # fmt: skip
    assert list(table.index) == list(METRICS)
    triples = list(zip(prediction, target, breast, strict=True))
    percent = np.array([[100 * (m & b).sum() / b.sum() for m in (p, t)] for p, t, b in triples])
    error = percent[:, 0] - percent[:, 1]
    called = ["ABCD"[sum(value >= cut for cut in CUTS)] for value in percent[:, 0]]
    distances = [surface_distance(p, t, spacing=0.7) for p, t, _ in triples]
    expected = {
        "dice": np.mean([2 * (p & t).sum() / (p.sum() + t.sum()) for p, t, _ in triples]),
        "iou": np.mean([(p & t).sum() / (p | t).sum() for p, t, _ in triples]),
        "sensitivity": np.mean([(p & t).sum() / t.sum() for p, t, _ in triples]),
        "precision": np.mean([(p & t).sum() / p.sum() for p, t, _ in triples]),
        "surface_distance": np.mean([distance.mean for distance in distances]),
        "hausdorff_95": np.mean([distance.hausdorff_95 for distance in distances]),
        "density_mae": np.abs(error).mean(),
        "density_bias": error.mean(),
        "density_lower": error.mean() - 1.96 * error.std(ddof=1),
        "density_upper": error.mean() + 1.96 * error.std(ddof=1),
        "spearman": stats.spearmanr(percent[:, 0], ["ABCD".index(x) for x in classes]).statistic,
        "kappa": cohen_kappa_score(called, classes, labels=list("ABCD"), weights="quadratic"),
    }
    assert table.estimate.to_dict() == pytest.approx(expected)


def test_every_interval_resamples_women():
    prediction, target, breast, women, classes = rated()
    table = scores(
        prediction, target, groups=women, breast=breast, density_class=classes, cuts=CUTS, metrics=METRICS,
        n=200, seed=5, level=0.9,
    )  # fmt: skip
    drawn = {"groups": women, "n": 200, "seed": 5, "level": 0.9}
    measured, reference = percent_density(prediction, breast), percent_density(target, breast)
    limits = bootstrap(agreement, measured, reference, **drawn)
    expected = {
        name: bootstrap(np.mean, metric(prediction, target), **drawn)
        for name, metric in {
            "dice": dice,
            "iou": iou,
            "sensitivity": sensitivity,
            "precision": precision,
        }.items()
    }
    for name, values in surface_distance(prediction, target)._asdict().items():
        row = {"mean": "surface_distance"}.get(name, name)
        expected[row] = bootstrap(np.mean, values, **drawn)
    expected |= {
        "density_mae": bootstrap(np.mean, np.abs(measured - reference), **drawn),
        "density_bias": [part[0] for part in limits],
        "density_lower": [part[1] for part in limits],
        "density_upper": [part[2] for part in limits],
        "spearman": bootstrap(spearman, measured, classes, **drawn),
        "kappa": bootstrap(weighted_kappa, density_classes(measured, CUTS), classes, **drawn),
    }
    for name in METRICS:
        np.testing.assert_allclose(table.loc[name].to_numpy(), expected[name], err_msg=name)


def test_an_image_of_weight_two_counts_as_two_images_in_every_row():
    prediction, target, breast, women, classes = rated()
    twice = np.r_[0, np.arange(12)]
    # Not in the limits: their sample variance takes weights of any scale, which have no number of images.
    rows = [name for name in METRICS if name not in ("density_lower", "density_upper")]
    given = {"groups": women, "breast": breast, "density_class": classes}
    weighted = scores(
        prediction, target, weights=np.r_[2, np.ones(11)], cuts=CUTS, metrics=rows, n=50, **given
    )
    given = {name: values[twice] for name, values in given.items()}
    doubled = scores(prediction[twice], target[twice], cuts=CUTS, metrics=rows, n=50, **given)
    np.testing.assert_allclose(weighted, doubled)


def test_limits_of_agreement_are_weighted():
    prediction, target, breast, women = example()
    weights, rows = np.arange(12), ["density_bias", "density_lower", "density_upper"]
    table = scores(prediction, target, groups=women, weights=weights, breast=breast, metrics=rows, n=10)
    error = percent_density(prediction, breast) - percent_density(target, breast)
    bias, spread = np.average(error, weights=weights), 1.96 * np.sqrt(np.cov(error, aweights=weights))
    np.testing.assert_allclose(table.estimate, [bias, bias - spread, bias + spread])


def test_rows_by_default_are_those_of_what_is_given():
    prediction, target, breast, women, classes = rated()
    given, rows = {}, ["dice"]
    for name, value, more in [
        ("breast", breast, ["density_mae", "density_bias"]),
        ("density_class", classes, ["spearman"]),
        ("cuts", CUTS, ["kappa"]),
    ]:
        given[name], rows = value, rows + more
        assert list(scores(prediction, target, groups=women, n=10, **given).index) == rows


def test_rows_come_in_the_order_asked_for():
    prediction, target, _, women, _ = rated()
    rows = ["precision", "dice", "hausdorff_95"]
    assert list(scores(prediction, target, groups=women, metrics=rows, n=10).index) == rows


def test_an_empty_prediction_stays_in_every_mean():
    target = np.ones((2, 3, 4), bool)
    prediction = np.stack([target[0], ~target[0]])
    rows = ["dice", "iou", "sensitivity", "precision", "surface_distance", "hausdorff_95"]
    table = scores(prediction, target, groups=[1, 2], metrics=rows, n=10)
    np.testing.assert_allclose(table.estimate, [0.5, 0.5, 0.5, 0.5, 2.5, 2.5])  # the diagonal is 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": ["dise"]}, "unknown metric 'dise'; choose one of: dice, iou"),
        ({"metrics": []}, "names no row; choose from: dice"),
        ({"metrics": ["density_upper"]}, "'density_upper' needs breast"),
        ({"metrics": ["kappa"]}, "'kappa' needs breast and cuts and density_class"),
        ({"density_class": list("AB")}, "'spearman' needs breast"),
        ({"breast": True, "cuts": CUTS}, "'kappa' needs density_class"),
        ({"breast": True, "density_class": list("ABC")}, "density_class has 3 rows but there are 2 images"),
        ({"breast": True, "density_class": ["A", None]}, "1 density classes, such as None"),
        ({"metrics": ["hausdorff_95"], "spacing": [1, 2, 3]}, "does not fit images"),
        ({"level": 95}, "level must lie between 0 and 1"),
    ],
)
def test_what_a_row_lacks_is_named(options, words):
    mask = np.ones((2, 2, 2), bool)
    options = options | ({"breast": mask} if "breast" in options else {})
    with pytest.raises(ValueError, match=words):
        scores(mask, mask, groups=[1, 2], **options)


@pytest.mark.filterwarnings("error")
def test_a_resample_of_women_without_weight_is_left_out():
    prediction, target, breast, women, _ = rated()
    weights = (women < 4).astype(float)
    rows = ["dice", "density_lower"]
    table = scores(prediction, target, groups=women, weights=weights, breast=breast, metrics=rows, n=2000)
    assert np.isfinite(table.to_numpy()).all()
