"""The C2PA manifest of a dub: what was done, with what, from what. Plain data, the same for the same dub."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from retalk_models import __version__

#: Name of the program in manifests.
GENERATOR = "retalk"
#: IPTC's vocabulary of digital source types.
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
#: Language of a source that does not say it; the action needs one.
UNKNOWN = "und"
#: Labels of the ingredients.
SOURCE, SPEECH = "source", "speech"
#: Name of the algorithm of retalk's watermark in soft bindings, and the label of the assertion with retalk's own facts.
WATERMARK, FACTS = "org.retalk.watermark", "org.retalk.dub"


@dataclass(frozen=True)
class DubFacts:
    """Facts about a dub that its manifest tells.

    Attributes:
        key: content key of the output; the manifest's identity is derived from it.
        output: URL of the output.
        video, speeches: URLs of what it was made of. Only the last part of a name is told.
        language: of the speech, "" where it is not known.
        source_language: of the video, likewise.
        engine: its name.
        source_type: last part of the IPTC address of the pictures' digital source type.
        watermark_id: 16 hexadecimal digits, "" for none.
        consent: as the manifest row gives it.
        consents: those of single speakers.
        length, audio: the rules that the dub was made by.
        notice: that is drawn into the picture, "" for none.
    """

    key: str
    output: str
    video: str
    speeches: tuple[str, ...]
    language: str = ""
    source_language: str = ""
    engine: str = ""
    source_type: str = "compositeWithTrainedAlgorithmicMedia"
    watermark_id: str = ""
    consent: dict[str, str] = field(default_factory=dict)
    consents: tuple[dict[str, str], ...] = ()
    length: str = "keep"
    audio: str = "replace"
    notice: str = ""


def derived_id(key: str, part: str) -> str:
    """A UUID (version 4 by its form) that depends on a dub and a part of its manifest alone: the same after a retry."""
    digest = hashlib.sha256(f"retalk provenance {part} {key}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def manifest_id(key: str) -> str:
    """The manifest's own name."""
    return f"urn:c2pa:{derived_id(key, 'manifest')}"


def base_name(url: str) -> str:
    """The last part of a path or URL, without a query."""
    return PurePosixPath(url.partition("?")[0] if "://" in url else url).name


def soft_binding(watermark_id: str) -> dict[str, Any] | None:
    """Return the assertion that binds a manifest to the watermark in the content; None where there is none.

    Args:
        watermark_id: 16 hexadecimal digits, or "".
    """
    if not watermark_id:
        return None
    blocks = [{"scope": {}, "value": watermark_id}]
    return {"label": "c2pa.soft-binding", "data": {"alg": WATERMARK, "blocks": blocks, "pad": ""}}


def ingredients(facts: DubFacts) -> dict[str, str]:
    """URLs of all that a dub was made of, by label: the source, the speech, and further speeches as ``speech2`` and so on."""
    labels = [SPEECH, *(f"{SPEECH}{number}" for number in range(2, len(facts.speeches) + 1))]
    return {SOURCE: facts.video, **dict(zip(labels, facts.speeches, strict=True))}


def ingredient(facts: DubFacts, label: str) -> dict[str, Any]:
    """Entry of the manifest for the source or a speech."""
    url, relationship = ingredients(facts)[label], "parentOf" if label == SOURCE else "componentOf"
    return {
        "title": base_name(url),
        "relationship": relationship,
        "label": label,
        "instance_id": f"xmp:iid:{derived_id(facts.key, label)}",
    }


def actions(facts: DubFacts) -> list[dict[str, Any]]:
    """Actions that made a dub, in order, in the words of the C2PA specification."""
    agent = {"name": GENERATOR, "version": __version__}
    found: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": {"ingredientIds": [SOURCE]}}]
    if facts.language:
        languages = {"sourceLanguage": facts.source_language or UNKNOWN, "targetLanguage": facts.language}
        found.append({"action": "c2pa.translated", "parameters": languages})
    lips = {"identifier": "https://schema.org/description", "value": "lips"}
    found.append(
        {
            "action": "c2pa.dubbed",
            "digitalSourceType": SOURCE_TYPES + facts.source_type,
            "description": f"mouth movements made to fit the new speech by the engine {facts.engine}",
            "changes": [{"region": [{"type": "identified", "item": lips}], "description": "the mouth"}],
            "parameters": {"ingredientIds": [label for label in ingredients(facts) if label != SOURCE]},
        }
    )
    if facts.notice:
        found.append({"action": "c2pa.addedText", "description": f"the notice {facts.notice!r}"})
    if facts.watermark_id:
        found.append({"action": "c2pa.watermarked.bound"})
    found.append({"action": "c2pa.transcoded"})
    return [{**action, "softwareAgent": agent} for action in found]


def dub_manifest(facts: DubFacts, mime: str) -> dict[str, Any]:
    """The definition of a dub's manifest, without its ingredients."""
    told: dict[str, Any] = {
        "engine": facts.engine,
        "version": __version__,
        "key": facts.key,
        "language": facts.language or None,
        "length": facts.length,
        "audio": facts.audio,
        "watermark": facts.watermark_id or None,
        "consent": facts.consent or None,
        "consents": list(facts.consents) or None,
    }
    assertions = [
        {"label": "c2pa.actions.v2", "data": {"actions": actions(facts)}},
        {"label": FACTS, "data": {name: value for name, value in told.items() if value is not None}},
    ]
    if facts.language:
        context = {"dc": "http://purl.org/dc/elements/1.1/"}
        assertions.append(
            {"label": "cawg.metadata", "data": {"@context": context, "dc:language": [facts.language]}}
        )
    if (bound := soft_binding(facts.watermark_id)) is not None:
        assertions.append(bound)
    return {
        "claim_generator_info": [{"name": GENERATOR, "version": __version__}],
        "title": base_name(facts.output),
        "format": mime,
        "label": manifest_id(facts.key),
        "instance_id": f"xmp:iid:{derived_id(facts.key, 'instance')}",
        "assertions": assertions,
    }
