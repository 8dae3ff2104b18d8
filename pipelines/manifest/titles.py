"""Titles: a video with its dubs, as the manifest gives them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

#: Handling of dubs whose measures ask for a look.
LowQuality = Literal["keep", "passthrough", "fail"]
LengthRule = Literal["keep", "trim", "freeze", "loop", "pingpong"]
AudioRule = Literal["replace", "add", "keep"]
PlaceRule = Literal["track", "centre"]
Runner = Literal["auto", "ray", "local"]
RUNNERS: tuple[str, ...] = get_args(Runner)
LOW_QUALITY: tuple[str, ...] = get_args(LowQuality)
LENGTH_RULES: tuple[str, ...] = get_args(LengthRule)
AUDIO_RULES: tuple[str, ...] = get_args(AudioRule)
PLACE_RULES: tuple[str, ...] = get_args(PlaceRule)
#: Containers that the encoded segments can be copied into.
SUFFIXES = (".mp4", ".m4v", ".mkv", ".mov")
#: Choices of a face by word; numbers count from the left; anything else is the path of a reference picture.
FACES = ("largest", "left", "right", "speaking")
#: Whoever speaks in the source.
SPEAKING = "speaking"
#: Name of a title's only dub where no language is given.
UNNAMED = "dub"
#: Characters of a path or URL.
MAX_NAME = 8192
#: What no text holds: halves of surrogate pairs.
NO_TEXT = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Speaker:
    """Somebody who is dubbed: the choice of a face, the URL of what it says, and their own consent as far as it is given."""

    face: str
    speech: str
    consent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dub:
    """One dub of a title.

    `dub` is its name inside the title (the language where one is given). `options` are overrides ``{stage:
    {option: value}}`` of stages that run once per dub. `error` says why this dub cannot be made, where the
    title's others can. `consent` has the entries of `pipelines.manifest.consent` that are given. `aigc` is the producer
    that the output's tag AIGC names (`pipelines.rights.aigc`); None: no tag. `watermark` has ``mode``,
    ``strength`` and the name of the ``key`` (`pipelines.provenance.watermarks`); empty: no watermark. `ranges` are the
    stretches of the title that are dubbed (none: all of it), `exclude` those that are not (`pipelines.manifest.ranges`).
    `speakers` say who is dubbed with what, in place of the title's `face`; `speech` is then the sound of the output. Where the sum of what
    they say is heard, it is `mixed`, and `speech` the first one's.
    """

    dub: str
    speech: str
    output: str
    language: str = ""
    length: LengthRule = "keep"
    audio: AudioRule = "replace"
    loudness: str = "off"
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str = ""
    place: PlaceRule = "track"
    consent: dict[str, str] = field(default_factory=dict)
    aigc: str | None = None
    watermark: dict[str, Any] = field(default_factory=dict)
    ranges: tuple[tuple[str, str], ...] = ()
    exclude: tuple[tuple[str, str], ...] = ()
    speakers: tuple[Speaker, ...] = ()
    mixed: bool = False

    @property
    def speeches(self) -> tuple[str, ...]:
        """URLs of all speeches, each once: those of its speakers, and what is heard."""
        return tuple(dict.fromkeys([*(one.speech for one in self.speakers), self.speech]))

    @property
    def spoken(self) -> tuple[str, ...]:
        """URL of what each speaker says; the speech where the dub names none."""
        return tuple(one.speech for one in self.speakers) or (self.speech,)

    @property
    def heard(self) -> tuple[str, ...]:
        """URLs whose sum is what is heard."""
        return self.spoken if self.mixed else (self.speech,)

    @property
    def partial(self) -> bool:
        """Only stretches of the title are dubbed."""
        return bool(self.ranges or self.exclude)


@dataclass(frozen=True)
class Title:
    """One video with its dubs. `options` are overrides ``{stage: {option: value}}``; `error` says why a
    manifest row cannot be run.
    """

    id: str
    video: str
    dubs: tuple[Dub, ...]
    face: str = "largest"
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    where: str = ""
    error: str = ""

    @property
    def faces(self) -> tuple[str, ...]:
        """Choices of all faces that its dubs ask for, each once."""
        named = [[one.face for one in dub.speakers] or [self.face] for dub in self.dubs]
        return tuple(dict.fromkeys(face for one in named for face in one))

    @property
    def hopeless(self) -> bool:
        """No dub of it can be made, as far as the manifest and the files of this machine tell."""
        return bool(self.error) or all(dub.error for dub in self.dubs)


def overrides_of(titles: Sequence[Title]) -> list[dict[str, dict[str, Any]]]:
    """Options of stages that the titles and their dubs override."""
    return [title.options for title in titles] + [dub.options for title in titles for dub in title.dubs]


def merged(first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Options ``{stage: {option: value}}`` of both; where both have one, the second's."""
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in {**first, **second}}


def is_picture(face: str) -> bool:
    """Tell the path of a reference picture from a choice of a face by word or number."""
    return not (face in FACES or (face.isascii() and face.isdigit()))


def face_problem(face: str, words: Sequence[str] = FACES) -> str:
    """Say what is allowed where a face is neither a word, a number nor the path of a picture; empty if it is
    one of these. Some of the words may be all that are offered.
    """
    if not is_picture(face) or any(mark in face for mark in ("/", ".", "::")):
        return ""
    near = difflib.get_close_matches(face.lower(), words, 1, 0.6)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    allowed = "a number counted from the left (0 is the first), or the path of a picture such as face.jpg"
    return f"must be {', '.join(words)}, {allowed}; got {face!r}{meant}"


def label(title: str, dub: str) -> str:
    """Name a title's dub in messages: by the title alone where it has one dub without a language."""
    return title if dub == UNNAMED else f"{title} [{dub}]"


def name_problem(name: str) -> str:
    """Say why a text can be no name of a file or title here; empty if it can."""
    if len(name) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    if "\n" in name or "\r" in name:
        return "holds a line break"
    if any(ord(c) < 32 for c in name):
        return "holds a control character"
    return "is not Unicode text" if NO_TEXT.search(name) else ""
