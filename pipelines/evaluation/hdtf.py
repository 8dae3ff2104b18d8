"""HDTF: its annotations, its clips, and pairs of them.

A set (RD, WDA, WRA) has ``*_annotion_time.txt`` (its spelling): ``name.mp4 MM:SS-MM:SS ...``, ``*_crop_wh.txt``: ``clip min_w w min_h h``,
``*_resolution.txt``: the picture's height that the boxes are meant at, and ``*_video_url.txt``. A clip is ``name_<index>.mp4``, 512 pixels
square. Ready clips are taken as they are; where only the raw video ``name.mp4`` is there, the clip is cut out of it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from operators.media.container import find_video, open_input
from operators.media.excerpt import write_excerpt
from operators.media.orientation import Box
from operators.storage.files import exists, filesystem, fingerprint, join
from pipelines.errors import UsageError
from pipelines.evaluation.lists import text_lines
from pipelines.evaluation.pairs import WHOLE, Listing, Pair, Protocol, Shard
from pipelines.state.content_keys import content_key

#: Sets of HDTF, and the spellings of the file with the times.
SETS = ("RD", "WDA", "WRA")
TIMES = ("annotion_time", "annotation_time")
#: Pairs that the paper scores, their length in seconds, side of a clip in pixels.
PAIRS, SECONDS, SIDE = 100, 20.0, 512
#: Heights that no picture of HDTF has: such a resolution says nothing.
LEAST_HEIGHT = 100
#: Clips that are cut at once; each encoder has threads of its own.
THREADS = 2


@dataclass(frozen=True)
class HdtfClip:
    """A clip of HDTF.

    Attributes:
        name: ``name_<index>``, without suffix.
        video: name of the raw video it is from.
        url: fsspec URL of the file that it is taken from.
        start, stop: seconds in that file; stop None: to its end.
        crop: min_w, w, min_h, h of its box at the annotated resolution; None: the file is the clip itself.
        height: that resolution; 0: that of the raw video.
    """

    name: str
    video: str
    url: str
    start: float = 0.0
    stop: float | None = None
    crop: tuple[int, int, int, int] | None = None
    height: int = 0


@dataclass(frozen=True)
class Annotations:
    """Annotations of HDTF by name of the video or clip, without suffixes.

    Attributes:
        times: start and stop of each clip of a video, seconds.
        crops: boxes of clips.
        heights: annotated resolutions of videos; 0 where none is usable.
        listed: videos that have an address.
    """

    times: dict[str, list[tuple[float, float]]]
    crops: dict[str, tuple[int, int, int, int]]
    heights: dict[str, int]
    listed: set[str]


def read_annotations(folder: str, listing: Listing) -> Annotations:
    """Read the annotation files of all sets that are there.

    Args:
        folder: fsspec URL.
        listing: lines that cannot be used are counted in.

    Raises:
        UsageError: there is no file with times.
    """
    found = Annotations({}, {}, {}, set())
    read = 0
    for part in SETS:
        for spelling in TIMES:
            url = join(folder, f"{part}_{spelling}.txt")
            if exists(url):
                read += 1
                for where, (name, *spans) in _lines(url, 1, listing):
                    try:
                        found.times[_stem(name)] = [_span(span) for span in spans]
                    except ValueError:
                        listing.drop("times that are not MM:SS-MM:SS", where)
        url = join(folder, f"{part}_crop_wh.txt")
        for where, (name, *numbers) in _lines(url, 5, listing) if exists(url) else ():
            try:
                left, width, top, height = (int(float(number)) for number in numbers[:4])
            except ValueError:
                listing.drop("a crop box that is not four numbers", where)
                continue
            found.crops[_stem(name)] = (left, width, top, height)
        url = join(folder, f"{part}_resolution.txt")
        for _, (name, *numbers) in _lines(url, 1, listing) if exists(url) else ():
            digits = re.findall(r"\d+", " ".join(numbers))
            height = int(digits[-1]) if digits else 0
            found.heights[_stem(name)] = height if height >= LEAST_HEIGHT else 0
        url = join(folder, f"{part}_video_url.txt")
        for _, (name, *_rest) in _lines(url, 1, listing) if exists(url) else ():
            found.listed.add(_stem(name))
    if not read:
        raise UsageError(
            f"--annotations {folder}: has no file such as RD_annotion_time.txt; give the folder with HDTF's annotations"
        )
    return found


def _lines(url: str, least: int, listing: Listing) -> Iterator[tuple[str, list[str]]]:
    """Yield the words of each line with where it stands."""
    file = url.rsplit("/", 1)[-1]
    for number, line in text_lines(url, "--annotations"):
        words = line.split() if line is not None else []
        if len(words) < least:
            listing.drop("a line of annotations that cannot be read", f"{file} line {number}")
            continue
        yield f"{file} line {number}", words


def _stem(name: str) -> str:
    return name.removesuffix(".mp4")


def _span(text: str) -> tuple[float, float]:
    """Start and stop of ``MM:SS-MM:SS`` in seconds; hours are understood too."""
    start, stop = (
        sum(float(part) * 60**n for n, part in enumerate(reversed(time.split(":"))))
        for time in text.split("-")
    )
    if stop <= start:
        raise ValueError(text)
    return start, stop


def ready_clips(root: str) -> Iterator[HdtfClip]:
    """All .mp4 files in a folder as clips; ``name_<index>`` belongs to the video ``name``."""
    fs, folder = filesystem(root)
    for path in sorted(fs.ls(folder, detail=False)):
        name = path.rsplit("/", 1)[-1]
        if name.endswith(".mp4") and not name.startswith("."):
            yield HdtfClip(_stem(name), re.sub(r"_\d+$", "", _stem(name)), join(root, name))


def annotated_clips(root: str, annotations: Annotations, listing: Listing) -> Iterator[HdtfClip]:
    """Clips of the annotations that are in a folder, ready or as raw videos; the others are counted with their reasons."""
    fs, folder = filesystem(root)
    there = {path.rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False)}
    for video in sorted(annotations.listed - annotations.times.keys()):
        listing.lines += 1
        listing.drop("a video with an address and no times", video)
    for video, spans in annotations.times.items():
        for index, (start, stop) in enumerate(spans):
            listing.lines += 1
            name = f"{video}_{index}"
            ready = next((f for f in _files(name) if f in there), None)
            raw = next((f for f in _files(video) if f in there), None)
            if ready is not None:
                yield HdtfClip(name, video, join(root, ready))
            elif raw is None:
                listing.drop("neither the clip nor the raw video is there", name)
            elif name not in annotations.crops:
                listing.drop("no crop box, and no ready clip", name)
            else:
                height = annotations.heights.get(video, 0)
                yield HdtfClip(name, video, join(root, raw), start, stop, annotations.crops[name], height)


def _files(name: str) -> list[str]:
    """Names that a file may have, with the set's in front or without."""
    return [f"{name}.mp4", *(f"{part}_{name}.mp4" for part in SETS)]


