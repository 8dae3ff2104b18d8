"""`--only` and `--redo`: the titles of a manifest that a run works on, and those that it computes again."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from operators.storage.files import filesystem
from pipelines.errors import UsageError
from pipelines.manifest.titles import Title
from pipelines.state.earlier import keep_earlier
from pipelines.state.run_directory import RunDirectory, remove

#: Unknown names that an error lists.
NAMED = 5


def select(titles: Sequence[Title], only: Sequence[str], redo: Sequence[str]) -> list[Title]:
    """The titles to work on: all of them, or those of `only`.

    Raises:
        UsageError: the manifest has no title of a name, or `only` leaves out a title of `redo`.
    """
    known = [title.id for title in titles]
    for option, names in (("only", only), ("redo", redo)):
        unknown = [name for name in dict.fromkeys(names) if name not in known]
        if unknown:
            told = "; ".join(_unknown(name, known) for name in unknown[:NAMED])
            raise UsageError(
                f"{option}: the manifest has no title {told}" + (" ..." if len(unknown) > NAMED else "")
            )
    if not only:
        return list(titles)
    wanted = set(only)
    if left := [name for name in dict.fromkeys(redo) if name not in wanted]:
        told = ", ".join(map(repr, left[:NAMED])) + (" ..." if len(left) > NAMED else "")
        raise UsageError(f"redo: only leaves out {told}; name it in both, or in redo alone")
    return [title for title in titles if title.id in wanted]


def select_rejected(
    titles: Sequence[Title], only: Sequence[str], redo: Sequence[str], rejected: Sequence[str]
) -> tuple[Sequence[str], Sequence[str], list[str]]:
    """Turn the decisions of a review into `only` and `redo`: nothing is worked on but what is rejected or named.

    Returns:
        ``only``, ``redo``, and notes about rejected titles that the manifest does not have, which are left out.

    Raises:
        UsageError: the manifest has none of them, and no other title is named.
    """
    if not rejected:
        return only, redo, []
    known = [title.id for title in titles]
    gone = [name for name in rejected if name not in known]
    told = "; ".join(_unknown(name, known) for name in gone[:NAMED]) + (" ..." if len(gone) > NAMED else "")
    chosen = list(dict.fromkeys([*(name for name in rejected if name not in gone), *redo]))
    if not chosen:
        raise UsageError(f"redo: the manifest has none of the titles that are rejected: {told}")
    notes = [f"redo: the manifest has no title {told}, rejected in the review; left out"] if gone else []
    return only or chosen, chosen, notes


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.6)
    return f"{name!r}" + (f" (did you mean {' or '.join(near)}?)" if near else "")


def forget(run: RunDirectory, titles: Sequence[str]) -> None:
    """Make a run compute titles again. The caller holds the lock.

    Their records stay, without the key by which they are known to be up to date: they say which outputs are
    the run's own and may be replaced, also after an interruption. Their outputs are kept as earlier versions.
    """
    for record in run.records():
        if record["title"] in titles:
            keep_earlier(run, record)
            run.write_record({**record, "key": ""})
    for title in titles:
        for folder in (
            run.receipts(title),
            run.segments(title),
        ):  # receipts first, so that none is without its file
            fs, path = filesystem(folder)
            if fs.isdir(path):
                remove(folder, recursive=True)
