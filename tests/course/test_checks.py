import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.utils.flop_counter import FlopCounterMode

from mammo_utils.course import answers, checks
from mammo_utils.evaluation.intervals import paired_t
from mammo_utils.models import lora


def tells_apart(check, right, wrong, capsys):
    check(right)
    check(wrong)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("right: ")
    assert second.startswith("not yet: ")


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        (1.0, 1, "right: it"),
        (np.float32(0.1), 0.1, "right: it"),
        ([1, 2], np.array([1, 2]), "right: it"),
        (np.nan, np.nan, "right: it"),
        ("CC", "CC", "right: it"),
        ({"L", "R"}, {"R", "L"}, "right: it"),
        (None, 1, "your turn: it has no answer yet. Hint: look"),
        (..., "CC", "your turn: it has no answer yet. Hint: look"),
        (1.01, 1, "not yet: it is 1.01, not 1. Hint: look"),
        ("1", 1, "not yet: it is of type str; numbers are wanted. Hint: look"),
        ("MLO", "CC", "not yet: it is MLO, not CC. Hint: look"),
        (1, "CC", "not yet: it is 1, not CC. Hint: look"),
        (np.zeros((2, 3)), np.zeros((3, 2)), "not yet: it has shape (2, 3), not (3, 2). Hint: look"),
        (np.array([1, 2, 4]), np.array([1, 2, 3]), "not yet: it differs in 1 of 3 places. Hint: look"),
        ([[1], [2, 3]], 1, "not yet: it is of type list; numbers are wanted. Hint: look"),
    ],
)
def test_an_answer_is_judged_in_words(got, expected, words, capsys):
    answers.compare("it", got, expected, hint="look")
    assert capsys.readouterr().out == words + "\n"


def test_tolerance_is_absolute(capsys):
    answers.compare("it", 100.4, 100, hint="", atol=0.5)
    answers.compare("it", 100.6, 100, hint="", atol=0.5)
    first, second = capsys.readouterr().out.splitlines()
    assert (first[:5], second[:7]) == ("right", "not yet")


def fails(x):
    raise KeyError("view")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x * 2, "right: double"),
        (lambda x: x + 2, "not yet: double(5) is 7, not 10. Hint: look"),
        (lambda x: ..., "your turn: double returns nothing yet. Hint: look"),
        (lambda x: None, "your turn: double returns nothing yet. Hint: look"),
        (fails, "not yet: double raised KeyError: 'view'. Hint: look"),
        (..., "your turn: double has no answer yet. Hint: look"),
    ],
)
def test_a_function_is_judged_by_its_cases(answer, words, capsys):
    answers.function("double", answer, [((2,), 4), ((5,), 10)], hint="look")
    assert capsys.readouterr().out == words + "\n"


def test_an_answer_that_changes_its_input_does_not_spoil_the_next_case(capsys):
    image = np.ones(3)

    def answer(x):
        x *= 2
        return x

    answers.function("it", answer, [((image,), [2, 2, 2]), ((image,), [2, 2, 2])], hint="")
    assert capsys.readouterr().out == "right: it\n"
    assert (image == 1).all()


def counted(module, *shape):
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(*shape))
    return counter.get_total_flops()


