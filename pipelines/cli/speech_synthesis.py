"""A voice without a download: eSpeak NG out of the `espeakng-loader` wheel (GPL-3.0, therefore in the
optional extra `demo` only).

Used by `make demo` to have something to say. Its sound is robotic; use a real recording for anything but a
demonstration.
"""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
import wave
from pathlib import Path

from retalk_models.installation import install_hint

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_PARAMETER_RATE = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def speak(text: str, path: Path, *, voice: str = "en-us", words_per_minute: int = 150) -> float:
    """Write ``text`` spoken by eSpeak NG as a mono 16-bit WAV file: the same words give the same bytes.

    Args:
        text: what to say.
        path: the file to write.
        voice: an eSpeak NG voice name, e.g. ``"en-us"``, ``"de"``.
        words_per_minute: speed, 80 to 450.

    Returns:
        Duration in seconds.

    Raises:
        ValueError: `espeakng-loader` is not installed, or the voice does not exist.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise ValueError(
            f"no offline voice here: {install_hint('demo')}, or give a recording of your own (make demo SPEECH=...)"
        )
    # In a process of its own: what the library says depends on what it has said before.
    command = [sys.executable, "-m", __name__, text, str(path), voice, str(words_per_minute)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise ValueError(
            (run.stderr.strip() or f"the voice ended with code {run.returncode}").splitlines()[-1]
        )
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def _synthesize(text: str, path: str, voice: str, words_per_minute: int) -> str | None:
    """Write the file. Returns what went wrong."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = Path(espeakng_loader.get_data_path())
    chunks: list[bytes] = []

    def collect(samples: ctypes._Pointer, count: int, _events: object) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, count * 2))
        return 0

    callback = _CALLBACK(collect)
    rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), _INITIALIZE_DONT_EXIT)
    if rate <= 0:
        return f"eSpeak NG could not be started with the data of {data}"
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        return f"eSpeak NG has no voice {voice!r}"
    library.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
    encoded = text.encode()
    library.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    library.espeak_Synth(encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
    library.espeak_Synchronize()
    library.espeak_Terminate()
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(chunks))
    return None


if __name__ == "__main__":
    _, words, target, name, rate = sys.argv
    sys.exit(_synthesize(words, target, name, int(rate)))
