"""Visible notices of a run: forms that rules ask for, resolved for each dub into options of the stage that encodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from operators.media.label import Label
from operators.media.label_fonts import FontError, check_font, digest_of, find_font
from operators.media.languages import language_code
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import LabelConfig
from pipelines.errors import UsageError
from pipelines.manifest.titles import Dub, Title, merged


@dataclasses.dataclass(frozen=True)
class Preset:
    """One form of a notice.

    Attributes:
        text: where no other is known for the language of a dub.
        position, seconds, size: see `operators.media.label.Label`.
        texts: by ISO 639-2/T code of the dub's language.
        tagged: the file carries the tag `AIGC` of GB 45438 too.
    """

    text: str
    position: str
    seconds: str
    size: float
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    tagged: bool = False


#: Words for "altered with AI" in the languages of the European Union, with the letters that stand for AI there.
EU_TEXTS = {
    "bul": "Променено с ИИ",
    "ces": "Upraveno pomocí AI",
    "dan": "Ændret med AI",
    "deu": "Mit KI verändert",
    "ell": "Τροποποιημένο με ΤΝ",
    "eng": "Altered with AI",
    "spa": "Modificado con IA",
    "est": "Muudetud tehisintellektiga",
    "fin": "Muokattu tekoälyllä",
    "fra": "Modifié par IA",
    "hrv": "Izmijenjeno uz pomoć UI-ja",
    "hun": "MI-vel módosítva",
    "ita": "Modificato con IA",
    "lit": "Pakeista naudojant DI",
    "lav": "Mainīts ar MI",
    "nld": "Bewerkt met AI",
    "pol": "Zmienione przez AI",
    "por": "Modificado com IA",
    "ron": "Modificat cu IA",
    "slk": "Upravené pomocou AI",
    "slv": "Spremenjeno z UI",
    "swe": "Ändrad med AI",
}
PRESETS = {
    "eu": Preset(EU_TEXTS["eng"], "top-left", "all", 0.045, EU_TEXTS),
    # Letters of at least 5 % of the shorter side, for at least 2 s of the beginning; names AI and that it is synthetic.
    "cn": Preset("本视频由人工智能合成", "top-left", "5", 0.06, tagged=True),
}


def label_for(config: LabelConfig, language: str = "") -> Label:
    """Return the notice of a dub.

    Args:
        config: what was asked for.
        language: of the dub, "" where it is not known.

    Raises:
        UsageError: it cannot be; or no font has its letters.
    """
    preset = PRESETS.get(config.text)
    text = config.text
    if preset is not None:
        text = preset.texts.get(language_code(language) or "" if language else "", preset.text)
    given = {
        name: value
        for name in ("position", "seconds", "size")
        if (
            value := getattr(config, name)
            if getattr(config, name) is not None
            else getattr(preset, name, None)
        )
        is not None
    }
    try:
        if config.font:
            check_font(config.font, text)
        font = config.font or find_font(text)
        digest = digest_of(font) if font else ""
        return Label(
            text, label_font=font, label_font_sha256=digest, **{f"label_{k}": v for k, v in given.items()}
        )
    except (FontError, ValueError) as problem:
        raise UsageError(str(problem)) from problem


def labelled(
    titles: Sequence[Title], engine: Engine, config: LabelConfig, given: Collection[str] = ()
) -> list[Title]:
    """Give the dubs of titles the notice that was asked for. Where a row or the engine's options have one, that is the notice, and a name
    in it stands for its form too.

    Args:
        titles: of the manifest. A dub whose own notice cannot be drawn gets an error.
        engine: whose last stage draws it.
        config: what was asked for.
        given: names in it that this run's caller gave, where they are not a profile's.

    Raises:
        UsageError: the engine cannot; the notice of all cannot be drawn; or what is given has no effect, as no title has a notice.
    """
    last = engine.stages[-1]
    if "label" not in type(last.options).__dataclass_fields__:
        if config.text:
            raise UsageError(
                f"label: engine {engine.name} encodes without labels; choose another engine, or no label"
            )
        return list(titles)
    usual = vars(Label())
    of_engine = {name: value for name in usual if (value := getattr(last.options, name)) != usual[name]}
    known: dict[tuple[LabelConfig, str], dict[str, dict[str, Any]]] = {}

    def noticed(dub: Dub, own: dict[str, Any]) -> Dub:
        asked = _asked(config, {**of_engine, **own})
        if not asked.text:
            return dub
        try:
            if (asked, dub.language) not in known:
                drawn = {last.name: vars(label_for(asked, dub.language))}
                known[asked, dub.language] = engine.check_overrides(drawn, "label")
        except UsageError as problem:
            if not usual.keys() & own.keys():
                raise
            return dataclasses.replace(dub, error=dub.error or str(problem))
        options = merged(dub.options, known[asked, dub.language])
        return dataclasses.replace(dub, options=options, aigc=_producer(asked, config))

    found = []
    for title in titles:
        shared = title.options.get(last.name, {})
        dubs = [noticed(dub, {**shared, **dub.options.get(last.name, {})}) for dub in title.dubs]
        found.append(dataclasses.replace(title, dubs=tuple(dubs)))
    if given:
        _check_effect(found, given)
    return found


def _check_effect(titles: Sequence[Title], given: Collection[str]) -> None:
    """Refuse settings of notices that no dub without an error has."""
    dubs = [dub for title in titles for dub in title.dubs if not dub.error]
    if not dubs:
        return
    if not any(label_text(dub.options) for dub in dubs):
        raise UsageError(
            f"label: {', '.join(sorted(given))} given, but nothing has a label; give its text too (--label TEXT)"
        )
    if "producer" in given and all(dub.aigc is None for dub in dubs):
        raise UsageError(
            "label: a producer is named in the tag of the label cn alone, which nothing has (--label cn)"
        )


def _asked(config: LabelConfig, own: dict[str, Any]) -> LabelConfig:
    """The notice of a dub whose own options, such as ``label_seconds``, are these."""
    fields = {"label": "text", **{f"label_{name}": name for name in ("position", "seconds", "size", "font")}}
    return config.model_copy(update={fields[name]: own[name] for name in fields if own.get(name)})


def _producer(*asked: LabelConfig) -> str | None:
    """The producer that the tag AIGC names, where one of these notices asks for the tag; None: no tag."""
    tagged = [one for one in asked if one.text in PRESETS and PRESETS[one.text].tagged]
    return tagged[0].producer if tagged else None


def label_text(options: dict[str, dict[str, Any]]) -> str:
    """Return the notice that a dub's options ask for; "" for none."""
    return next((str(values["label"]) for values in options.values() if values.get("label")), "")


def _when(seconds: str) -> str:
    """Say when a notice is shown: a number of seconds, or stretches of them."""
    return f"in the seconds {seconds}" if "-" in seconds else f"in the first {seconds} s"


def label_note(options: dict[str, dict[str, Any]]) -> str:
    """Return the note on a dub that has a notice; "" without one."""
    for values in options.values():
        if text := values.get("label"):
            when = values.get("label_seconds", "all")
            shown = "all the time" if when == "all" else _when(when)
            return f"labelled: {text!r} is drawn into the picture at the {values.get('label_position', 'top-left')}, {shown}"
    return ""