def test_operations_of_notebook_03_are_those_that_torch_counts(capsys):
    def convolution(height, width, inside, outside, kernel):
        layer = torch.nn.Conv2d(inside, outside, kernel, padding=kernel // 2)
        return counted(layer, 1, inside, height, width)

    def attention(tokens, width):
        def products(x):
            return (x @ x.transpose(1, 2)).softmax(-1) @ x

        return counted(products, 1, tokens, width)

    checks.e03_convolution(convolution)
    checks.e03_attention(attention)
    doubled = convolution(64, 64, 8, 8, 3) / convolution(32, 32, 8, 8, 3), attention(64, 8) / attention(16, 8)
    checks.e03_growth(doubled)
    checks.e03_growth((16, 4))
    checks.e03_convolution(lambda h, w, inside, outside, k: h * w * inside * outside * k * k)
    checks.e03_attention(lambda tokens, width: 4 * tokens * width)
    lines = capsys.readouterr().out.splitlines()
    right, wrong = lines[:3], lines[3:]
    assert right == ["right: convolution", "right: attention", "right: growth"]
    assert all(line.startswith("not yet") for line in wrong)


def test_the_paired_interval_of_notebook_03_is_the_package_s(capsys):
    checks.e03_paired_interval(lambda first, second: np.array(paired_t(second - first)))
    checks.e03_paired_interval(lambda first, second: np.array(paired_t(first - second)))
    right, wrong = capsys.readouterr().out.splitlines()
    assert right == "right: paired_interval"
    assert wrong.startswith("not yet")


def test_the_area_ratio_of_notebook_03_is_sensitivity_over_precision(capsys):
    checks.e03_area_ratio(lambda sensitivity, precision: sensitivity / precision)
    checks.e03_area_ratio(lambda sensitivity, precision: precision / sensitivity)
    right, wrong = capsys.readouterr().out.splitlines()
    assert right == "right: area_ratio"
    assert wrong.startswith("not yet")


def loss_of_one(similarity, positive, temperature):
    logits = torch.tensor(similarity)[None] / temperature
    return torch.nn.functional.cross_entropy(logits, torch.tensor([positive])).item()


def relations(woman, side):
    def one(i, j):
        if woman[i] != woman[j]:
            return -1
        return int(i != j and side[i] == side[j])

    return np.array([[one(i, j) for j in range(len(woman))] for i in range(len(woman))])


def in_pool(image, woman, labelled):
    return ~np.isin(woman, woman[np.isin(image, labelled)])


def worth(labels, dice, reached, scale=np.log2):
    above = min(max(np.searchsorted(dice, reached), 1), len(dice) - 1)
    share = np.clip((reached - dice[above - 1]) / (dice[above] - dice[above - 1]), 0, 1)
    ends = scale(labels[above - 1 : above + 1])
    found = ends[0] + share * (ends[1] - ends[0])
    return 2**found if scale is np.log2 else found


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.e04_loss, loss_of_one, lambda s, positive, t: loss_of_one(s * t, positive, t)),
        (checks.e04_loss, loss_of_one, lambda s, positive, t: loss_of_one(s, 0, t)),
        (
            checks.e04_loss,  # without the other version below the line
            loss_of_one,
            lambda s, positive, t: -s[positive] / t + np.log(np.exp(np.delete(s, positive) / t).sum()),
        ),
        (checks.e04_relations, relations, lambda woman, side: relations(woman, np.zeros(len(side)))),
        (checks.e04_relations, relations, lambda woman, side: relations(woman, side) + np.eye(len(side))),
        (checks.e04_relations, relations, lambda woman, side: relations(np.char.add(woman, side), side)),
        (checks.e04_pool, in_pool, lambda image, woman, labelled: ~np.isin(image, labelled)),
        (checks.e04_pool, in_pool, lambda *given: ~in_pool(*given)),
        (checks.e04_worth, worth, lambda *given: worth(*given, scale=np.asarray)),
        (checks.e04_worth, worth, lambda labels, dice, reached: labels[np.abs(dice - reached).argmin()]),
    ],
)
def test_checks_of_self_supervision_tell_right_from_wrong(check, right, wrong, capsys):
    tells_apart(check, right, wrong, capsys)


def tversky(p, t, alpha, beta):
    return 1 - ((p * t).sum() + 1) / ((p * t + alpha * p * (1 - t) + beta * (1 - p) * t).sum() + 1)


def soft_density(p, breast):
    return 100 * p[breast].mean()


def adapter(outputs, inputs, kernel, groups, rank):
    layer = torch.nn.Conv2d(inputs, outputs, kernel, groups=groups)
    lora.add(layer, rank=rank)
    return sum(p.numel() for one in lora.adapters(layer).values() for p in one.parameters())


