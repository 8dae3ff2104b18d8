"""The secret behind a watermark: everything pseudo-random about a mark is derived from it, with a label for each use."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

import numpy as np

#: Bytes of a secret.
KEY_BYTES = 32


@dataclass(frozen=True)
class MarkKey:
    """A secret of `KEY_BYTES` bytes. Its streams are SHAKE-256, so that they are the same on every machine and with every
    version of the libraries.

    Attributes:
        secret: never printed.

    Raises:
        ValueError: the secret has another length.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a watermark's key has {KEY_BYTES} bytes, not {len(self.secret)}")

    @property
    def name(self) -> str:
        """Eight hexadecimal digits that tell keys apart and give nothing away."""
        return self.digest("name").hex()[:8]

    def digest(self, label: str, content: bytes = b"") -> bytes:
        """32 bytes that depend on the key, a label and some content (HMAC-SHA-256)."""
        return hmac.digest(self.secret, label.encode() + b"\0" + content, "sha256")

    def words(self, label: str, count: int) -> np.ndarray:
        """uint32[count], uniform."""
        stream = hashlib.shake_256(self.digest(label)).digest(4 * count)
        return np.frombuffer(stream, "<u4").astype(np.uint32)

    def signs(self, label: str, count: int) -> np.ndarray:
        """float32[count] of -1 and 1."""
        return np.where(self.words(label, count) >> 31, 1, -1).astype(np.float32)

    def uniform(self, label: str, count: int) -> np.ndarray:
        """float64[count], from 0 inclusive to 1 exclusive."""
        return self.words(label, count) / 2.0**32

    def permutation(self, label: str, count: int) -> np.ndarray:
        """int64[count], the numbers below `count` in some order."""
        return np.argsort(self.words(label, count), kind="stable")


def dub_id(key: MarkKey, version: str) -> str:
    """The id of a dub: 16 hexadecimal digits that depend on the key and on the digest of all that decides the dub.

    The same dub gets the same id again after a kill, in a retry and on any machine.
    """
    return key.digest("dub", version.encode()).hex()[:16]
