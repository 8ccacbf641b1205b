"""What a processor is spared in mixed precision."""

import copy

import pytest
import torch
from torch import nn

from mammo_utils.training.devices import launch, strided_in_float32


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.strided = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
        self.dense = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        self.seen = [x := layer(x) for layer in (self.stem, self.strided, self.dense)]
        return x


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network()


def types(network, image):
    network(image)
    return [value.dtype for value in network.seen]


def test_only_strided_depthwise_convolutions_stay_in_float32(network):
    image, half, single = torch.rand(2, 1, 8, 8), torch.bfloat16, torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        with strided_in_float32(network, launch("bf16-mixed")):
            assert types(network, image) == [half, single, half]
        assert types(network, image) == [half, half, half]
    with torch.autocast("cpu", torch.bfloat16), strided_in_float32(network, launch("32-true")):
        assert types(network, image) == [half, half, half]
    with strided_in_float32(network, launch("bf16-mixed")):
        assert types(network, image) == [single, single, single]


def test_its_gradient_is_that_of_float32(network):
    other = copy.deepcopy(network)
    x = torch.rand(2, 4, 8, 8).bfloat16()
    with strided_in_float32(network, launch("bf16-mixed")), torch.autocast("cpu", torch.bfloat16):
        network.strided(x).sum().backward()
    other.strided(x.float()).sum().backward()
    assert torch.equal(network.strided.weight.grad, other.strided.weight.grad)


def test_a_failure_inside_leaves_mixed_precision_as_it_was(network):
    with torch.autocast("cpu", torch.bfloat16), strided_in_float32(network, launch("bf16-mixed")):
        with pytest.raises(RuntimeError):
            network.strided(torch.rand(2, 3, 8, 8))
        assert torch.is_autocast_enabled("cpu")
