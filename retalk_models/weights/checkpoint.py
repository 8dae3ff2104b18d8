"""Reading of checkpoint files without running code from them.

Files are read with torch's ``weights_only`` unpickler, always. Checkpoints that nest objects beside their
tensors (numpy numbers, options of a training run) are read by the same unpickler with every unknown name
standing for an inert placeholder: nothing that the file names is imported or called, and only tensors are
taken out.
"""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from retalk_models.registry.errors import WeightsError
from retalk_models.weights.safetensors_format import read_safetensors

#: Modules that no checkpoint has a reason to name: a file that does is refused, although naming them would do
#: nothing here.
CODE_MODULES = {
    *(
        "os",
        "posix",
        "nt",
        "sys",
        "subprocess",
        "builtins",
        "__builtin__",
        "shutil",
        "socket",
        "importlib",
        "runpy",
        "pty",
        "ctypes",
    ),
    *("webbrowser", "commands", "code", "codeop", "pickle"),
}
#: Names of those modules that only hold data.
HARMLESS = {
    "builtins.set",
    "builtins.frozenset",
    "builtins.slice",
    "builtins.range",
    "builtins.complex",
    "builtins.bytearray",
    "builtins.object",
}
HARMLESS |= {name.replace("builtins", "__builtin__") for name in HARMLESS}
#: torch's list of safe names is global to the process.
_SAFE_NAMES_LOCK = threading.Lock()


def is_torchscript(path: Path) -> bool:
    """True if a file is a TorchScript archive, which holds code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") or name == "constants.pkl" for name in archive.namelist())


def _names_in(stream: Any) -> set[str]:
    """Names ("module.name") that the next pickle of a stream refers to, found without unpickling it."""
    names = set()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            names.add(str(argument).replace(" ", ".", 1))
        elif opcode.name == "STACK_GLOBAL":
            names.add("a name computed while unpickling")
    return names


def names_in_checkpoint(path: Path) -> set[str]:
    """All names that a checkpoint's pickle refers to, in torch's zip format or its older one."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            (record,) = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "data.pkl"]
            with archive.open(record) as stream:
                return _names_in(stream)
    names = set()
    with path.open("rb") as stream:
        for _ in range(4):  # magic number, protocol, system information, the object
            names |= _names_in(stream)
    return names


def _placeholder(name: str) -> type:
    """A class that takes the place of whatever ``name`` is: it can be made, called and filled, and does
    nothing.
    """

    def swallow(self: Any, *args: Any, **kwargs: Any) -> None:
        del self, args, kwargs

    return type(
        name.rsplit(".", 1)[-1],
        (),
        {
            "__new__": lambda cls, *args, **kwargs: object.__new__(cls),
            "__init__": swallow,
            "__setstate__": swallow,
        },
    )


@contextlib.contextmanager
def _placeholders(names: set[str]) -> Iterator[None]:
    """Let the ``weights_only`` unpickler read these names as placeholders; names that it knows keep their
    meaning.
    """
    if not hasattr(torch.serialization, "safe_globals"):
        raise WeightsError(
            f"it holds objects ({', '.join(sorted(names))}) that torch {torch.__version__} cannot skip: use torch 2.6 or later"
        )
    with (
        _SAFE_NAMES_LOCK,
        torch.serialization.safe_globals([(_placeholder(name), name) for name in sorted(names)]),
    ):
        yield


def _load(path: Path) -> Any:
    # Mapped into memory, a file's optimiser states and other nets cost nothing: only the tensors that are
    # copied are read.
    return torch.load(
        path, map_location="cpu", weights_only=True, mmap=True if zipfile.is_zipfile(path) else None
    )


def read_checkpoint(path: Path) -> Any:
    """The content of a checkpoint file, of torch or safetensors: tensors on the CPU (of a zip-format file: mapped into memory),
    objects of other classes inert.

    Raises:
        WeightsError: unreadable, a TorchScript archive, or a file that asks for code to be run.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    if is_torchscript(path):
        raise WeightsError(
            f"{path}: it is a TorchScript archive, which holds code and not only weights (face-alignment before 1.4 had such files). "
            "Use the state dict instead: for 2DFAN4 the file 2DFAN4-11f355bf06.pth.tar",
            [path.name],
        )
    try:
        try:
            return _load(path)
        except pickle.UnpicklingError:
            names = names_in_checkpoint(path)
            code = sorted(
                name for name in names - HARMLESS if name.split(".")[0] in CODE_MODULES or " " in name
            )
            if code:
                raise WeightsError(
                    f"it asks for {', '.join(code)} when it is read: weights have no reason to; do not use this file"
                ) from None
            with _placeholders(names):
                return _load(path)
    except Exception as error:  # torch raises many kinds for damaged files
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise WeightsError(f"{path}: cannot be read as torch weights: {reason}", [path.name]) from error
