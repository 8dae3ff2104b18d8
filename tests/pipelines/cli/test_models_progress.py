"""Progress of transfers of model files."""

from __future__ import annotations

import io

from pipelines.cli.models_progress import BarProgress, LineProgress


def test_progress_as_lines_and_as_bars() -> None:
    for progress in (LineProgress(lines := io.StringIO()), BarProgress(bars := io.StringIO())):
        progress.start("a.pth", 1000, 200, "https://there")
        for done in range(200, 1001, 10):
            progress.at("a.pth", done)
        progress.say("something")
        progress.start("a.pth", 1000, 0, "https://mirror")
        progress.at("a.pth", 1000)
        progress.finish("a.pth")
    told = lines.getvalue().splitlines()
    assert told[0] == "a.pth: 1 kB from https://there, resuming after 200 B"
    assert told[1] == "a.pth: 300 B of 1 kB (30 %)"
    assert len([line for line in told if "%" in line]) == 9
    assert "something" in told
    assert "a.pth" in bars.getvalue()
    assert "100 %" in bars.getvalue()
    assert "something" in bars.getvalue()
    assert bars.getvalue().count("\x1b[?25l") == bars.getvalue().count("\x1b[?25h"), "the cursor comes back"
