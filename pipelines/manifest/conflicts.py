"""Ids and outputs that appear twice in a manifest, and outputs that would replace an input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from operators.storage.identity import FileMap, Identity, identity
from pipelines.manifest.columns import row_prefix
from pipelines.manifest.titles import Dub, Title, is_picture


def repeated(titles: Sequence[Title]) -> list[str]:
    """Ids and outputs that appear twice, however an output is spelled: a line for each."""
    problems = []
    ids: dict[str, str] = {}
    files: dict[Identity, tuple[str, str]] = {}
    for title in titles:
        if title.id in ids:
            problems.append(f"{row_prefix(title.where)}id {title.id!r} appears in {ids[title.id]} already")
        ids.setdefault(title.id, title.where)
        for dub in title.dubs:
            if not dub.output or title.error:
                continue
            known = identity(dub.output)
            if known in files:
                output, where = files[known]
                spelled = "" if output == dub.output else f" as {output}"
                place = "this row" if where == title.where else where
                problems.append(
                    f"{row_prefix(title.where)}output {dub.output} appears in {place} already{spelled}"
                )
            files.setdefault(known, (dub.output, title.where))
    return problems


def without_overwritten_inputs(titles: Sequence[Title]) -> list[Title]:
    """Titles with an error in place of those whose output is an input of this manifest, however either is
    spelled.
    """
    inputs = FileMap(one for title in titles if not title.error for one in _inputs(title))
    return [title if title.error else _without_overwritten(title, inputs) for title in titles]


def _inputs(title: Title) -> Iterator[tuple[str, tuple[str, str]]]:
    """URL of each input of a title, with what it is and where its row stands."""
    yield title.video, ("video", title.where)
    if is_picture(title.face):
        yield title.face, ("picture of the face", title.where)
    for dub in title.dubs:
        for speech in dub.speeches:
            yield speech, ("speech", title.where)
        for one in dub.speakers:
            if is_picture(one.face):
                yield one.face, ("picture of the face", title.where)


def _without_overwritten(title: Title, inputs: FileMap[tuple[str, str]]) -> Title:
    for dub in title.dubs:
        if found := inputs.find(dub.output):
            # Of several titles that share the input, its own is named.
            kind, where = FileMap(_inputs(title)).find(dub.output) or found
            whose = f" of {where}" if where != title.where else ""
            error = f"{row_prefix(title.where)}output {dub.output} is one of the inputs: the {kind}{whose}; choose another name"
            return replace(title, dubs=tuple(Dub(one.dub, "", "") for one in title.dubs), error=error)
    return title
