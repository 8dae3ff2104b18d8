"""`retalk stages --list`: engines, metrics, model files and storage rules that are installed, and the
distributions that bring them.
"""

from __future__ import annotations

from pipelines.engine.config import known_names, load_engine, names
from pipelines.engine.foreign import foreign_engines
from pipelines.engine.metrics import load_metric, metric_names, metric_place
from pipelines.errors import DONE, ConfigError
from pipelines.monitoring.terminal import table
from retalk_models.installation import DISTRIBUTION
from retalk_models.registry.catalog import load_catalog
from retalk_models.storage_rules import installed_rules


def show_extensions() -> int:
    """Print a table of each; what cannot be used stands there with the reason."""
    shipped, foreign = names("engines"), foreign_engines()
    rows = [("engine", "from", "description")]
    for name in known_names("engines"):
        owners = [*([DISTRIBUTION] if name in shipped else []), *([foreign[name]] if name in foreign else [])]
        try:
            text = load_engine(name).description
        except ConfigError as problem:
            text = f"cannot be used: {problem}"
        rows.append((name, " and ".join(owners), text))
    print("\n".join(table(rows)))
    metrics = [("metric", "from", "per", "measured")]
    for name, owner in metric_names().items():
        try:
            metric = load_metric(metric_place(name))
            metrics.append(
                (name, owner, metric.per, "by default" if metric.on else f"--set metrics.on={name}")
            )
        except ConfigError as problem:
            metrics.append((name, owner, "-", f"cannot be used: {problem}"))
    print("\n" + "\n".join(table(metrics)))
    catalog = load_catalog()
    files = [("model file", "from", "used by")]
    files += [
        (entry.file, entry.distribution or DISTRIBUTION, entry.used_by) for entry in catalog.files.values()
    ]
    files += [(name, "-", f"cannot be used: {reason}") for name, reason in catalog.unusable.items()]
    print("\n" + "\n".join(table(files)))
    rules = [("storage rule", "from", ""), *installed_rules()]
    print("\n" + "\n".join(table(rules)))
    return DONE
