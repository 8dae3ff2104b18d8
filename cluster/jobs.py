"""Jobs of a Ray cluster: submit, follow, exit code. The only module that talks to Ray's job server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any, TextIO

from pipelines.errors import BROKEN, INTERRUPTED, UsageError

#: Seconds that a cluster which has just started is given until an agent takes jobs.
AGENT_WAIT = 60.0
#: Seconds between two polls, and seconds without an answer after which following is given up.
PAUSE, SILENCE = 2.0, 120.0


@contextlib.contextmanager
def _own_address() -> Iterator[None]:
    """Ray lets RAY_ADDRESS and RAY_API_SERVER_ADDRESS overrule a given address; hide them here."""
    kept = {
        name: os.environ.pop(name) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS") if name in os.environ
    }
    try:
        yield
    finally:
        os.environ.update(kept)


class Jobs:
    """A connection to the job server of one cluster.

    Args:
        address: ``http://HEAD:8265``.

    Raises:
        UsageError: the cluster does not answer, or Ray's job client is not installed.
    """

    def __init__(self, address: str) -> None:
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        self.address = address
        try:
            with _own_address():
                self.client = JobSubmissionClient(address)
        except (RuntimeError, OSError, AuthenticationError) as problem:
            raise UsageError(f"--address {address}: {problem}") from problem

    def start(self, entrypoint: str, job_id: str, runtime_env: dict[str, Any]) -> None:
        """Submit a job; wait for a cluster that has just started.

        Args:
            entrypoint: the command, for a shell.
            job_id: its name.
            runtime_env: Ray's: env_vars and working_dir.

        Raises:
            UsageError: the cluster does not take it; nothing has run.
        """
        deadline = time.monotonic() + AGENT_WAIT
        while True:
            try:
                self.client.submit_job(entrypoint=entrypoint, submission_id=job_id, runtime_env=runtime_env)
                return
            except (RuntimeError, OSError, ValueError) as problem:
                if "No available agent" not in str(problem) or time.monotonic() > deadline:
                    raise UsageError(
                        f"the cluster at {self.address} did not take the job: {problem}"
                    ) from problem
            time.sleep(PAUSE)

    def follow(self, job_id: str, out: TextIO) -> int:
        """Write a job's log to `out` until it ends, over lost connections too.

        Returns:
            Its exit code; 128 + n where signal n ended it; `INTERRUPTED` where it was stopped; `BROKEN` where the cluster
            could not run it, or has not answered for two minutes. The reason is written to `out`.
        """
        written, heard = 0, time.monotonic()
        while True:
            try:
                written = asyncio.run(self._tail(job_id, out, written))
                info = self.client.get_job_info(job_id)
            except (RuntimeError, OSError) as problem:
                if time.monotonic() - heard > SILENCE:
                    out.write(
                        f"the cluster at {self.address} does not answer: {problem}; the job may still run\n"
                    )
                    return BROKEN
                time.sleep(PAUSE)
                continue
            heard = time.monotonic()
            if info.status.is_terminal():
                return self._exit_code(info, out)
            time.sleep(PAUSE)

    async def _tail(self, job_id: str, out: TextIO, written: int) -> int:
        """Write what a job's log has after its first `written` characters; the new number of written
        characters.

        Ray sends the log from its beginning each time, and ends when the job ends.
        """
        seen = 0
        try:
            async for text in self.client.tail_job_logs(job_id):
                fresh = text[max(0, written - seen) :]
                seen += len(text)
                if fresh:
                    out.write(fresh)
                    out.flush()
                    written = seen
        except (RuntimeError, OSError):
            return written  # the connection broke: the caller polls the job's status
        return written

    @staticmethod
    def _exit_code(info: Any, out: TextIO) -> int:
        if info.status.value == "STOPPED":
            out.write("the job was stopped; submit it again to resume\n")
            return INTERRUPTED
        code = info.driver_exit_code
        if info.status.value == "SUCCEEDED":
            return 0
        if code is None or code == 0:
            out.write(f"the cluster could not run the job: {info.message}\n")
            return BROKEN
        return 128 - code if code < 0 else int(code)
