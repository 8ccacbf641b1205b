"""Exhibits of the screening work, a set of slides: its tables of scores, and the study that it plans."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mammo_utils.evaluation import classification, implied, operating
from mammo_utils.evaluation.intervals import bootstrap
from mammo_utils.show.figures import exhibits, grad_cam
from mammo_utils.show.figures import screening as shares
from mammo_utils.show.figures import screening_study as figures
from mammo_utils.show.figures.architecture_results import bars
from mammo_utils.study import screened
from mammo_utils.study.claims import DELTA, arithmetic
from mammo_utils.study.claims.screening import WORK
from mammo_utils.study.exhibits.registry import OVER_SEEDS, Exhibit, Made, level, percent, stacked

PREVALENCES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)  # beyond one half a woman's other breast is in the way
SPECIFICITY = 0.9
SUBSETS = {  # F1 and accuracy
    "small set, initial": (0.23, 0.738),
    "small set, fine-tuned": arithmetic.PUBLISHED["small"],
    "large set, initial transfer": (0.20, 0.488),
    "large set, fine-tuned": arithmetic.PUBLISHED["large"],
}
MAPS = ("pointing", "energy", "iou", "twin")
WOMEN = "95 % bootstrap intervals by woman"
GREY = f"grey: ±{DELTA['roc_auc']:g}, which does not matter"
HOME, AWAY = (
    f"{women.positive + women.negative:,} women ({women.positive} with cancer)"
    for women in (screened.WOMEN["test"], screened.WOMEN["external"])
)


def stages(tables: Mapping) -> Made:
    runs, at = figures.usual(tables["screening"]), level(WORK, "screening")
    four, values, parts = runs[runs["imbalance"] == "pos_weight"], ("roc_auc", "pr_auc_2"), {}
    complete = four[four["stages"] != "warm_up_only"].groupby(["stages", "unfreezing"])["seed"].nunique()
    for value in values:
        parts[figures.SCORES[value]] = bars(four, value, ["stages", "unfreezing"])
        found = pd.DataFrame(figures.effects(runs, value, level=at), index=["estimate", "low", "high"]).T
        found = found.rename_axis("effect").assign(seeds=complete.min())
        parts[f"change of {figures.SCORES[value]}"] = found
    return Made(stacked(parts), figures.crossed(runs, *values, level=at))


def _scored(tables: Mapping, cohort: str) -> pd.DataFrame:
    """Breasts of a cohort as the network with weighted positives scores them."""
    own = tables["screening_breasts"]
    return own[(own["imbalance"] == "pos_weight") & (own["cohort"] == cohort)]


def prevalence(tables: Mapping) -> Made:
    valid, test = (_scored(tables, name) for name in ("valid", "test"))
    cut = operating.threshold_at(valid["logit"], valid["label"], specificity=SPECIFICITY)

    def found(logit, label, woman):
        called = operating.confusion(logit, label, threshold=cut)
        scores = []
        for share in PREVALENCES:
            weights = classification.prevalence_weights(label, share, groups=woman)
            value, _ = operating.predictive_values(called.sensitivity, called.specificity, share)
            scores += [classification.average_precision(logit, label, weights=weights), float(value)]
        return [*scores, classification.roc_auc(logit, label)]

    columns = (test[name].to_numpy() for name in ("logit", "label", "woman"))
    ends = bootstrap(found, *columns, groups=test["woman"], stratify=test["label"], n=200)
    names = ("PR-AUC", f"PPV at a specificity of {percent(SPECIFICITY)}")
    keys = [(name, share) for share in PREVALENCES for name in names]
    numbers = pd.DataFrame(keys, columns=["score", "prevalence"])
    area = pd.DataFrame({"score": "ROC-AUC", "prevalence": PREVALENCES})
    for column, values in ends._asdict().items():
        numbers[column], area[column] = values[:-1], values[-1]
    numbers = pd.concat([area, numbers.sort_values("score", kind="stable")], ignore_index=True)
    return Made(numbers, exhibits.over_prevalence(numbers))


def subsets(tables: Mapping) -> Made:
    rows = {name: implied.prevalence(*scores) for name, scores in SUBSETS.items()}
    numbers = pd.DataFrame(SUBSETS, index=["published_f1", "published_accuracy"]).T.rename_axis("set")
    numbers = numbers.join(pd.DataFrame(rows, index=["least_positive", "most_positive"]).T)
    return Made(numbers.reset_index(), shares.implied_shares(rows))


def accuracy(tables: Mapping) -> Made:
    right = {name: scores[1] for name, scores in arithmetic.PUBLISHED.items()}
    rows = {
        "INbreast": (0.822, 0.822 - arithmetic.beyond_nobody().estimate),
        "large set (all negative: at most)": (
            right["large"],
            1 - implied.prevalence(*arithmetic.PUBLISHED["large"]).low,
        ),
        "RSNA, all": (0.98, implied.all_negative(*arithmetic.RSNA)),
    }
    numbers = pd.DataFrame(rows, index=["published", "all_negative"]).T.rename_axis("set").reset_index()
    return Made(numbers, shares.accuracies(rows))


def imbalance(tables: Mapping) -> Made:
    runs = figures.usual(tables["screening"])
    ways = runs[(runs["stages"] == "single") & (runs["unfreezing"] == "all") & (runs["seed"] < 3)]
    values = ("roc_auc", "pr_auc_2", "pf1_2", "pf1_2_fixed", "ece_2", "ece_2_fixed")
    return Made(stacked({value: bars(ways, value, ["imbalance"]) for value in values}), figures.rare(ways))


def external(tables: Mapping) -> Made:
    runs = figures.usual(tables["screening"])
    keys = ["stages", "unfreezing", "imbalance"]
    values = ("roc_auc", "sensitivity_cut", "specificity_cut")
    sites = {"same site": "", "other site": "_external"}
    parts = {
        f"{value}, {site}": runs.groupby(keys)[value + ending].agg(estimate="mean", seeds="size")
        for value in values
        for site, ending in sites.items()
    }
    return Made(stacked(parts), figures.external(runs))


def sizes(tables: Mapping) -> Made:
    visible, test = tables["lesion_sizes"], _scored(tables, "test")
    columns = [name for name in visible if name.startswith(("known_", "unknown_"))]
    long = visible.melt("size", columns, var_name="kind", value_name="estimate")
    long[["place", "kind"]] = long["kind"].str.split("_", n=1, expand=True).to_numpy()
    found = figures.by_kind(test)
    network = found.rename(index=lambda kind: kind.replace(" ", "_")).rename_axis("kind").reset_index()
    parts = {"matched filter": long, "network at 128 pixels": network}
    numbers = pd.concat(parts, names=["observer", None]).reset_index(level=0).reset_index(drop=True)
    return Made(numbers, figures.kinds(visible, test, found=found))


def maps(tables: Mapping) -> Made:
    table = tables["explained"]
    own = table[(table["lesion"] == "masses") & table["score"].isin(MAPS)]
    methods = {name: said for name, said in grad_cam.NAMES.items() if name in set(own["method"])}
    scores = {name: grad_cam.SCORES[name] for name in MAPS}
    columns = ["method", "layer", "score", "images", "women", "estimate", "low", "high", "chance", "ceiling"]
    layers = sorted(own["layer"].unique())
    return Made(own[columns], exhibits.by_layer(own, methods=methods, scores=scores, layers=layers))


EXHIBITS = (
    Exhibit(
        "screening_stages",
        WORK,
        "Screening: warm-up crossed with unfreezing, ROC-AUC and PR-AUC at 2 % of breasts, paired effects.",
        ("screening",),
        stages,
        "the tables 'Current Baseline Benchmark' (0.6720, 0.0614) and 'Warm-up Subset' (0.6082, 0.0325), and "
        "the 2×2 that its slides plan as future work",
        f"{OVER_SEEDS}; effects: {percent(level(WORK, 'screening'))}, {GREY}",
        f"scored on {HOME}",
    ),
    Exhibit(
        "screening_prevalence",
        WORK,
        "Screening: the same network over the prevalence: PR-AUC and PPV fall where ROC-AUC stands still.",
        ("screening_breasts", "screening"),
        prevalence,
        "the slide 'Evaluation Under Extreme Imbalance', which has words alone",
        f"one network (seed 0), threshold from validation women; bands: {WOMEN}",
        f"scored on {HOME}",
    ),
    Exhibit(
        "screening_subsets",
        WORK,
        "Screening: the shares of positives that published F1 and accuracy of the subsets leave possible.",
        (),
        subsets,
        "the tables 'The Small Dataset (421 images)' and 'The Large Dataset (2300 images)'",
        "bars: all that rounding and misses leave open",
    ),
    Exhibit(
        "screening_accuracy",
        WORK,
        "Screening: published accuracies beside those of calling everybody negative.",
        (),
        accuracy,
        "'INBreast Dataset: Accuracy 82.2%' and the slide's 98 % of an all-negative model on RSNA",
        "INbreast positive from BI-RADS 4 (the label's rule is not given); no intervals",
    ),
    Exhibit(
        "screening_imbalance",
        WORK,
        "Screening: four ways to meet rare positives, by ranking, pF1 and calibration at 2 % of breasts.",
        ("screening",),
        imbalance,
        "no published exhibit: its slides use pos_weight without a comparison",
        "filled: as learnt, hollow: recalibrated on validation women; thin bars: range of the runs",
        f"scored on {HOME}",
    ),
    Exhibit(
        "screening_external",
        WORK,
        "Screening: ROC-AUC at home and at another site, and the threshold of home taken there.",
        ("screening",),
        external,
        "the external validation on INbreast, published as one accuracy",
        "points: means of the seeds, no interval",
        f"scored on {HOME} and on {AWAY} elsewhere",
    ),
    Exhibit(
        "screening_lesion_sizes",
        WORK,
        "Screening: how well each kind of lesion can be told over image heights, 256 pixels among them.",
        ("lesion_sizes", "screening_breasts", "screening"),
        sizes,
        "no published exhibit: 256×256 pixels were used, not compared",
        "left: one run a size, colours as on the right, solid: place unknown, dotted: known; "
        f"right: one network (seed 0) on {HOME}, {WOMEN}",
    ),
    Exhibit(
        "screening_maps",
        WORK,
        "Screening: which heat map finds the masses? Four scores of each method in each layer.",
        ("explained",),
        maps,
        "the Grad-CAM pictures of benign and malignant cases, read by eye there, scored against truth here",
        f"one network (seed 0), called views with masses; bars: {WOMEN}",
    ),
)
