"""`retalk stages --list`: engines and metrics that are installed, and the distributions that bring them."""

from __future__ import annotations

from pipelines.engine.config import known_names, load_engine, names
from pipelines.engine.foreign import foreign_engines
from pipelines.engine.metrics import load_metric, metric_names, metric_place
from pipelines.errors import DONE, ConfigError
from pipelines.monitoring.terminal import table
from retalk_models.installation import DISTRIBUTION


def show_extensions() -> int:
    """Print two tables; what cannot be used stands there with the reason."""
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
    return DONE
