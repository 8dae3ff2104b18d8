"""Parts of pictures: the same numbers as the whole, for less work."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from retalk_models.gfpgan import parts_of
from retalk_models.layers.window import Window, whole
from retalk_models.memory import keep_freed_memory
from tests.parity import assert_close
from tests.retalk_models.recipe import Subject

MOUTH = Window(304, 464, 144, 368)


def cut(x: torch.Tensor, window: Window) -> torch.Tensor:
    return x[..., window.top : window.bottom, window.left : window.right]


@pytest.mark.parametrize("subject", ["gfpgan"], indirect=True)
def test_a_restored_mouth_is_the_mouth_of_the_restored_face(subject: Subject) -> None:
    torch.manual_seed(0)
    face = torch.rand(1, 3, 512, 512) * 2 - 1
    with torch.inference_mode():
        exact = subject.module(face, return_rgb=False)[0]
        part, _ = subject.module(face, return_rgb=False, window=MOUTH)
    assert_close("mouth", part.numpy(), cut(exact, MOUTH).numpy(), 1e-5)


@pytest.mark.parametrize("subject", ["parsenet"], indirect=True)
def test_labels_of_a_part_are_those_of_the_whole(subject: Subject) -> None:
    torch.manual_seed(0)
    face = torch.rand(1, 3, 160, 128) * 2 - 1
    with torch.inference_mode():
        exact = subject.module(face)[0]
        assert_close("all", subject.module.logits(face).numpy(), exact.numpy(), 1e-5)
        for window in (Window(50, 111, 20, 100), Window(0, 30, 77, 128)):
            assert_close(str(window), subject.module.logits(face, window).numpy(), cut(exact, window).numpy(), 1e-5)


def test_parts_hold_what_convolutions_and_enlargements_look_at() -> None:
    """A chain of the same shape with made-up layers: were a part too small by one sample, its border would differ."""
    torch.manual_seed(0)
    steps = nn.ModuleList(nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), *convs(2)) for _ in range(4))
    for window in (Window(21, 40, 30, 47), Window(0, 9, 55, 64), Window(0, 64, 0, 64)):
        decoder, unet = parts_of(window, 4, 64)
        x = torch.rand(1, 2, 4, 4)
        y, seen = x, whole(x)
        for step, part in zip(steps, decoder, strict=True):
            x, y, seen = step(x), step(part.halved().of(y, seen)), part
        assert_close(str(window), window.of(y, seen).detach().numpy(), cut(x, window).detach().numpy(), 1e-6)
        assert all(small.joined(large) == large for small, large in zip(decoder, unet, strict=True))
    assert unet[-1] == whole(x)


def convs(count: int) -> list[nn.Module]:
    return [nn.Conv2d(2, 2, 3, padding=1) for _ in range(count)]


def test_freed_memory_is_taken_again_without_asking_the_system() -> None:
    program = (
        "import ctypes, resource\n"
        "from retalk_models.memory import keep_freed_memory\n"
        "c = ctypes.CDLL(None)\n"
        "c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(8): c.free(ctypes.memset(c.malloc(1 << 26), 1, 1 << 26))\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "before, kept = faults(), keep_freed_memory()\n"
        "faults()\n"
        "print(int(kept), before, faults())\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    kept, before, after = map(int, answer.split())
    assert kept == int(keep_freed_memory())
    # Eight times 64 MiB: as glibc comes, each of their pages is asked for each time.
    assert not kept or after < 100 < before
