"""`retalk models verify --numerics`: how far each network's forms are from its exact form on this machine's
devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retalk_models.registry.registry import Registry

COLUMNS = "{:<11} {:<10} {:<24} {:<9} {:>9} {:>8}  {}"
#: Options with which stages build a network.
OPTIONS: dict[str, dict[str, Any]] = {"enet": {"low_res": False}}


def devices() -> list[str]:
    """Devices of this machine: the CPU and one GPU of each kind."""
    import torch

    kinds = {
        torch.cuda.get_device_name(number): f"cuda:{number}"
        for number in reversed(range(torch.cuda.device_count()))
    }
    return ["cpu", *sorted(kinds.values())]


def networks_of(registry: Registry, names: Sequence[str]) -> list[str]:
    """Networks that are named, or that load a file that is named; all of them where nothing is.

    Raises:
        WeightsError: a name is neither a network nor a file.
    """
    if not names:
        return list(registry.catalog.networks)
    files = {
        entry.file
        for entry in registry.catalog.files_of(
            [name for name in names if name not in registry.catalog.networks]
        )
    }
    return [
        name
        for name, parts in registry.catalog.networks.items()
        if name in names or any(part.file in files for part in parts)
    ]


def verify_numerics(registry: Registry, names: Sequence[str], say: Callable[[str], None] = print) -> int:
    """Print a line for each network, form and device; return the number of networks whose usual form is
    wrong.
    """
    import retalk_models
    from retalk_models.inference.numerics import NumericsError, accuracies, describe, device_name, made_up

    wrong = 0
    say(COLUMNS.format("network", "weights", "form", "device", "error", "seconds", "verdict"))
    for name in networks_of(registry, names):
        options = OPTIONS.get(name, {})
        files = [part.file for part in registry.catalog.networks[name] if not (part.prefix and options)]
        here = not registry.missing(files)

        def make(name: str = name, options: dict[str, Any] = options, here: bool = here) -> Any:
            if here:
                return retalk_models.load(name, registry=registry, **options)
            return made_up(retalk_models.build(name, **options))

        for device in devices():
            usual = True
            try:
                where = ", ".join(str(registry.path(file)) for file in files) if here else "made up"
                for found in accuracies(name, make, device, where):
                    verdict = "right" if found.expected else "right, with a larger error than expected"
                    if not found.ok:
                        verdict = "WRONG: the next safer form is used instead"
                    figures = f"{found.error:.2g}", f"{found.seconds:.2f}"
                    say(
                        COLUMNS.format(
                            name,
                            "own" if here else "made up",
                            describe(found.form),
                            device,
                            *figures,
                            verdict,
                        )
                    )
                    wrong += usual and not found.ok
                    usual = False
            except NumericsError as problem:
                say(f"{name}: {problem}")
                wrong += 1
    say(
        f"error: largest difference from the exact form, relative to its largest value. cpu is {device_name('cpu')}."
    )
    return wrong
