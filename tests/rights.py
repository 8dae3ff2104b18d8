"""Rights of files for tests that run as root, which may read and write everything."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: rights of files do not hold for who has them (capabilities(7)).
BYPASS = (1 << 1) | (1 << 2)
#: _LINUX_CAPABILITY_VERSION_3, with two groups of three words.
VERSION = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Words(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def without_root() -> Iterator[None]:
    """Make this thread obey the rights of files, also as root. Skips the test where that is impossible."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, words = _Header(VERSION, 0), (_Words * 2)()
    if libc.capget(ctypes.byref(header), words) != 0:
        pytest.skip("root cannot give its rights away here")
    before = words[0].effective
    words[0].effective &= ~BYPASS
    if libc.capset(ctypes.byref(header), words) != 0:
        pytest.skip("root cannot give its rights away here")
    try:
        yield
    finally:
        words[0].effective = before
        assert libc.capset(ctypes.byref(header), words) == 0
