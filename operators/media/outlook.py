"""Outputs that cannot be written, known before anything is drawn."""

from __future__ import annotations

import contextlib

from operators.media.assemble import FORMATS
from operators.media.audio import audio_blocks, find_audio
from operators.media.codec_names import Encoding
from operators.media.container import open_input
from operators.media.encoders import EncoderOptions, codec_for, encoder_problem
from operators.media.probe import VideoInfo
from operators.media.tracks import refusal
from operators.storage.errors import NoAudioError


def encoding_outlook(info: VideoInfo, options: Encoding) -> str:
    """Say why the pictures of a video cannot be encoded as asked for; empty where they can."""
    settings = EncoderOptions.of(options)
    problem = encoder_problem(info, codec_for(info, settings))
    return f"{info.url}: {problem}" if problem else ""


def check_carried_sound(video: str, container: str, audio: str, place: str) -> None:
    """Decode the beginnings of those audio tracks of a video that its output needs as samples.

    Args:
        video: fsspec URL.
        container: of the output, see `operators.media.codec_names.Container`.
        audio, place: rules for sound, see `operators.media.assemble.assemble`.

    Raises:
        MediaError: one of them cannot be decoded.
    """
    name = FORMATS[f".{container}"]
    with open_input(video) as source:
        if not source.streams.audio:
            return
        default = find_audio(source, video).index
        needed = [
            stream.index
            for stream in source.streams.audio
            if (stream.index == default and place == "centre")
            or (
                not (stream.index == default and audio == "replace")
                and stream.codec_context is not None
                and refusal(stream, name)
            )
        ]
    for index in needed:
        # A track that is over before the first picture is no reason to refuse the others.
        with contextlib.suppress(NoAudioError):
            next(audio_blocks(video, index=index), None)
