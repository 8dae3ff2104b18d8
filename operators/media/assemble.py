"""Put a title together: encoded segments concatenated by packets, speech, and everything else that the source
holds.
"""

from __future__ import annotations

import dataclasses
import heapq
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from operators.media.audio import find_audio, mended_note
from operators.media.boxes import (
    UNOFFICIAL,
    described,
    has_pose,
    hide_repetitions,
    stereo_mode,
    switch_off,
    template_with,
)
from operators.media.clock import clock_joins, time_origin
from operators.media.concat import segment_ends, video_packets
from operators.media.container import describe, find_video, is_picture, open_input, video_stream
from operators.media.encoders import segment_options
from operators.media.glance import Glance, glance
from operators.media.languages import same_language
from operators.media.losses import container_tags, losses, names_not_read, picture_losses, properties
from operators.media.loudness import LoudnessTap, levelling
from operators.media.matroska import set_display_size
from operators.media.probe import probe_video
from operators.media.soundtrack import RATE
from operators.media.speech_track import SoundFilter, SpeechTrack, add_speech, in_the_centre
from operators.media.tags import content_tags, movflags, track_tags, with_added
from operators.media.tracks import NEVER, Carrier, Cut, copy_chapters
from operators.media.writer import mp4_options
from operators.storage.errors import MediaError
from operators.storage.files import atomic_write, suffix

#: Output containers by suffix, with FFmpeg's names.
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
Audio = Literal["replace", "add", "keep"]
Place = Literal["track", "centre"]