def pair_clips(
    clips: Sequence[HdtfClip], protocol: Protocol, limit: int | None, seeds: Sequence[int]
) -> list[tuple[int, HdtfClip, HdtfClip]]:
    """Pair clips at random: seed, the clip with the picture, the clip with the sound.

    Args:
        clips: of the data set.
        protocol: cross: the sound is of another video; reconstruction: the clip's own.
        limit: pairs a seed; None: 100, as the paper, or all there are if fewer.
        seeds: draw the clips and the partners; none: 0.
    """
    found = []
    for seed in seeds or (0,):
        shuffled = sorted(clips, key=lambda clip: clip.name)
        random.Random(seed).shuffle(shuffled)
        taken = shuffled[: PAIRS if limit is None else limit]
        for number, clip in enumerate(taken):
            if protocol == "reconstruction":
                found.append((seed, clip, clip))
                continue
            others = (shuffled[(number + step) % len(shuffled)] for step in range(1, len(shuffled)))
            if (partner := next((other for other in others if other.video != clip.video), None)) is not None:
                found.append((seed, clip, partner))
    return found


@dataclass(frozen=True)
class Cutter:
    """Where clips of a length lie, and how they are cut.

    Attributes:
        folder: fsspec URL for clips that are cut.
        seconds: length of a clip at most.
    """

    folder: str
    seconds: float

    def url(self, clip: HdtfClip) -> str:
        """The file of a clip that is cut; another after the original has changed."""
        identity = content_key(
            fingerprint(clip.url), clip.start, clip.stop, clip.crop, clip.height, self.seconds
        )
        return join(self.folder, f"{clip.name}.{identity[:8]}.mp4")

    def cut(self, clip: HdtfClip) -> str:
        """Cut a clip unless that has been done; returns its URL.

        Raises:
            MediaError: the original cannot be read.
        """
        target = self.url(clip)
        if not exists(target):
            stop = clip.start + self.seconds
            length = (stop if clip.stop is None else min(stop, clip.stop)) - clip.start
            box = None if clip.crop is None else scaled_box(clip)
            write_excerpt(clip.url, target, clip.start, length, box, SIDE if box else None)
        return target


def scaled_box(clip: HdtfClip) -> Box:
    """A clip's box at the size of the video that is there, inside its picture.

    Raises:
        MediaError: the video cannot be read.
    """
    assert clip.crop is not None
    with open_input(clip.url) as container:
        stream = find_video(container, clip.url)
        width, height = stream.width, stream.height
    scale = height / clip.height if clip.height else 1.0
    left, wide, top, high = (round(value * scale) for value in clip.crop)
    return max(0, left), max(0, top), min(width, left + wide), min(height, top + high)


def pairs_of_hdtf(
    drawn: Sequence[tuple[int, HdtfClip, HdtfClip]],
    cutter: Cutter,
    listing: Listing,
    shard: Shard = WHOLE,
    cut: bool = True,
) -> list[Pair]:
    """Pairs of clips; those of a shard are cut, several at a time. One that cannot be cut is noted, and its pairs fail for want of it.

    Args:
        drawn: of `pair_clips`.
        cutter: where cut clips lie.
        listing: is counted in.
        shard: the part that will be dubbed.
        cut: False: only name the files.
    """
    pairs, clips = [], {}
    for seed, clip, partner in drawn:
        name = clip.name if clip is partner else f"{clip.name}+{partner.name}"
        pairs.append(Pair(name, cutter.url(clip), cutter.url(partner), seed))
        clips[name] = (clip, partner)
    listing.pairs += len(pairs)
    wanted = {clip.name: clip for pair in shard.take(pairs) for clip in clips[pair.id]} if cut else {}

    def one(clip: HdtfClip) -> str:
        try:
            cutter.cut(clip)
        except (ValueError, OSError) as problem:
            return f"clip {clip.name} cannot be cut: {problem}"
        return ""

    with ThreadPoolExecutor(THREADS) as threads:
        listing.notes += filter(None, threads.map(one, wanted.values()))
    return pairs
