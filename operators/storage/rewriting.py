"""Files that are written twice before they appear under their names."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retalk_models.local_files import replacement


@contextmanager
def rewritten(temporary: Path) -> Iterator[Path]:
    """Give a second path in the folder of a file that `operators.storage.files.atomic_write` has yielded.

    What the block has written there takes the file's place when the block ends normally. The same sweep removes both if the writer is
    killed.
    """
    name = re.sub(r"-[0-9a-f]{8}\.part", f"-{uuid.uuid4().hex[:8]}.part", temporary.name)
    second = temporary.with_name(name if name != temporary.name else f"second-{name}")
    with replacement(temporary, second) as path:
        yield path
