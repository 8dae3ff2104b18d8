"""retalk as a library: what the commands `retalk dub`, `retalk run` and `retalk plan` do, as functions.

Dub one video, or a catalogue::

    import retalk

    report = retalk.dub("ep1.mp4", "ep1.de.wav", "ep1.de.mp4")
    report = retalk.run("catalogue.jsonl", run_dir="out", engine="exemplar")
    rows = [{"id": "a", "video": "a.mp4", "speech": "a.wav", "output": "a.de.mp4"}]
    report = retalk.run(rows, run_dir="out")
    for record in report.failed:
        print(record["title"], record["dub"], record["error"])

Ask what a run would do and cost::

    print(*retalk.plan("catalogue.jsonl", run_dir="out").lines, sep="\\n")

All paths may be fsspec URLs. A title that cannot be dubbed is a failed record of the report, no exception;
wrong usage raises a `UsageError` before anything runs. `help(retalk.run)` and the others say which arguments
there are.

Importing this module is cheap: torch, Ray and OpenCV are imported by the first use of a name.
``python -m retalk`` is the command line.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from retalk_models import __version__
from retalk_models.installation import ForeignPackageError, check_packages, explain_import_error

if TYPE_CHECKING:
    from pipelines.cli.plan import Plan, plan
    from pipelines.engine.config import EngineConfig, ProfileConfig
    from pipelines.errors import ConfigError, PreflightError, UsageError
    from pipelines.manifest.reader import ManifestError
    from pipelines.manifest.titles import Dub, Title
    from pipelines.one_title import dub
    from pipelines.runner import Report, UnwritableError, run
    from pipelines.state.lock import LockedError
    from pipelines.state.ownership import NotARunDirectoryError
    from retalk_models.registry.errors import WeightsError

__all__ = [
    "ConfigError",
    "Dub",
    "EngineConfig",
    "ForeignPackageError",
    "LockedError",
    "ManifestError",
    "NotARunDirectoryError",
    "Plan",
    "PreflightError",
    "ProfileConfig",
    "Report",
    "Title",
    "UnwritableError",
    "UsageError",
    "WeightsError",
    "__version__",
    "dub",
    "plan",
    "run",
]

_HOMES = {
    "ConfigError": "pipelines.errors",
    "Dub": "pipelines.manifest.titles",
    "EngineConfig": "pipelines.engine.config",
    "NotARunDirectoryError": "pipelines.state.ownership",
    "LockedError": "pipelines.state.lock",
    "ManifestError": "pipelines.manifest.reader",
    "Plan": "pipelines.cli.plan",
    "PreflightError": "pipelines.errors",
    "ProfileConfig": "pipelines.engine.config",
    "Report": "pipelines.runner",
    "Title": "pipelines.manifest.titles",
    "UnwritableError": "pipelines.runner",
    "UsageError": "pipelines.errors",
    "WeightsError": "retalk_models.registry.errors",
    "dub": "pipelines.one_title",
    "plan": "pipelines.cli.plan",
    "run": "pipelines.runner",
}

if __name__ != "__main__":  # the command line says it in one line
    check_packages()


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    except ImportError as problem:
        if text := explain_import_error(problem):
            raise ImportError(text) from problem
        raise
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


if __name__ == "__main__":
    from retalk_cli import main

    sys.exit(main())