def rates(parts, lr, decay):
    return [lr / decay**above for above in range(parts)][::-1]


def merged(weight, a, b, alpha, rank=None):
    return weight + alpha / (rank or len(a)) * (b @ a).reshape(weight.shape)


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.e05_adapter, adapter, lambda o, i, kernel, groups, rank: rank * (o + i * kernel**2)),
        (checks.e05_adapter, adapter, lambda o, i, kernel, groups, rank: rank * (o + i // groups * kernel)),
        (checks.e05_rates, rates, lambda *given: rates(*given)[::-1]),
        (checks.e05_rates, rates, lambda parts, lr, decay: rates(parts, lr / decay, decay)),
        (checks.e05_merged, merged, lambda w, a, b, alpha: merged(w, a, b, alpha, rank=1)),
        (checks.e05_merged, merged, lambda w, a, b, alpha: merged(w, a, b, alpha, rank=len(b))),
        (checks.e05_merged, merged, lambda w, a, b, alpha: merged(w, a, b, alpha).reshape(len(w), -1)),
    ],
)
def test_checks_of_fine_tuning_tell_right_from_wrong(check, right, wrong, capsys):
    tells_apart(check, right, wrong, capsys)


def each_breast(called, t, breast):
    return np.array([(c * 1.0 - own)[b].mean() for c, own, b in zip(called, t, breast, strict=True)])


def bias(called, t, breast):
    return abs(each_breast(called, t, breast).mean())


def lowest_error(called, t, breast):
    return abs(each_breast(called, t, breast)).mean()


def of_all_pixels(called, t, breast):
    return abs((called * 1.0 - t)[breast].mean())


def unbiased_cut(p, t, breast, cuts, how=bias):
    return cuts[np.argmin([how(p >= cut, t, breast) for cut in cuts])]


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.e06_tversky, tversky, lambda p, t, alpha, beta: tversky(p, t, beta, alpha)),
        (checks.e06_tversky, tversky, lambda p, t, alpha, beta: tversky(p, t, 0.5, 0.5)),
        (checks.e06_soft_density, soft_density, lambda p, breast: 100 * p.sum() / breast.sum()),
        (checks.e06_soft_density, soft_density, lambda p, breast: soft_density(1.0 * (p >= 0.5), breast)),
        (checks.e06_unbiased_cut, unbiased_cut, lambda p, t, breast, cuts: cuts[1]),
        (checks.e06_unbiased_cut, unbiased_cut, lambda p, t, breast, cuts: 0.6),
        (checks.e06_unbiased_cut, unbiased_cut, lambda *given: unbiased_cut(*given, how=lowest_error)),
        (checks.e06_unbiased_cut, unbiased_cut, lambda *given: unbiased_cut(*given, how=of_all_pixels)),
        (
            checks.e06_unbiased_cut,
            unbiased_cut,
            lambda p, t, breast, cuts: unbiased_cut(p, t, np.ones_like(breast), cuts),
        ),
    ],
)
def test_checks_of_the_losses_tell_right_from_wrong(check, right, wrong, capsys):
    tells_apart(check, right, wrong, capsys)


def pf1(probability, label):
    return 2 * (probability * label).sum() / (probability.sum() + label.sum())


