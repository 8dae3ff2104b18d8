"""Features of pictures that the perceptual and style losses compare: VGG19 (Simonyan and Zisserman, 2015).

Attribute names are torchvision's: the user's ``vgg19-dcbb9e9d.pth`` fits. Weights at random keep enough of a picture to
compare by (a random projection), for tests and for training without the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

#: Convolutions of the five stages; a 2x2 pool stands between stages.
STAGES = (2, 2, 4, 4, 4)
CHANNELS = (64, 128, 256, 512, 512)
#: Layers whose outputs are compared: relu1_1, relu2_1, relu3_1, relu4_1, relu5_1.
TAPS = (1, 6, 11, 20, 29)
#: ImageNet's mean and spread, which the weights expect to be taken out.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG19(nn.Module):
    """Trunk of VGG19 up to relu5_1, frozen, in eval mode.

    Args:
        channels: of the five stages; torchvision's weights have the default.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        cin = 3
        for stage, (count, cout) in enumerate(zip(STAGES, channels, strict=True)):
            for _ in range(count):
                layers += [nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU()]
                cin = cout
            if stage < len(STAGES) - 1:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[: TAPS[-1] + 1])
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(B, 3, H, W) RGB 0..1, 16 pixels a side or more -> the maps of `TAPS`, (B, C, H', W') each."""
        x, found = (pictures - self.mean) / self.std, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in TAPS:
                found.append(x)
        return found

    def train(self, mode: bool = True) -> VGG19:
        """Stay in eval mode, whatever is asked."""
        return super().train(False)


def vgg19(state: Mapping[str, Tensor]) -> VGG19:
    """Build `VGG19` with torchvision's weights; layers behind relu5_1 and the classifier are not read.

    Args:
        state: the content of ``vgg19-dcbb9e9d.pth``.

    Raises:
        RuntimeError: weights are missing or of another shape.
    """
    network = VGG19()
    network.load_state_dict({key: state[key] for key in network.state_dict() if key in state}, strict=True)
    return network


def random_features(seed: int = 0, channels: Sequence[int] = (16, 24, 32, 48, 48)) -> VGG19:
    """Build `VGG19` with random weights that keep the spread of what passes through them.

    Args:
        seed: the same one gives the same weights on every machine.
        channels: of the five stages.
    """
    network, generator = VGG19(channels), torch.Generator().manual_seed(seed)
    for layer in network.features:
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels * 9
            layer.weight.data.normal_(0.0, (2 / fan_in) ** 0.5, generator=generator)
            layer.bias.data.zero_()  # type: ignore[union-attr]
    return network
