"""The encoder that learns to outline lesions: from whom, what it keeps, and that it is made once."""

import numpy as np
import pytest
import torch

from mammo_utils.models import weights
from mammo_utils.models.classification import build
from mammo_utils.study import encoder_file, outlined, screened, screening
from mammo_utils.synth import breast


@pytest.fixture
def few(monkeypatch, tmp_path):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    monkeypatch.setitem(
        screened.WOMEN, "outlined", screened.WOMEN["outlined"]._replace(positive=4, negative=2)
    )
    monkeypatch.setitem(outlined.SETTINGS, "batch_size", 4)
    monkeypatch.setitem(outlined.SETTINGS, "budget", 16)
    return tmp_path / f"phantom_{breast.VERSION}" / "lesions"


@pytest.mark.slow
def test_the_encoder_of_a_classifier_is_made_once(few):
    settings = screening.arm(model="test_efficientnet", size=64)
    path = screening.initial(settings)
    assert path == few / "64" / "test_efficientnet_lesions.safetensors"
    before = path.stat().st_mtime_ns
    assert outlined.encoder("test_efficientnet", 64).stat().st_mtime_ns == before
    made = weights.made(path)
    assert made["settings"].items() >= {"size": 64, "budget": 16, "seed": 0}.items()
    assert made["images_through"] >= made["learnt_from"] > 0
    model = build("test_efficientnet", size=64, weights=path)
    torch.manual_seed(0)
    fresh = build("test_efficientnet", size=64)
    name = weights.stem(model.encoder)
    assert not torch.equal(model.encoder.get_parameter(name), fresh.encoder.get_parameter(name))


@pytest.mark.slow
def test_a_lesion_is_found_where_many_were_outlined(few):
    model, history, count = outlined.learn("test_efficientnet", 64, budget=600)
    assert history.rows[-1]["loss"] < history.rows[0]["loss"]
    images = screened.women("outlined", size=64)
    lesion = images.masks["lesion"]
    rows = np.flatnonzero(lesion.any((1, 2)))
    assert count == len(rows)
    with torch.no_grad():
        found = model(torch.from_numpy(images.images[rows].astype(np.float32))[:, None] / 65535)
    inside = lesion[rows].astype(bool)
    logit = found[:, 0].numpy() if found.shape[1] == 1 else found.numpy()[:, 0]
    breast_here = images.masks["foreground"][rows].astype(bool)
    assert logit[inside].mean() > logit[breast_here & ~inside].mean() + 0.5


def test_the_file_of_the_package_serves_where_its_settings_are_the_same(few, monkeypatch):
    ready = few / "ready.safetensors"
    ready.parent.mkdir(parents=True)
    model = build("test_efficientnet", size=64)
    settings = outlined.SETTINGS | {"model": "unet/test_efficientnet", "size": 64}
    settings |= {"women": list(screened.WOMEN["outlined"])}
    weights.save(model.encoder, ready, {"settings": settings})
    monkeypatch.setattr(encoder_file, "shipped", lambda name: ready)
    monkeypatch.setattr(outlined, "learnt", lambda model, size: "trained here")
    assert outlined.encoder("test_efficientnet", 64) == ready
    assert outlined.encoder("test_efficientnet", 96) == "trained here"
    monkeypatch.setitem(outlined.SETTINGS, "lr", 1e-3)
    assert outlined.encoder("test_efficientnet", 64) == "trained here"
