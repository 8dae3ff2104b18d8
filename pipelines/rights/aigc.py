"""The tag AIGC of GB 45438-2025: metadata of a file that says it was synthesised, by whom, and under which number."""

from __future__ import annotations

import json

#: Name of the tag.
TAG = "AIGC"
#: Value of `Label`: the content is synthesised (2 is for what may be, 3 for what is suspected to be).
SYNTHESISED = "1"


#: Note on a tag without a producer.
NAMELESS = f"the tag {TAG} names no producer, which the standard asks for: --label-producer"


def aigc_tag(producer: str, number: str) -> str:
    """Return the tag's value, JSON with the fields that the standard lists.

    Args:
        producer: name or code of the one who synthesised the content.
        number: by which the producer knows it; here the key of the dub.
    """
    fields = {
        "Label": SYNTHESISED,
        "ContentProducer": producer,
        "ProduceID": number,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
