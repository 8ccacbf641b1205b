import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from mammo_utils.evaluation import probes
from mammo_utils.evaluation.probes import probe_classification, probe_regression

FIVE = np.repeat(np.arange(5), 6)  # as many women as folds: each of them is left out once


def scaled(train, *others):
    mean, spread = train.mean(0), train.std(0)
    return [(part - mean) / spread for part in (train, *others)]


def ridge(train, y, test, alpha):
    """Closed form; the mean of y bears no penalty."""
    train, test = scaled(train, test)
    weights = np.linalg.inv(train.T @ train + alpha * np.eye(train.shape[1])) @ train.T @ (y - y.mean())
    return y.mean() + test @ weights


def logistic(train, y, test, c):
    """Minimum of C · balanced cross-entropy + half the squared weights, by a general optimiser."""
    train, test = scaled(train, test)
    classes, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    case = (len(y) / (len(classes) * counts))[inverse]

    def scores(x, z):
        return z @ x.reshape(-1, len(classes))[1:] + x[: len(classes)]

    def loss(x):
        picked = log_softmax(scores(x, train), axis=1)[np.arange(len(y)), inverse]
        return -c * case @ picked + 0.5 * np.sum(x[len(classes) :] ** 2)

    best = minimize(loss, np.zeros((train.shape[1] + 1) * len(classes)), options={"gtol": 1e-7}).x
    return classes[scores(best, test).argmax(1)]


def recall(y, predicted):
    return np.mean([(predicted[y == name] == name).mean() for name in np.unique(y)])


def left_out(fit, z, y, groups, value, score):
    folds = [(groups != woman, groups == woman) for woman in np.unique(groups)]
    return np.mean([score(y[test], fit(z[train], y[train], z[test], value)) for train, test in folds])


@pytest.mark.parametrize("seed", range(4))
def test_regression_is_closed_form_ridge_with_the_penalty_of_a_slow_search(seed):
    rng = np.random.default_rng(seed)
    z, weights = rng.normal(size=(60, 8)) * rng.uniform(0.1, 50, 8) + 7, rng.normal(size=8)
    y = scaled(z)[0] @ weights + (1 + seed) * rng.normal(size=60) + 30
    train, test = slice(0, 30), slice(30, 60)

    def error(truth, predicted):
        return np.mean((truth - predicted) ** 2)

    found = {alpha: left_out(ridge, z[train], y[train], FIVE, alpha, error) for alpha in probes.ALPHAS}
    predicted = ridge(z[train], y[train], z[test], min(found, key=found.get))
    expected = 1 - np.sum((y[test] - predicted) ** 2) / np.sum((y[test] - y[test].mean()) ** 2)
    got = probe_regression(z[train], y[train], z[test], y[test], groups=FIVE)
    assert got == pytest.approx(expected, abs=1e-9)


# In draws 15 and 27 plain accuracy within the folds would choose another penalty.
@pytest.mark.parametrize("seed", [0, 15, 27])
def test_classification_is_what_a_general_optimiser_finds(seed):
    rng = np.random.default_rng(seed)
    y = np.tile([0, 0, 0, 1, 1, 2], 10)
    z = rng.normal(size=(60, 3)) + 1.2 * np.eye(3)[y]
    z, names = z * [1, 10, 0.1] - 5, np.array(["C", "A", "D"])[y]
    train, test = slice(0, 30), slice(30, 60)
    found = {c: left_out(logistic, z[train], y[train], FIVE, c, recall) for c in probes.CS}
    expected = recall(y[test], logistic(z[train], y[train], z[test], max(found, key=found.get)))
    got = probe_classification(z[train], names[train], z[test], names[test], groups=FIVE)
    assert got == pytest.approx(expected)
    assert 0.4 < got < 1


@pytest.fixture
def women():
    """Features and groups of 400 women with four alike views each, and the two halves of the rows."""
    rng = np.random.default_rng(0)
    z = np.repeat(rng.normal(size=(400, 20)), 4, 0) + 0.3 * rng.normal(size=(1600, 20))
    return z, np.repeat(np.arange(400), 4), slice(0, 800), slice(800, 1600)


