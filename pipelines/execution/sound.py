"""The sound of an output's speech track where it is made of several: the speeches of a title's speakers, and the source's own
sound outside the ranges that are dubbed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from operators.media.audio import has_sound
from operators.media.mixing import write_mix
from operators.media.probe import probe_video
from operators.storage.scratch import scratch_folder
from pipelines.planning.plans import DubPlan
from pipelines.planning.stretches import dubbed_frames, spoken_seconds


@contextmanager
def sound_of(dub: DubPlan) -> Iterator[str]:
    """Give the URL of a dub's sound: its speech, or a temporary file for as long as the context lasts. What was done to the sounds
    is noted in the plan.

    Raises:
        MediaError: a sound cannot be read.
        RangeError: the dub's ranges are not those of its video.
    """
    asked = dub.dub
    if asked.audio == "keep" or not (asked.mixed or asked.partial):
        yield asked.speech
        return
    with scratch_folder() as folder:
        made = str(folder / "speech.wav")
        if not asked.partial:
            dub.note(*write_mix(made, asked.heard))
        else:
            info = probe_video(dub.video)
            inside = dubbed_frames(asked, dub.video, info)
            assert inside is not None
            spans, seconds = spoken_seconds(inside, info), float(info.duration)
            source = dub.video if has_sound(dub.video) else None
            dub.note(*write_mix(made, asked.heard, source, spans, seconds))
        yield made
