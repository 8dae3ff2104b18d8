"""Records of a run for tests of the review page."""

from __future__ import annotations

from typing import Any

from pipelines.state.run_directory import Record

#: Names that a careless page would run, or break on.
HOSTILE = (
    '<script>document.title="owned"</script>',
    "</script><img src=x onerror=document.title='owned'>",
    "x" * 10_000,
    "\u202egnirts LTR",
    '👩‍🚀 "quotes" & <b>bold</b>',
    "=HYPERLINK(1)",
    "%%NAME%%",
)
REPORT: dict[str, Any] = {
    "engine": "exemplar",
    "profile": "laptop",
    "dubs": {"video_seconds": 20.0},
    "actual": {"wall_seconds": 60.0, "runs": 2, "cost": 12.5, "currency": "EUR"},
}


def metric(
    name: str, value: float, worst: float | None = None, at: float | None = None, better: str = "higher"
) -> dict[str, Any]:
    said = {"per": "shot", "unit": "", "better": "" if worst is None else better}
    return {"name": name, "value": value, "worst": worst, "worst_at": at, **said}


def record(title: str, **changes: Any) -> Record:
    """A finished dub of which nothing is remarkable."""
    plain: Record = {
        "title": title,
        "dub": "deu",
        "state": "done",
        "error": "",
        "video": "/films/a.mp4",
        "speech": "/films/a.wav",
        "output": "/out/a.mp4",
        "language": "deu",
        "engine": "exemplar",
        "frames": 50,
        "seconds": 12.0,
        "video_seconds": 2.0,
        "metrics": [
            metric("dubbed", 1.0),
            metric("mouth_change", 8.0, 6.0, 0.0),
            metric("sharpness", 0.95, 0.8, 1.2),
            metric("seam", 0.3, 0.5, 1.2, "lower"),
            metric("jitter", 0.2, 0.9, 0.0, "lower"),
        ],
        "notes": [],
        "finished": "2026-11-27T12:00:00+00:00",
    }
    return {**plain, **changes}
