"""The claims of the screening work, judged by the study of stages and by arithmetic on its own figures.

The work is a set of slides.  Decided are the four effects that `study.stages` names, ten paired seeds each;
what else its tables say is explored.
"""

from __future__ import annotations

from mammo_utils.study import observer, stages
from mammo_utils.study.claims import arithmetic, maps
from mammo_utils.study.claims.registry import Arithmetic, Claim, Question, Term, minus
from mammo_utils.study.claims.rule import DELTA

WORK = maps.WORK
SLIDES, PLAN = "slides, results", "slides, future work"
METRICS = {"roc_auc": ("ROC-AUC", "roc_auc"), "pr_auc": ("PR-AUC at 2 %", "pr_auc_2")}


def crossed(**wanted) -> list[dict]:
    """Arms of the 2×2 with these settings."""
    return [stages.at_rate(one) for one in stages.CROSSED if wanted.items() <= one.items()]


def effects(name: str, second: dict, first: dict) -> tuple[Question, ...]:
    """The effect of one factor of the 2×2 on both areas, each the mean over the other factor."""
    return tuple(
        Question(
            asks=f"{label}: {name}",
            table="screening",
            terms=minus(crossed(**second), crossed(**first), column),
            direction="up",
            delta=DELTA[metric],
        )
        for metric, (label, column) in METRICS.items()
    )


def explored(asks: str, terms: tuple[Term, ...], direction: str, *, metric="roc_auc", above=0.0) -> Question:
    """A question to the study of stages that was not asked before the runs."""
    return Question(asks, "screening", terms, direction, DELTA[metric], kind="explored", above=above)


def weighted() -> tuple[Question, ...]:
    """Weighted positives against none."""
    arms = [stages.at_rate(one) for one in (stages.CROSSED[0], {"imbalance": "plain"})]
    return tuple(
        explored(f"{label}: pos_weight minus plain", minus(*arms, column), "up", metric=metric)
        for metric, (label, column) in METRICS.items()
    )


def elsewhere() -> Question:
    """The published system at the other site and vendor, against home."""
    (arm,) = crossed(stages="warm_up", unfreezing="progressive")
    terms = (Term(1.0, "roc_auc_external", arm), Term(-1.0, "roc_auc", arm))
    return explored("ROC-AUC: other site minus home", terms, "little")


def rarer() -> Question:
    """The same networks where cancer is four times as rare."""
    arm = stages.at_rate(stages.CROSSED[0])
    terms = (Term(1.0, "pr_auc_05", arm), Term(-1.0, "pr_auc_2", arm))
    return explored("PR-AUC: at 0.5 % minus at 2 % of breasts", terms, "down", metric="pr_auc")


def pixels(kind: str, shapes: tuple[str, ...]) -> Question:
    """What a matched filter that has to search loses from 512 to 256 pixels."""
    at = {one["size"]: one for one in observer.SIZES.settings}
    pairs = [minus(at[256], at[512], f"unknown_{shape}") for shape in shapes]
    terms = [term._replace(weight=term.weight / len(shapes)) for pair in pairs for term in pair]
    return Question(
        asks=f"ROC-AUC of a matched filter, {kind}: 256 minus 512 pixels",
        table="lesion_sizes",
        terms=tuple(terms),
        direction="little",
        delta=DELTA["roc_auc"],
        kind="explored",
    )


