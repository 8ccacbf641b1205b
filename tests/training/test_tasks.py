import numpy as np
import pytest
import torch
from torch import nn

from mammo_utils.data.batches import Batch
from mammo_utils.training import losses, tasks


def segmentation_batches(sizes=(3, 2), height=6, width=5, seed=0):
    """Bright pixels are dense, all but the dark ones breast; the first image has no dense tissue."""
    generator = torch.Generator().manual_seed(seed)
    batches, row = [], 0
    for size in sizes:
        image = torch.rand(size, 1, height, width, generator=generator)
        if row == 0:
            image[0] *= 0.6
        rows = torch.arange(row, row + size)
        batches.append(Batch(image, (image > 0.6).float(), (image > 0.2).float(), rows // 2, rows))
        row += size
    return batches


def score_batches(logits, target, size):
    """Batches whose images hold the logit that the model `Mean` gives back."""
    image = torch.tensor(logits, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    rows = torch.arange(len(image))
    whole = Batch(image, torch.tensor(target), torch.ones_like(image), rows // 2, rows)
    return [Batch(*part) for part in zip(*(x.split(size) for x in whole), strict=True)]


class Mean(nn.Module):
    def __init__(self, column=False):
        super().__init__()
        self.column = column

    def forward(self, image):
        return image.mean((2, 3)) if self.column else image.mean((1, 2, 3))


def segmenter(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(8, 2, 1)
    )


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def bce_and_dice(z, t):
    p = sigmoid(z)
    cross_entropy = -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))
    return cross_entropy + np.mean(
        [1 - (2 * np.sum(a * b) + 1) / (a.sum() + b.sum() + 1) for a, b in zip(p, t, strict=True)]
    )


def test_segmentation_adds_the_breast_channel_to_the_loss_of_dense_tissue():
    (batch,) = segmentation_batches((3,))
    model = segmenter().eval()
    dense, breast = model(batch.image).detach().double().numpy().transpose(1, 0, 2, 3)
    target, area = batch.target[:, 0].double().numpy(), batch.breast[:, 0].double().numpy()
    dense_part, breast_part = bce_and_dice(dense, target), bce_and_dice(breast, area)
    for weight in (0.0, 1.0, 2.5):
        value = tasks.segmentation(breast_weight=weight)(model, batch)
        assert value.shape == ()
        assert value.item() == pytest.approx(dense_part + weight * breast_part, rel=1e-5)
    # The breast of the batch reaches the loss, and so do its options.
    p = sigmoid(dense)
    error = [abs(np.sum((a - t) * b)) / b.sum() for a, t, b in zip(p, target, area, strict=True)]
    value = tasks.segmentation(losses.hybrid_density, lam=3)(model, batch)
    assert value.item() == pytest.approx(dense_part + breast_part + 3 * np.mean(error), rel=1e-5)


@pytest.mark.parametrize("name", ["bce", "dice", "bce_dice", "focal", "tversky", "hybrid_density"])
def test_every_loss_teaches_a_small_network(name):
    batches = segmentation_batches((6, 6), 8, 8)
    model = segmenter()
    before = tasks.dice(model, batches)
    task = tasks.segmentation(name)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        for batch in batches:
            optimizer.zero_grad()
            task(model, batch).backward()
            optimizer.step()
    found = tasks.predict(model, batches)
    assert tasks.dice(model, batches) > max(0.85, before)
    assert ((found.breast > 0.5) == found.breast_target).mean() > 0.9


def test_a_name_stands_for_its_loss_and_a_wrong_one_lists_them():
    (batch,) = segmentation_batches((2,))
    model = segmenter().eval()
    by_name, by_function = (tasks.segmentation(x)(model, batch) for x in ("tversky", losses.tversky))
    assert by_name.item() == by_function.item()
    for task in (tasks.segmentation, tasks.classification):
        with pytest.raises(ValueError, match="unknown loss 'jaccard'.*hybrid_density"):
            task("jaccard")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_segmenter_has_two_channels(channels):
    (batch,) = segmentation_batches((2,))
    model = nn.Conv2d(1, channels, 1)
    with pytest.raises(ValueError, match=r"\(N, 2, H, W\), dense and breast, not \(2, "):
        tasks.segmentation()(model, batch)
    with pytest.raises(ValueError, match=r"\(N, 2, H, W\)"):
        tasks.predict(model, [batch])


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("target", [[1, 0, 0], [1.0, 0.0, 0.0]])
def test_classification_weighs_positives(column, target):
    logits = [-1.0, 2.0, 0.0]
    (batch,) = score_batches(logits, target, 3)
    p = sigmoid(np.array(logits))
    expected = -(5 * np.log(p[0]) + np.log(1 - p[1]) + np.log(1 - p[2])) / 3
    value = tasks.classification(pos_weight=5)(Mean(column), batch)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_a_classifier_has_one_logit():
    (batch,) = score_batches([0.0, 1.0], [0, 1], 2)
    two = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"one logit an image.*not \(2, 2\)"):
        tasks.classification()(two, batch)
    with pytest.raises(ValueError, match="one logit an image"):
        tasks.auc(two, [batch])


def test_predict_gives_every_image_in_order():
    batches = segmentation_batches((3, 2, 1))
    model = segmenter()
    found = tasks.predict(model, batches)
    whole = Batch(*map(torch.cat, zip(*batches, strict=True)))
    with torch.no_grad():
        expected = model.eval()(whole.image).double().sigmoid().numpy()
    np.testing.assert_allclose(found.dense, expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(found.breast, expected[:, 1], rtol=1e-5)
    np.testing.assert_array_equal(found.target, whole.target[:, 0].numpy() == 1)
    np.testing.assert_array_equal(found.breast_target, whole.breast[:, 0].numpy() == 1)
    assert found.row.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.patient.tolist() == [0, 0, 1, 1, 2, 2]
    assert [x.dtype for x in found] == [np.float32, np.float32, bool, bool, np.int64, np.int64]


def test_predict_leaves_the_model_as_it_was():
    batches = segmentation_batches()
    model = segmenter().train()
    model[1].eval()  # a normalisation layer that fine-tuning keeps frozen
    state = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = tasks.predict(model, batches), tasks.predict(model, batches)
    np.testing.assert_array_equal(first.dense, second.dense)  # no dropout
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    tasks.segmentation()(model, batches[0]).backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_what_batches_keep_from_a_pass_can_be_trained_on():
    class Kept:
        """Batches that are made during the first pass over them, as those that stay on a device are."""

        made = None

        def __iter__(self):
            self.made = self.made or segmentation_batches()
            return iter(self.made)

    model, batches = segmenter(), Kept()
    tasks.predict(model, batches)
    tasks.segmentation()(model, batches.made[0]).backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_a_failed_pass_restores_mode_and_gradients_too():
    model = segmenter().train()
    batches = segmentation_batches()
    broken = batches[1]._replace(image=torch.zeros(2, 3, 6, 5))
    with pytest.raises(RuntimeError) as kept:  # the traceback keeps the frames alive
        tasks.predict(model, [batches[0], broken])
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()
    assert kept.tb is not None


def test_precision_lowers_the_pass_and_not_the_result(monkeypatch):
    batches, model = segmentation_batches(), segmenter()
    full, half = (tasks.predict(model, batches, precision=p).dense for p in ("32-true", "bf16-mixed"))
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=0.02)
    assert not np.array_equal(half, full)
    monkeypatch.setenv("MAMMO_PRECISION", "bf16-mixed")
    np.testing.assert_array_equal(tasks.predict(model, batches, precision="auto").dense, half)
    with pytest.raises(ValueError, match="unknown precision '8-bit'.*32-true, bf16-mixed, 16-mixed"):
        tasks.predict(model, batches, precision="8-bit")


@pytest.mark.parametrize("call", [tasks.predict, tasks.predict_scores, tasks.dice, tasks.auc])
def test_no_batches_are_refused(call):
    with pytest.raises(ValueError, match="no batches"):
        call(segmenter(), [])


def test_dice_is_the_mean_over_images_whatever_the_batches():
    batches, model, values = segmentation_batches((4, 1)), nn.Conv2d(1, 2, 1), []
    nn.init.ones_(model.weight)
    nn.init.constant_(model.bias, -0.4)  # calls more than is dense
    for batch in batches:
        for image, target in zip(batch.image, batch.target, strict=True):
            called = (model(image[None])[0, 0] >= 0).tolist()
            truth = (target[0] == 1).tolist()
            both = sum(a and b for x, y in zip(called, truth, strict=True) for a, b in zip(x, y, strict=True))
            total = sum(map(sum, called)) + sum(map(sum, truth))
            values.append(2 * both / total if total else 1)
    by_batch = (np.mean(values[:4]) + values[4]) / 2
    assert abs(np.mean(values) - by_batch) > 0.02
    assert tasks.dice(model, batches) == pytest.approx(np.mean(values))


def test_an_empty_mask_that_is_left_empty_counts_as_agreement():
    (batch,) = segmentation_batches((1,))
    model = nn.Conv2d(1, 2, 1)
    nn.init.zeros_(model.weight)
    assert not batch.target.any()
    for bias, expected in ((-1.0, 1.0), (1.0, 0.0)):
        nn.init.constant_(model.bias, bias)
        assert tasks.dice(model, [batch]) == expected


def test_auc_counts_pairs_and_knows_logits_that_saturate():
    logits, target = [200.0, 150.0, -3.0, 0.5, 0.5], [1, 0, 0, 1, 0]
    batches = score_batches(logits, target, 2)
    # Pairs won by the positives: 200 beats three; 0.5 beats -3, ties 0.5, loses to 150.
    assert tasks.auc(Mean(), batches) == pytest.approx((3 + 1.5) / 6)
    found = tasks.predict_scores(Mean(column=True), batches)
    np.testing.assert_allclose(found.probability, sigmoid(np.array(logits)), rtol=1e-6)
    assert found.logit.tolist() == logits
    assert (found.target.tolist(), found.row.tolist()) == (target, [0, 1, 2, 3, 4])
    assert np.isnan(tasks.auc(Mean(), batches[2:]))
