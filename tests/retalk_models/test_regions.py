"""Parts of pictures: the same numbers as the whole, for less work."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from retalk_models.inference.allocator import disable_malloc_trim
from retalk_models.layers.region import Region, View
from retalk_models.layers.stylegan2 import ResBlock, convolved
from retalk_models.networks.gfpgan import Condition, parts_of
from tests.parity import assert_close
from tests.retalk_models.recipe import Subject

MOUTH = Region(304, 464, 144, 368)


def cut(x: torch.Tensor, region: Region) -> torch.Tensor:
    return x[..., region.top : region.bottom, region.left : region.right]


@pytest.mark.parametrize("subject", ["gfpgan"], indirect=True)
def test_a_restored_mouth_is_the_mouth_of_the_restored_face(subject: Subject) -> None:
    torch.manual_seed(0)
    face = torch.rand(1, 3, 512, 512) * 2 - 1
    with torch.inference_mode():
        exact = subject.module(face, return_rgb=False)[0]
        part, _ = subject.module(face, return_rgb=False, region=MOUTH)
    assert_close("mouth", part.numpy(), cut(exact, MOUTH).numpy(), 1e-5)


@pytest.mark.parametrize("subject", ["parsenet"], indirect=True)
def test_labels_of_a_part_are_those_of_the_whole(subject: Subject) -> None:
    torch.manual_seed(0)
    face = torch.rand(1, 3, 160, 128) * 2 - 1
    with torch.inference_mode():
        exact = subject.module(face)[0]
        assert_close("all", subject.module.logits(face).numpy(), exact.numpy(), 1e-5)
        for region in (Region(50, 111, 20, 100), Region(0, 30, 77, 128)):
            assert_close(
                str(region), subject.module.logits(face, region).numpy(), cut(exact, region).numpy(), 1e-5
            )


@pytest.mark.parametrize(
    "region", [Region(21, 40, 30, 47), Region(0, 9, 55, 64), Region(62, 64, 1, 2), Region(0, 64, 0, 64)]
)
def test_parts_hold_what_convolutions_and_enlargements_look_at(region: Region) -> None:
    """A U-Net's way up and a decoder with made-up layers: were a part too small by one sample, its border
    would differ.
    """
    torch.manual_seed(0)
    with torch.inference_mode():
        size, levels = 64, 4
        blocks = [ResBlock(2, 2, up=True) for _ in range(levels)]
        conditions = [Condition(2) for _ in range(levels)]
        convs = [(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)) for _ in range(levels)]
        x = torch.rand(1, 2, size >> levels, size >> levels)

        def made(wanted: Region) -> torch.Tensor:
            features = picture = View.whole(x)
            decoder, unet = parts_of(wanted, levels, size)
            for block, condition, (first, second), drawn, conditioned in zip(
                blocks, conditions, convs, decoder, unet, strict=True
            ):
                features = block.part(features, conditioned)
                around = drawn.reached(1, features.height, features.width)
                bigger = picture.enlarged(around.reached(1, features.height, features.width))
                sum_ = convolved(bigger, first, around).of(around) + condition(features, around)
                picture = convolved(bigger._replace(x=sum_, seen=around), second, drawn).cut(drawn)
            return picture.of(wanted)

        assert_close(
            str(region), made(region).numpy(), cut(made(Region(0, size, 0, size)), region).numpy(), 1e-6
        )


def test_views_do_no_more_than_asked_for() -> None:
    """A region inside is convolved without padding; the picture's own border is padded."""
    picture, asked = torch.rand(1, 1, 20, 30), []

    def convolution(x: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
        asked.append((tuple(x.shape[-2:]), padding))
        return nn.functional.conv2d(x, torch.ones(1, 1, 3, 3), padding=padding)

    view, exact = View.whole(picture), nn.functional.conv2d(picture, torch.ones(1, 1, 3, 3), padding=1)
    for region in (Region(5, 8, 4, 10), Region(0, 4, 7, 9), Region(3, 20, 0, 30)):
        assert_close(
            str(region),
            view.convolved(convolution, region).of(region).numpy(),
            cut(exact, region).numpy(),
            1e-6,
        )
    assert asked == [((5, 30), (0, 0)), ((5, 30), (1, 0)), ((18, 30), (1, 1))]


def test_freed_memory_is_taken_again_without_asking_the_system() -> None:
    program = (
        "import ctypes, resource\n"
        "from retalk_models.inference.allocator import disable_malloc_trim\n"
        "c = ctypes.CDLL(None)\n"
        "c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(8): c.free(ctypes.memset(c.malloc(1 << 26), 1, 1 << 26))\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "before, kept = faults(), disable_malloc_trim()\n"
        "faults()\n"
        "print(int(kept), before, faults())\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    kept, before, after = map(int, answer.split())
    assert kept == int(disable_malloc_trim())
    # Eight times 64 MiB: as glibc comes, each of their pages is asked for each time.
    assert not kept or after < 100 < before
