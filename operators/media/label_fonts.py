"""Fonts for notices: those that come with retalk (`operators/media/fonts`), those of the machine, and which of them has
the glyphs of a text.
"""

from __future__ import annotations

import functools
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from PIL import ImageFont, features

from retalk_models.local_files import sha256_of

#: Subsets of Noto Sans Bold (Latin, Greek, Cyrillic) and of Noto Sans CJK SC Bold (the Chinese notices), best first.
BUNDLED = tuple(Path(__file__).parent / "fonts" / name for name in ("labels-latin.ttf", "labels-han.otf"))
SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
#: Beginnings of names of families that are looked at before others.
PREFERRED = ("notosans-bold", "notosanscjk-bold", "notosans", "sourcehansans", "wqy", "dejavusans-bold")
#: Size at which glyphs are compared, pixels.
PROBE = 32
#: A code point that no font has: its glyph is the one for what is missing.
NOWHERE = "\U0010fffe"
#: Faces of a collection that are looked at.
FACES = 16
ADVICE = (
    "install one that has them (Debian: fonts-noto-core, fonts-noto-cjk), or name its file with --label-font"
)


class FontError(ValueError):
    """No font can draw a text; the message says which glyphs are missing and what to do."""


def open_font(place: str | Path, pixels: float, shaped: bool = False) -> ImageFont.FreeTypeFont:
    """Open a font at a size.

    Args:
        place: of the file, with ``#N`` for the N-th of a collection.
        pixels: height of the em.
        shaped: with the shaping that some scripts need; other text is laid out glyph by glyph, which is the same on every
            machine.

    Raises:
        FontError: it cannot be opened.
    """
    path, index = _split(str(place))
    engine = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    try:
        return ImageFont.truetype(path, pixels, index, layout_engine=engine)
    except OSError as problem:
        raise FontError(f"label: font {path} cannot be opened ({problem}); {ADVICE}") from problem


def _split(place: str) -> tuple[str, int]:
    path, mark, number = place.rpartition("#")
    return (path, int(number)) if mark and number.isdigit() else (place, 0)


def digest_of(place: str) -> str:
    """SHA-256 of a font's file.

    Raises:
        FontError: it cannot be read.
    """
    path, _ = _split(place)
    try:
        return sha256_of(Path(path))
    except OSError as problem:
        raise FontError(f"label: font {path} cannot be read ({problem.strerror}); {ADVICE}") from problem


def missing_glyphs(font: ImageFont.FreeTypeFont, text: str) -> str:
    """Characters of a text that a font has no glyph for, each once."""
    nothing = _glyph(font, NOWHERE)
    wanted = [
        sign for sign in dict.fromkeys(text) if not sign.isspace() and unicodedata.category(sign) != "Cf"
    ]
    return "".join(sign for sign in wanted if _glyph(font, sign) in (nothing, b""))


def _glyph(font: ImageFont.FreeTypeFont, sign: str) -> bytes:
    mask = font.getmask(sign)
    return repr(mask.size).encode() + bytes(mask) if any(bytes(mask)) else b""


def needs_shaping(text: str) -> bool:
    """Tell scripts that are written from right to left or whose letters join or stack (Arabic, Hebrew, those of India,
    Thai) from those that are laid out glyph by glyph.
    """
    plain = unicodedata.normalize("NFC", text)
    return any(
        unicodedata.bidirectional(sign) in ("R", "AL", "AN") or unicodedata.category(sign) in ("Mn", "Mc")
        for sign in plain
    )


def check_font(place: str, text: str) -> None:
    """Refuse a font that cannot draw a text.

    Raises:
        FontError: it cannot be opened, lacks glyphs, or this Pillow cannot lay out the script.
    """
    if missing := missing_glyphs(open_font(place, PROBE), text):
        raise FontError(f"label {text!r}: font {place} has no glyph for {' '.join(missing)}; {ADVICE}")
    if needs_shaping(text) and not features.check("raqm"):
        raise FontError(
            f"label {text!r}: this script needs the library raqm, which this installation of Pillow lacks; install a wheel of "
            "Pillow and the library fribidi"
        )


def bundled_font(text: str) -> Path | None:
    """Return the font of retalk that has all glyphs of a text; None where none has."""
    return next((path for path in BUNDLED if not missing_glyphs(open_font(path, PROBE), text)), None)


def find_font(text: str) -> str:
    """Find a font for a text: "" where those of retalk have its glyphs, else the place of one of this machine.

    Raises:
        FontError: none has them.
    """
    if bundled_font(text) is not None:
        if needs_shaping(text):
            check_font(str(bundled_font(text)), text)
        return ""
    for place in machine_fonts():
        try:
            missing = missing_glyphs(open_font(place, PROBE), text)
        except FontError:
            continue
        if not missing:
            check_font(place, text)
            return place
    signs = missing_glyphs(open_font(BUNDLED[0], PROBE), text)
    raise FontError(f"label {text!r}: no font of this machine has glyphs for {' '.join(signs)}; {ADVICE}")


def font_folders() -> list[Path]:
    """Folders where this system keeps fonts."""
    home = Path.home()
    if sys.platform == "darwin":
        return [home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    data = os.environ.get("XDG_DATA_HOME") or str(home / ".local/share")
    shared = (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    return [Path(data) / "fonts", home / ".fonts", *(Path(folder) / "fonts" for folder in shared if folder)]


@functools.lru_cache(maxsize=4)
def _files(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    found = (path for folder in folders if folder.is_dir() for path in folder.rglob("*"))
    fonts = [path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()]
    return tuple(sorted(fonts, key=lambda path: (_rank(path.name.lower()), str(path))))


def _rank(name: str) -> int:
    return next((n for n, start in enumerate(PREFERRED) if name.startswith(start)), len(PREFERRED))


def machine_fonts() -> Iterator[str]:
    """Places of the fonts of this machine, preferred ones first; of a collection the simplified Chinese face first."""
    for path in _files(tuple(font_folders())):
        if path.suffix.lower() not in (".ttc", ".otc"):
            yield str(path)
            continue
        faces = []
        for index in range(FACES):
            try:
                family = ImageFont.truetype(str(path), PROBE, index).getname()[0] or ""
            except OSError:
                break
            faces.append((not family.endswith(" SC"), index))
        yield from (f"{path}#{index}" for _, index in sorted(faces))
