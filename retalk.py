"""retalk as a library: what the commands `retalk dub`, `retalk run` and `retalk plan` do, as functions.

Dub one video, or a catalogue::

    import retalk

    report = retalk.dub("ep1.mp4", "ep1.de.wav", "ep1.de.mp4")
    report = retalk.run("catalogue.jsonl", run_dir="out", engine="exemplar")
    report = retalk.run([{"id": "a", "video": "a.mp4", "speech": "a.wav", "output": "a.de.mp4"}], run_dir="out")
    for record in report.failed:
        print(record["title"], record["dub"], record["error"])

Ask what a run would do and cost::

    print(*retalk.plan("catalogue.jsonl", run_dir="out").lines, sep="\\n")

All paths may be fsspec URLs. A title that cannot be dubbed is a failed record of the report, no exception; wrong usage raises a
`UsageError` before anything runs. `help(retalk.run)` and the others say which arguments there are.

Importing this module is cheap: torch, Ray and OpenCV are imported by the first use of a name. ``python -m retalk`` is the command line.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from retalk_models import __version__
from retalk_models.installation import ForeignPackageError, check_packages, explain_import_error

if TYPE_CHECKING:
    from pipelines.config import ConfigError, EngineConfig, ProfileConfig, UsageError
    from pipelines.dub import Report, UnwritableError, run
    from pipelines.lock import LockedError
    from pipelines.manifest import ManifestError
    from pipelines.one_title import dub
    from pipelines.ownership import ForeignError
    from pipelines.plan_command import Plan, plan
    from pipelines.preflight import PreflightError
    from pipelines.titles import Dub, Title
    from retalk_models.registry_errors import WeightsError

__all__ = [
    "ConfigError",
    "Dub",
    "EngineConfig",
    "ForeignError",
    "ForeignPackageError",
    "LockedError",
    "ManifestError",
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
    "ConfigError": "pipelines.config",
    "Dub": "pipelines.titles",
    "EngineConfig": "pipelines.config",
    "ForeignError": "pipelines.ownership",
    "LockedError": "pipelines.lock",
    "ManifestError": "pipelines.manifest",
    "Plan": "pipelines.plan_command",
    "PreflightError": "pipelines.preflight",
    "ProfileConfig": "pipelines.config",
    "Report": "pipelines.dub",
    "Title": "pipelines.titles",
    "UnwritableError": "pipelines.dub",
    "UsageError": "pipelines.config",
    "WeightsError": "retalk_models.registry_errors",
    "dub": "pipelines.one_title",
    "plan": "pipelines.plan_command",
    "run": "pipelines.dub",
}

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
