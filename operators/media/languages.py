"""Language tags: what users write (``de``, ``pt-BR``, ``deu``) and what containers hold (ISO 639-2 codes of
three letters).
"""

from __future__ import annotations

import difflib
import functools
import re
from typing import Any

#: QuickTime files hold about half of the languages, by codes of their own or by those of ISO 639-2/B.
QUICKTIME_CODES = {
    **{
        "deu": "ger",
        "nld": "dut",
        "ell": "gre",
        "isl": "ice",
        "zho": "chi",
        "mya": "bur",
        "hye": "arm",
        "kat": "geo",
        "mkd": "mac",
    },
    **{
        "msa": "may",
        "fas": "per",
        "sqi": "alb",
        "bod": "tib",
        "cym": "wel",
        "eus": "baq",
        "swe": "sve",
        "nob": "nor",
        "nno": "nor",
        # QuickTime's own names, with the space.
        "hrv": "hr ",
        "srp": "sr ",
        "fao": "fo ",
    },
}
#: ISO 639-2 reserves qaa to qtz for local use; these are names of groups, which a list of single languages
#: lacks.
_COLLECTIVE = {"mul", "und", "mis", "zxx"}
#: Words for languages that ISO 639 calls by a longer name.
_COMMON_NAMES = {
    **{
        "mandarin": "zho",
        "farsi": "fas",
        "greek": "ell",
        "castilian": "spa",
        "flemish": "nld",
        "brazilian": "por",
        "malay": "msa",
    },
    **{
        "deutsch": "deu",
        "español": "spa",
        "espanol": "spa",
        "français": "fra",
        "francais": "fra",
        "italiano": "ita",
        "português": "por",
    },
    **{
        "nederlands": "nld",
        "polski": "pol",
        "svenska": "swe",
        "dansk": "dan",
        "norsk": "nor",
        "suomi": "fin",
        "türkçe": "tur",
    },
}


@functools.cache
def _languages() -> Any:
    # The tables are read on first use: most runs name no language.
    import pycountry

    return pycountry.languages


@functools.lru_cache(maxsize=1024)
def language_code(tag: str) -> str | None:
    """Return the ISO 639-2/T code of a language tag, that of ISO 639-3 where the former has none, or None for
    an unknown tag.

    Args:
        tag: ISO 639-1, 639-2 (T or B) or 639-3 code, alone or with subtags (``pt-BR``, ``zh_Hant``).
    """
    primary = tag.strip().replace("_", "-").split("-")[0].lower()
    if not (primary.isascii() and primary.isalpha() and len(primary) in (2, 3)):
        return None
    if primary in _COLLECTIVE or (len(primary) == 3 and "qaa" <= primary <= "qtz"):
        return primary
    keys = ("alpha_2",) if len(primary) == 2 else ("alpha_3", "bibliographic")
    for key in keys:
        found = _languages().get(**{key: primary})
        if found is not None:
            return str(found.alpha_3)
    return None


def language_tag(tag: str) -> str:
    """Return the shortest tag of a language in the form of BCP 47: ``de`` for ``deu``, ``pt-BR`` for ``por_BR``.

    Args:
        tag: as of `language_code`; one that is unknown is returned as it is.
    """
    code, (_, _, rest) = language_code(tag), tag.strip().replace("_", "-").partition("-")
    if code is None:
        return tag
    found = _languages().get(alpha_3=code)
    short = str(getattr(found, "alpha_2", "") or code)
    return f"{short}-{rest}" if rest else short


def container_language(name: str, tag: str) -> str:
    """A language as a container writes it.

    Args:
        name: FFmpeg's name of the container format.
        tag: code or tag; one that is unknown is returned as it is.
    """
    code = language_code(tag)
    if code is None or name not in ("mp4", "mov"):
        return tag
    if name == "mov":
        return QUICKTIME_CODES.get(code, code)
    return tag if len(tag) == 3 else code


def same_language(first: str, second: str) -> bool:
    """True if two tags name one language: by the codes of ISO 639, which has two for some, or by QuickTime's."""
    return bool(_names(first) & _names(second))


def _names(tag: str) -> set[str]:
    code = language_code(tag) or tag.strip().lower()
    return {code, QUICKTIME_CODES.get(code, code)}


@functools.lru_cache(maxsize=1024)
def language_problem(tag: str) -> str:
    """Say why a language tag is refused, with the nearest code where its name is known; empty for a tag that
    is understood.
    """
    if language_code(tag) is not None:
        return ""
    suggestion = _suggestion(tag.strip().lower())
    meant = f": did you mean {suggestion}?" if suggestion else "."
    return f"{tag!r} is an unknown language{meant} A language is a code of ISO 639 (deu, de) or a tag such as pt-BR"


def _suggestion(word: str) -> str:
    """The code and name of the language that a word seems to name."""
    names = {language.name.lower(): language for language in _languages()}
    # "Greek, Modern (1453-)" is meant by "greek".
    common = {
        name.split("(")[0].split(",")[0].split(";")[0].strip(): one
        for name, one in names.items()
        if hasattr(one, "alpha_2")
    }
    every = {
        **names,
        **common,
        **{name: _languages().get(alpha_3=code) for name, code in _COMMON_NAMES.items()},
    }
    # First among the languages that have a code of two letters, for those are mostly meant.
    for candidates in ({**common, **{name: every[name] for name in _COMMON_NAMES}}, every):
        for name in (word, re.split("[-_ ]", word)[0]):
            # Names of three letters and less are like too many others.
            if len(name) > 3 and (near := difflib.get_close_matches(name, candidates, 1, 0.8)):
                return f"{every[near[0]].alpha_3!r} ({every[near[0]].name.split('(')[0].strip()})"
    return ""
