"""Reading of safetensors files: the header's length in eight bytes, the header as JSON, the tensors one after the other."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import torch

from retalk_models.registry.errors import WeightsError

#: Types of tensors by their names in the header.
TYPES = {
    "F32": torch.float32,
    "F64": torch.float64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return a file's tensors on the CPU, and the texts of its ``__metadata__``.

    The file is mapped: tensors are read from it as they are used, and what is written to them does not reach it.

    Raises:
        WeightsError: damaged, or it holds types that networks here do not have; names the file and the tensor.
    """
    content = np.memmap(path, np.uint8, "c") if path.stat().st_size else np.zeros(0, np.uint8)
    name = "header"
    try:
        (length,) = struct.unpack("<Q", content[:8].tobytes())
        if 8 + length > len(content):
            raise ValueError("it is cut short")
        header = json.loads(content[8 : 8 + length].tobytes())
        metadata = header.pop("__metadata__", {})
        tensors = {}
        for name, entry in header.items():
            dtype, shape, (start, stop) = TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
            if (
                stop - start != math.prod(shape) * dtype.itemsize
                or not 0 <= start <= stop <= len(content) - 8 - length
            ):
                raise ValueError("its bytes are not all there")
            part = content[8 + length + start : 8 + length + stop]
            if part.ctypes.data % dtype.itemsize:  # a tensor's first byte may lie anywhere
                part = part.copy()
            tensors[name] = torch.from_numpy(part).view(dtype).reshape(shape)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as problem:
        raise WeightsError(
            f"{path}: cannot be read as safetensors: {name}: {problem}", [path.name]
        ) from problem
    return tensors, metadata