CLAIMS = (
    Claim(
        "warm-up",
        WORK,
        "A warm-up on a balanced subset before the full set ranks breasts better",
        f"slides, method; {PLAN}",
        "ROC-AUC and PR-AUC 0.6082 and 0.0325 (warm-up alone), 0.6720 and 0.0614 (one stage); both not yet",
        questions=effects("warm-up minus one stage", {"stages": "warm_up"}, {"stages": "single"}),
    ),
    Claim(
        "unfreezing",
        WORK,
        "Unfreezing layer by layer ranks breasts better than all layers at once",
        f"slides, method; {PLAN}",
        "used, not compared",
        questions=effects("step by step minus at once", {"unfreezing": "progressive"}, {"unfreezing": "all"}),
    ),
    Claim(
        "pos_weight",
        WORK,
        "Weighting positives by negatives over positives helps where they are rare",
        "slides, method",
        "used, not compared",
        questions=weighted(),
    ),
    Claim(
        "women apart",
        WORK,
        "Groups of woman and side keep every woman in one part of the split",
        "slides, method",
        "no patient appears in both",
        questions=(
            Arithmetic(
                "women in both parts, share",
                arithmetic.straddling,
                f"{arithmetic.WOMEN} women with two breasts, {len(arithmetic.SPLITS)} splits 80/20",
                "little",
                DELTA["accuracy"],
            ),
        ),
    ),
    Claim(
        "full prevalence",
        WORK,
        "What a small, balanced subset scores survives the full set at its real prevalence",
        SLIDES,
        "ROC-AUC 0.86 on the large subset, 0.672 on the full set",
        questions=(
            Arithmetic(
                "ROC-AUC: full set minus subset",
                arithmetic.survived,
                "published figures; independent cases, a fifth of each set held out (not given)",
                "little",
                DELTA["roc_auc"],
            ),
        ),
    ),
    Claim(
        "small to large",
        WORK,
        "What is learnt on the small subset transfers to the large set",
        SLIDES,
        "ROC-AUC 0.495 on the large subset before fine-tuning",
        questions=(
            explored(
                "ROC-AUC: warm-up alone minus chance",
                (Term(1.0, "roc_auc", stages.at_rate(stages.ALONE)),),
                "up",
                above=0.5,
            ),
        ),
    ),
    Claim(
        "PR-AUC",
        WORK,
        "PR-AUC tells more when positives are rare: it falls with them, which ROC-AUC cannot",
        "slides, evaluation; our reading of more informative",
        "in words alone",
        questions=(rarer(),),
    ),
    Claim(
        "accuracy",
        WORK,
        "Accuracy misleads: calling everybody negative reaches about 98 %",
        "slides, evaluation",
        "98 % at about 2 % positives",
        questions=(
            Arithmetic(
                "accuracy of all negative minus 98 %",
                arithmetic.nobody,
                "RSNA, counts",
                "little",
                DELTA["accuracy"],
            ),
        ),
    ),
    Claim(
        "balanced subsets",
        WORK,
        "The small and the large subset were balanced",
        "slides, data",
        "F1 0.66 at 85.7 % and 0.80 at 93.8 % accuracy, fine-tuned",
        questions=tuple(
            Arithmetic(
                f"share of positives minus one half, {name} subset",
                lambda name=name: arithmetic.balanced(name),
                "published F1 and accuracy, all that rounding and misses leave open",
                "little",
                DELTA["accuracy"],
            )
            for name in arithmetic.PUBLISHED
        ),
    ),
    Claim(
        "256 pixels",
        WORK,
        "256 pixels suffice",
        "implied by their use",
        "used, not compared",
        questions=(
            pixels("masses", ("circumscribed", "lobulated", "spiculated")),
            pixels("calcifications", ("round_calcifications", "fine_linear_calcifications")),
        ),
        missing="networks trained at 256 and at 512 pixels in paired seeds; "
        "the matched filter has one run a size",
    ),
    Claim(
        "external",
        WORK,
        "What is learnt at one place holds at another",
        SLIDES,
        "one accuracy on INbreast",
        questions=(elsewhere(),),
    ),
    Claim(
        "INbreast",
        WORK,
        "82.2 % on INbreast is more than calling everybody negative reaches",
        SLIDES,
        "accuracy 82.2 %",
        questions=(
            Arithmetic(
                "accuracy: published minus all negative",
                arithmetic.beyond_nobody,
                "INbreast, counts; limits: positive from BI-RADS 3 or from 5 (the rule is not given)",
                "up",
                DELTA["accuracy"],
            ),
        ),
    ),
    *maps.CLAIMS,
)
