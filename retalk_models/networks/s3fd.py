"""S3FD: raw face boxes at six scales on a VGG-16 trunk (Zhang et al., 2017).

Described in docs/networks.md#s3fd. Attribute names are the official checkpoint's keys
(``s3fd-619a316812.pth``, 65 entries).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Convolutions of each VGG stage; a 2x2 pool stands between stages.
STAGES = [(3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3)]
#: Maps with heads: channels and classes of each. The first has three background classes of which the best
#: counts.
HEADS = {
    "conv3_3_norm": (256, 4),
    "conv4_3_norm": (512, 2),
    "conv5_3_norm": (512, 2),
    "fc7": (1024, 2),
    "conv6_2": (512, 2),
    "conv7_2": (256, 2),
}


class L2Norm(nn.Module):
    """Channels scaled to unit length at each position, times ``weight``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = (
            x.float().square().sum(dim=1, keepdim=True).sqrt() + 1e-10
        )  # float32: squares leave half precision's range
        return (x / length).to(x.dtype) * self.weight[:, None, None].to(x.dtype)


class S3FD(nn.Module):
    """Face detector, 22.5 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        for i, (cin, cout, depth) in enumerate(STAGES, 1):
            for j in range(1, depth + 1):
                self.add_module(f"conv{i}_{j}", nn.Conv2d(cin if j == 1 else cout, cout, 3, padding=1))
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1 = nn.Conv2d(1024, 256, 1)
        self.conv6_2 = nn.Conv2d(256, 512, 3, stride=2, padding=1)
        self.conv7_1 = nn.Conv2d(512, 128, 1)
        self.conv7_2 = nn.Conv2d(128, 256, 3, stride=2, padding=1)
        for i, channels in ((3, 256), (4, 512), (5, 512)):
            self.add_module(f"conv{i}_3_norm", L2Norm(channels))
        for name, (channels, num_classes) in HEADS.items():
            self.add_module(f"{name}_mbox_conf", nn.Conv2d(channels, num_classes, 3, padding=1))
            self.add_module(f"{name}_mbox_loc", nn.Conv2d(channels, 4, 3, padding=1))

    def features(self, x: Tensor) -> list[Tensor]:
        """The six maps the heads look at, in the order of `HEADS`."""
        maps = []
        for i, (_, _, depth) in enumerate(STAGES, 1):
            for j in range(1, depth + 1):
                x = F.relu(self.get_submodule(f"conv{i}_{j}")(x))
            if i >= 3:
                maps.append(self.get_submodule(f"conv{i}_3_norm")(x))
            x = F.max_pool2d(x, 2)
        maps.append(F.relu(self.fc7(F.relu(self.fc6(x)))))
        maps.append(F.relu(self.conv6_2(F.relu(self.conv6_1(maps[-1])))))
        maps.append(F.relu(self.conv7_2(F.relu(self.conv7_1(maps[-1])))))
        return maps

    def forward(self, x: Tensor) -> list[Tensor]:
        """Raw maps of six scales, strides 4 to 128.

        Args:
            x: (B, 3, H, W) float 0..255 minus (104, 117, 123) on channels 0, 1, 2, in the colour order that
                the caller's reference feeds.

        Returns:
            Twelve float32 maps: classes (B, 2, h, w) before the softmax, background first, and boxes (B, 4,
                h, w), finest scale first.
        """
        outputs = []
        for name, feature in zip(HEADS, self.features(x)):
            classes = self.get_submodule(f"{name}_mbox_conf")(feature).float()
            if classes.shape[1] == 4:
                classes = torch.cat([classes[:, :3].amax(dim=1, keepdim=True), classes[:, 3:]], dim=1)
            outputs += [classes, self.get_submodule(f"{name}_mbox_loc")(feature).float()]
        return outputs
