"""Values that the option for the speech's loudness may have; checked before anything heavy is imported."""

from __future__ import annotations

#: Words for the speech's loudness; anything else is a number of LUFS. The first is the default.
WORDS = ("off", "source")
#: LUFS that may be asked for.
LOWEST, HIGHEST = -40.0, -5.0


def loudness_problem(target: str) -> str:
    """Say what is allowed where a text is no loudness; empty where it is one."""
    if target in WORDS:
        return ""
    try:
        if LOWEST <= float(target) <= HIGHEST:
            return ""
    except ValueError:
        pass
    return (
        f"must be off, source or a number of LUFS from {LOWEST:g} to {HIGHEST:g}, "
        f"such as -23 (EBU R 128) or -16; got {target!r}"
    )