def assemble(
    output: str,
    segments: Sequence[str],
    video: str,
    speech: str | None = None,
    audio: Audio = "replace",
    language: str | None = None,
    loudness: str = "off",
    place: Place = "track",
    heard: dict[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    finish: Callable[[Path], None] | None = None,
    mark: SoundFilter | None = None,
    whole: bool | None = None,
) -> list[str]:
    """Write the finished title, whole or not at all.

    The segments' pictures are copied bit for bit with the presentation times, orientation and colours that
    they carry. Of the source come other audio, subtitles, further video tracks, cover art, attachments,
    chapters and metadata, by copy and cut at the output's end. The same inputs give the same bytes.

    Args:
        output: fsspec URL; its suffix chooses the container: .mp4, .m4v, .mov or .mkv.
        segments: fsspec URLs of segments by `operators.media.writer.encode_segment`, in output order, times
            ascending over all of them.
        video: fsspec URL of the source.
        speech: fsspec URL of any file with an audio stream; its time 0 (see `operators.media.audio`) is put
            at the first frame's time, to the nearest sample of 48 kHz. Encoded as AAC and cut at the output's
            end. None: as with ``audio="keep"``.
        audio: "replace": the speech takes the place of the source's first (default) audio track. "add": it
            becomes a further track after them. "keep": the source's audio only.
        language: language of the speech (ISO 639 code or a tag such as ``pt-BR``).
        loudness: of the speech's track: "off" (its own), "source" (that of the source's default audio), or a
            number of LUFS; see `operators.media.loudness`.
        place: "track": the speech's track holds the speech alone. "centre": it holds the source's default audio with the speech in
            the place of its centre channel, where that has one (5.1, 7.1, ...).
        heard: is given the new track's ``loudness`` in LUFS, where there is one.
        tags: of the file, beside the source's (`operators.media.tags.with_added`).
        finish: called with the finished file under its temporary name, before it appears; may replace it
            (`operators.storage.rewriting.rewritten`).
        mark: marks the speech: takes blocks of float32[channels, n] and the rate, and gives as many samples.
        whole: the output shows the source's pictures to the last, so that its sound ends as in the source and is not cut with the
            picture. None: by probing the source.

    Returns:
        Notes: all that could not be carried over as it was; empty when everything could.

    Raises:
        ValueError: no segment, or an unknown choice or suffix.
        MediaError: a segment, the source or the speech cannot be read, or segments do not fit together.
    """
    if not segments:
        raise ValueError(f"{output}: nothing to assemble, no segments")
    if suffix(output) not in FORMATS:
        raise ValueError(f"{output}: the name of an output must end in one of {', '.join(FORMATS)}")
    if audio not in get_args(Audio):
        raise ValueError(f"audio {audio!r} must be one of {', '.join(get_args(Audio))}")
    if place not in get_args(Place):
        raise ValueError(f"place {place!r} must be one of {', '.join(get_args(Place))}")
    with atomic_write(output) as path:
        try:
            spoken = None if audio == "keep" else speech
            notes = _write(
                path,
                FORMATS[suffix(output)],
                segments,
                video,
                spoken,
                audio,
                language,
                loudness,
                place,
                heard,
                tags or {},
                mark,
                whole,
            )
            if finish is not None:
                finish(path)
            return notes
        except av.error.FFmpegError as error:
            raise MediaError(
                f"{output}: cannot be written with the tracks of {video} ({describe(error)})"
            ) from error


def _write(
    path: Path,
    name: str,
    segments: Sequence[str],
    video: str,
    speech: str | None,
    audio: Audio,
    language: str | None,
    loudness: str,
    place: Place,
    heard: dict[str, float] | None,
    added: Mapping[str, str],
    mark: SoundFilter | None,
    whole: bool | None,
) -> list[str]:
    ends = segment_ends(segments)
    begin, end = ends.start * ends.time_base, ends.end * ends.time_base
    with ExitStack() as stack:
        template = video_stream(stack.enter_context(open_input(segments[0])), segments[0])
        source = stack.enter_context(open_input(video))
        dubbed = find_video(source, video)
        tags = with_added(content_tags(source.metadata), added)
        options = _muxer_options(
            name,
            tags,
            ends.time_base,
            [s.codec_context.sample_rate for s in source.streams.audio if s.codec_context],
            template.codec_context.name,
        )
        container = stack.enter_context(av.open(f"file:{path}", "w", format=name, container_options=options))
        container.metadata.update(tags)
        # Where the output shows the whole picture, the source's sound plays on as it does there.
        if whole is None:
            whole = end >= probe_video(video).end
        sound_end = NEVER if whole else end
        cut = Cut(time_origin(video), end, clock_joins(video), sound_end)
        carrier = Carrier(container, name, source, video, cut)
        boxes = described(dubbed)
        template = stack.enter_context(template_with(template, boxes))
        picture = _add_video(container, name, template, dubbed, carrier.warnings)
        if name == "matroska" and (stereo := stereo_mode(boxes)):
            picture.metadata["stereo_mode"] = stereo
        carrier.carried[picture.index] = properties(dubbed, "the picture")
        packets: list[Iterable[Packet[Any]]] = [
            video_packets(segments, picture, ends, shown_durations=name == "matroska")
        ]
        replaced = (
            find_audio(source, video).index
            if audio == "replace" and speech is not None and source.streams.audio
            else None
        )
        if speech is not None:
            reference = (video, find_audio(source, video).index) if source.streams.audio else None
            level = levelling(speech, loudness, reference)
            carrier.warnings += level.notes
            track = SpeechTrack(speech, level, mark=mark)
            if place == "centre":
                track = in_the_centre(track, reference, carrier.cut.origin, carrier.warnings)
        rest = [s for s in source.streams if s.index not in (dubbed.index, replaced)]
        carrier.warnings += names_not_read(video, rest)
        if speech is None:
            carrier.add(rest)
        elif audio == "replace":
            stream = add_speech(container, name, track, language, Disposition.default, carrier.warnings)
            carrier.add(rest)
        else:
            carrier.add(rest)
            first = Disposition(0) if source.streams.audio else Disposition.default
            stream = add_speech(container, name, track, language, first, carrier.warnings)
        if speech is not None:
            tap = LoudnessTap(RATE, track.layout)
            mended: list[int] = []
            packets.append(track.packets(stream, begin, end, sound_end, tap.take, mended.append))
        is_still = is_picture(source) or source.format.name in ("gif", "apng")
        chapters = copy_chapters(source, container, carrier.cut)
        all_tags = container_tags(tags)
        seen = glance(video)
        if "timecode" in map(str.lower, (*tags, *dubbed.metadata)):  # it is kept
            seen = dataclasses.replace(seen, side_data=seen.side_data - {"GOP_TIMECODE"})
        shape, size = dubbed.sample_aspect_ratio or Fraction(1), (template.width, template.height)
        rounded, filled = False, set[int]()
        for packet in heapq.merge(*packets, *carrier.packets(), key=_decoding_time):
            assert packet.pts is not None
            rounded = rounded or (
                packet.stream is picture and (1000 * packet.pts * ends.time_base).denominator != 1
            )
            try:
                container.mux(packet)
                filled.add(packet.stream.index)
            except (av.error.InvalidDataError, av.error.ArgumentError):
                if not carrier.lose(packet):
                    raise
        carrier.settle(filled)
        if speech is not None:
            if heard is not None:
                heard["loudness"] = tap.lufs
            carrier.warnings += mended_note(speech, mended)
            if tap.cancels:
                carrier.warnings.append(
                    f"{speech}: its two channels cancel each other, players with one loudspeaker are next to silent"
                )
            if tap.overs:
                carrier.warnings.append(f"{speech}: {tap.overs}; --loudness with a number limits them")
        if rounded and name == "matroska":
            carrier.warnings.append(
                "Matroska stores whole milliseconds: frame times are rounded to them, MP4 would keep them"
            )
    if shape != 1 and name == "matroska" and not set_display_size(path, *size, shape):
        carrier.warnings.append(
            f"Matroska: no room for the shape of pixels, {shape.numerator}:{shape.denominator}"
        )
    if name == "mp4" and (has_pose(boxes) or stereo_mode(boxes)):
        hide_repetitions(path)
    if name != "matroska" and (off := {index for index, was in carrier.carried.items() if was.off}):
        switch_off(path, off)
    carrier.warnings += picture_losses(seen, _seen(segments, seen), is_still)
    carrier.warnings += losses(path, name, all_tags, carrier.carried, chapters, carrier.covers)
    if name == "mov" and speech is not None and language and not _tagged(path, language):
        carrier.warnings.append(
            f"QuickTime files cannot name the language {language!r}: the speech is not tagged with it"
        )
    return carrier.warnings


def _seen(segments: Sequence[str], source: Glance) -> Glance:
    """Properties of the encoded pictures: of the first segment, and of further ones until all kinds of side data of the
    source are found.
    """
    first = glance(segments[0])
    kinds = set(first.side_data)
    for segment in segments[1:]:
        if source.side_data <= kinds:
            break
        kinds |= glance(segment).side_data
    return dataclasses.replace(first, side_data=frozenset(kinds))


def _tagged(path: Path, language: str) -> bool:
    """True if a track of the file is tagged with the language."""
    with av.open(f"file:{path}") as written:
        return any(same_language(language, stream.language or "") for stream in written.streams.audio)


def _decoding_time(packet: Packet[Any]) -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base


def _muxer_options(
    name: str, tags: Mapping[str, str], time_base: Fraction, rates: Sequence[int], codec: str
) -> dict[str, str]:
    """Options of the muxer: exact times, the index in front (MP4), colours where the codec says none, and nothing that
    differs from run to run.
    """
    colours = segment_options(codec).get("movflags", "")
    if name == "matroska":
        # Without the second option all times are moved to make the first decoding time 0.
        return {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    scale = time_base.denominator
    for rate in (RATE, *rates):
        # Edit lists count in the movie's time scale: a common multiple also holds the starts of audio tracks
        # exactly.
        common = math.lcm(scale, rate)
        scale = common if common < 1 << 31 else scale
    return {
        **UNOFFICIAL,
        **mp4_options(time_base.denominator),
        "movie_timescale": str(scale),
        "movflags": f"+faststart{movflags(name, tags)}{colours}",
    }


def _add_video(
    container: OutputContainer, name: str, template: VideoStream, dubbed: VideoStream, warnings: list[str]
) -> Stream:
    """The picture's stream: as the segments are encoded, with the source's tags."""
    tags = track_tags(dubbed.metadata)
    key = next((key for key in tags if key.lower() == "timecode"), None)
    if key and name != "matroska" and (reason := _refuses_timecode(name, template, tags[key])):
        warnings.append(f"time code {tags.pop(key)}: left out ({name}: {reason})")
    stream = container.add_stream_from_template(template, opaque=True)
    if template.average_rate:
        stream.codec_context.framerate = template.average_rate
    if name != "matroska" or template.codec_context.name == "prores":
        # The first tag that a codec may have is not the right one for all of its profiles.
        stream.codec_context.codec_tag = template.codec_context.codec_tag
    if shape := dubbed.sample_aspect_ratio:
        stream.codec_context.sample_aspect_ratio = shape  # ProRes and DNxHR leave it to the container
    stream.metadata.update(tags)
    stream.disposition = dubbed.disposition | Disposition.default
    return stream


def _refuses_timecode(name: str, template: VideoStream, timecode: str) -> str:
    """Reason why the muxer would not write a time code (a broken tag, a rate it does not go with), empty if
    it would. Found by trying.
    """
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=name) as trial:
            stream = trial.add_stream_from_template(template, opaque=True)
            if template.average_rate:
                stream.codec_context.framerate = template.average_rate
            stream.metadata["timecode"] = timecode
            packet: Packet[Any] = Packet(bytes(8))
            packet.pts = packet.dts = 0
            packet.duration, packet.is_keyframe, packet.time_base, packet.stream = (
                1,
                True,
                Fraction(1, 25),
                stream,
            )
            trial.mux(packet)
    except av.error.FFmpegError as error:
        return describe(error)
    file.seek(0)
    with av.open(file) as written:
        return (
            ""
            if any("timecode" in {key.lower() for key in stream.metadata} for stream in written.streams)
            else "not a valid time code"
        )