def test_a_linear_signal_is_read_off_whatever_the_units(women):
    z, groups, train, test = women
    y = z @ np.linspace(-1, 1, 20) + 40
    assert probe_regression(z[train], y[train], z[test], y[test], groups=groups[train]) > 0.999
    classes = np.digitize(y, np.quantile(y, [0.1, 0.5, 0.9]))
    four = probe_classification(z[train], classes[train], z[test], classes[test], groups=groups[train])
    assert four > 0.85
    units = z * np.logspace(-6, 6, 20) + 5
    other = probe_regression(units[train], y[train] / 7, units[test], y[test] / 7, groups=groups[train])
    assert other > 0.999
    assert four == probe_classification(
        units[train], classes[train], units[test], classes[test], groups=groups[train]
    )


def test_labels_drawn_by_lot_stay_near_chance(women):
    z, groups, train, test = women
    rng = np.random.default_rng(1)
    of_woman = rng.normal(size=400)[groups]
    assert (
        abs(probe_regression(z[train], of_woman[train], z[test], of_woman[test], groups=groups[train])) < 0.05
    )
    for shares in ([0.5, 0.5], [0.95, 0.05], [0.1, 0.4, 0.4, 0.1]):
        y = rng.choice(len(shares), 400, p=shares)[groups]
        found = probe_classification(z[train], y[train], z[test], y[test], groups=groups[train])
        assert abs(found - 1 / len(shares)) < 0.12


def test_a_penalty_chosen_across_the_views_of_a_woman_would_learn_her_by_heart():
    # Features that tell the women apart, and labels of the woman that they say nothing about.
    kept, torn = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        z = np.repeat(rng.normal(size=(80, 60)), 4, 0) + 0.05 * rng.normal(size=(320, 60))
        y = np.repeat(rng.normal(size=80), 4)
        rows = z[:160], y[:160], z[160:], y[160:]
        kept.append(probe_regression(*rows, groups=np.repeat(np.arange(40), 4)))
        torn.append(probe_regression(*rows, groups=range(160)))
    assert np.median(torn) < -1
    assert np.median(kept) > -0.2


def test_the_rarer_class_weighs_as_much_and_a_guess_gets_one_over_the_classes(women):
    z, groups, train, test = women
    y = (z[:, 0] > 1.3).astype(int)
    assert 0.05 < y.mean() < 0.15
    assert probe_classification(z[train], y[train], z[test], y[test], groups=groups[train]) > 0.9
    constant = np.ones_like(z)
    assert (
        probe_classification(constant[train], y[train], constant[test], y[test], groups=groups[train]) == 0.5
    )
    assert (
        probe_regression(constant[train], z[train, 0], constant[test], z[test, 0], groups=groups[train])
        < 1e-9
    )


def test_nothing_is_warned_of(women):
    z, groups, train, test = women
    y = np.digitize(z[:, 0], [-1.3, 0, 1.3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe_classification(z[train], y[train], z[test], y[test], groups=groups[train])
        # a class of three women among 200, so that most folds would lack it
        rare = np.where(groups % 200 < 3, 1, 0)
        probe_classification(z[train], rare[train], z[test], rare[test], groups=groups[train])


Z, Y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])


@pytest.mark.parametrize("probe", [probe_regression, probe_classification])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_z": Z[:1]}, "train_z must be"),
        ({"test_z": np.full((4, 2), np.nan)}, "4 of 4 rows of test_z"),
        ({"train_y": Y[:3]}, "train_y has 3 entries for 4 rows"),
        ({"test_y": [*Y, 0]}, "test_y has 5 entries for 4 rows"),
        ({"test_y": [0, 1, None, 1]}, "test_y has 1 missing values"),
        ({"groups": [1, 2, 3]}, "groups has 3 entries"),
        ({"groups": [1, 1, 1, 1]}, "two or more are needed"),
    ],
)
def test_what_cannot_be_probed_is_refused(probe, change, words):
    given = {"train_z": Z, "train_y": Y, "test_z": Z, "test_y": Y, "groups": range(4)} | change
    with pytest.raises(ValueError, match=words):
        probe(**given)


def test_labels_that_do_not_vary_are_refused():
    for where in ("train_y", "test_y"):
        given = {"train_z": Z, "train_y": Y, "test_z": Z, "test_y": Y, "groups": range(4)} | {where: [1] * 4}
        with pytest.raises(ValueError, match=f"{where} must be finite and vary"):
            probe_regression(**given)
        words = "1 classes of test_y have no row in train_y" if where == "train_y" else "one class only"
        with pytest.raises(ValueError, match=words):
            probe_classification(**given)
    with pytest.raises(ValueError, match="of each class"):
        probe_classification(Z, Y, Z, Y, groups=[1, 2, 1, 2])