def crowd(sensitivity, specificity, prevalence):
    sick = 1000 * prevalence
    return np.array([sick * sensitivity + (1000 - sick) * (1 - specificity), sick * (1 - sensitivity)])


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.e07_pf1, pf1, lambda p, y: (p * y).sum() / (p.sum() + y.sum())),
        (checks.e07_pf1, pf1, lambda p, y: pf1(p >= 0.5, y)),
        (checks.e07_pf1, pf1, lambda p, y: 2 * (p * y).sum() / p.sum()),
        (checks.e07_pos_weight, lambda n, k: (n - k) / k, lambda n, k: n / k),
        (checks.e07_pos_weight, lambda n, k: (n - k) / k, lambda n, k: 46.2),
        (checks.e07_crowd, crowd, lambda s, c, p: crowd(s, 1 - c, p)),
        (checks.e07_crowd, crowd, lambda s, c, p: np.array([1000 * p * s, 1000 * p * (1 - s)])),
        (checks.e07_crowd, crowd, lambda s, c, p: crowd(s, c, p)[::-1]),
    ],
)
def test_checks_of_screening_tell_right_from_wrong(check, right, wrong, capsys):
    tells_apart(check, right, wrong, capsys)


def grad_cam(activations, gradients):
    return np.maximum(np.einsum("c,chw->hw", gradients.mean((1, 2)), activations), 0)


def likeness(one, other, breast):
    return spearmanr(one[breast], other[breast])[0]


def energy(heat, lesion):
    return heat[lesion].sum() / heat.sum()


def case(name):
    return name.split("-")[2].rstrip("ABCDEFG")


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.e08_grad_cam, grad_cam, lambda a, g: np.maximum((g * a).sum(0), 0)),
        (checks.e08_grad_cam, grad_cam, lambda a, g: np.einsum("c,chw->hw", g.mean((1, 2)), a)),
        (checks.e08_energy, energy, lambda heat, lesion: heat[lesion].sum()),
        (checks.e08_energy, energy, lambda heat, lesion: lesion.mean()),
        (checks.e08_likeness, likeness, lambda one, other, b: spearmanr(one.ravel(), other.ravel())[0]),
        (checks.e08_likeness, likeness, lambda one, other, b: np.corrcoef(one[b], other[b])[0, 1]),
        (checks.e08_chance, lambda m, b: (m & b).sum() / b.sum(), lambda m, b: m.sum() / b.sum()),
        (checks.e08_chance, lambda m, b: (m & b).sum() / b.sum(), lambda m, b: m.mean()),
        (checks.e09_density, lambda v, i: -np.log((v + 1) / i), lambda v, i: -np.log10((v + 1) / i)),
        (checks.e09_density, lambda v, i: -np.log((v + 1) / i), lambda v, i: -np.log((v + 1) / 240)),
        (checks.e09_case, case, lambda name: name.split("-")[2]),
        (checks.e09_case, case, lambda name: f"{name.split('-')[1]}-{case(name)}"),
        (checks.e09_gate, lambda c, h: 2 * c * h + c + h, lambda c, h: 2 * c * h),
        (checks.e09_gate, lambda c, h: 2 * c * h + c + h, lambda c, h: c * h + c + h),
    ],
)
def test_checks_of_maps_and_histology_tell_right_from_wrong(check, right, wrong, capsys):
    tells_apart(check, right, wrong, capsys)


def verdict(low, high, delta):
    return "not supported" if high < delta else "supported" if low > 0 else "inconclusive"


def wide(low, high, delta):
    return "supported" if low > 0 else "not supported" if high < delta else "inconclusive"


def cheapest(minutes, error, delta):
    return np.where(error <= error.min() + delta, minutes, np.inf).argmin()


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.e10_verdict, verdict, wide),
        (checks.e10_verdict, verdict, lambda low, high, delta: verdict(low - delta, high, delta)),
        (checks.e10_interaction, lambda n, a, b, ab: ab - a - b + n, lambda n, a, b, ab: ab - n),
        (checks.e10_interaction, lambda n, a, b, ab: (ab - a) - (b - n), lambda n, a, b, ab: a + b - n - ab),
        (checks.e10_cheapest, cheapest, lambda minutes, error, delta: minutes.argmin()),
        (checks.e10_cheapest, cheapest, lambda minutes, error, delta: error.argmin()),
    ],
)
def test_checks_of_the_recipe_tell_right_from_wrong(check, right, wrong, capsys):
    tells_apart(check, right, wrong, capsys)
