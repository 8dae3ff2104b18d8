"""RETALK_HOME on remote storage: workers of one node that start at once copy a file to it once; each node
copies for itself.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from tests.retalk_models.fetch_server import serving

DATA = random.Random(5).randbytes(3_000_000)
#: Code of a worker's set-up, with a count of the transfers that it began.
WORKER = """
import sys
from retalk_models.registry.download import DownloadProgress
from retalk_models.registry.registry import Registry
from tests.retalk_models.fetch_server import catalog_of, model_file
import random
class Count(DownloadProgress):
    begun = 0
    def start(self, *args):
        self.begun += 1
progress = Count()
data = random.Random(5).randbytes(3_000_000)
registry = Registry(sys.argv[1], catalog_of(model_file("a.pth", data=data)))
path = registry.require(["a.pth"], progress)["a.pth"]
print(progress.begun, path.read_bytes() == data, path)
"""


def worker(home: str, node: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(node)}
    command = [sys.executable, "-c", WORKER, home]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[2], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_workers_of_a_node_share_one_copy(tmp_path: Path) -> None:
    with serving({"/home/models/a.pth": DATA}) as shelf:
        shelf.pause = 0.01  # half a second for the file: the second worker comes while the first copies
        home = f"{shelf.url}/home"
        started = [worker(home, tmp_path / node) for node in ("node1", "node1", "node2")]
        answers = [process.communicate(timeout=120)[0].split() for process in started]
    assert [answer[1] for answer in answers] == ["True"] * 3
    assert sorted(answer[0] for answer in answers[:2]) == ["0", "1"], "of two workers on one node one copies"
    assert answers[2][0] == "1"
    assert answers[0][2] == answers[1][2] != answers[2][2]
