"""What a line reads off frozen features: linear probes, tuned on the training women alone.

Features are (N, D), a row an image.  They are standardised on the training rows, and the penalty is chosen by
cross-validation within these, in which ``groups``, the woman of each training row, keep together: the views
of a woman are so alike that one of them would answer for the other.

Both raise ``ValueError`` for features with fewer than two rows or with missing or infinite values, for labels
or groups of another length or with missing values, and for too few groups.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mammo_utils.evaluation.representation import _checked, _codes, _column

FOLDS = 5
# From next to no penalty to one that leaves little more than the mean, for features of unit spread.
ALPHAS = 10.0 ** np.arange(-2, 7)
CS = 10.0 ** np.arange(-5, 2)


def probe_regression(train_z, train_y, test_z, test_y, *, groups) -> float:
    """R² on the test rows of a ridge regression from frozen features: how much of ``y`` a line reads off.

    1 is perfect, 0 no better than the mean of ``test_y``, negative worse.  Features are standardised on the
    training rows; the penalty is chosen from ``ALPHAS`` by cross-validation within them, in which ``groups``,
    the woman of each training row, keep together.

    Raises ``ValueError`` for ``train_y`` or ``test_y`` that do not vary or have missing values, for fewer
    than two groups, and as the module says.
    """
    train_z, test_z = _checked(train_z, "train_z"), _checked(test_z, "test_z")
    train_y, test_y = _numbers(train_y, len(train_z), "train_y"), _numbers(test_y, len(test_z), "test_y")
    groups = _codes(groups, len(train_z), "groups")
    folds = GroupKFold(_folds(groups.max() + 1))
    best = _search(Ridge(), {"ridge__alpha": ALPHAS}, folds, "neg_mean_squared_error")
    errors = test_y - best.fit(train_z, train_y, groups=groups).predict(test_z)
    return float(1 - np.mean(errors**2) / np.var(test_y))


def probe_classification(train_z, train_y, test_z, test_y, *, groups) -> float:
    """Balanced accuracy on the test rows of a logistic regression from frozen features.

    The mean over the classes of ``test_y`` of the share that is recognised, so that chance is one over their
    number; in training the classes weigh alike, too.  Standardising, folds and ``groups`` as in
    `probe_regression`, the penalty from ``CS``.

    Raises ``ValueError`` for ``test_y`` of one class or with a class that ``train_y`` lacks, for a training
    class from a single group, and as the module says.

    >>> z, women = [[-2], [-1], [1], [2]], ["ann", "bea", "cleo", "dora"]
    >>> probe_classification(z, ["A", "A", "D", "D"], [[-3], [3], [4]], ["A", "D", "A"], groups=women)
    0.75
    """
    train_z, test_z = _checked(train_z, "train_z"), _checked(test_z, "test_z")
    train_y, test_y = _column(train_y, len(train_z), "train_y"), _column(test_y, len(test_z), "test_y")
    if unknown := set(test_y) - set(train_y):
        raise ValueError(f"{len(unknown)} classes of test_y have no row in train_y: leave them out")
    if test_y.nunique() < 2:
        raise ValueError("test_y has one class only: whatever is called by that name would be right")
    train_y, test_y = np.split(pd.factorize(pd.concat([train_y, test_y]))[0], [len(train_z)])
    groups = _codes(groups, len(train_z), "groups")
    folds = StratifiedGroupKFold(_folds(min(len(set(groups[train_y == name])) for name in set(train_y))))
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    best = _search(model, {"logisticregression__C": CS}, folds, make_scorer(_balanced_accuracy))
    return _balanced_accuracy(test_y, best.fit(train_z, train_y, groups=groups).predict(test_z))


def _search(model, grid: dict, folds, scoring) -> GridSearchCV:
    """The model behind a scaler; both see the training part of a fold only."""
    return GridSearchCV(
        make_pipeline(StandardScaler(), model), grid, cv=folds, scoring=scoring, error_score="raise"
    )


def _folds(groups: int) -> int:
    if groups < 2:
        raise ValueError("the penalty is chosen between groups: two or more are needed, of each class if any")
    return min(FOLDS, int(groups))


def _balanced_accuracy(label, predicted) -> float:
    return float(np.mean([np.mean(predicted[label == name] == name) for name in np.unique(label)]))


def _numbers(values, size: int, name: str) -> np.ndarray:
    values = _column(values, size, name).to_numpy(float)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        raise ValueError(f"{name} must be finite and vary: there is nothing to explain in a constant")
    return values
