"""Columns of the ledger."""

from __future__ import annotations

import pyarrow as pa

#: A dub's value of one metric: over the title, and of the worst output segment or shot (`per`), with where in
#: the output that starts, in seconds.
METRIC = pa.struct(
    [
        *(pa.field(name, pa.string()) for name in ("name", "per", "unit", "better")),
        *(pa.field(name, pa.float64()) for name in ("value", "worst", "worst_at")),
    ]
)

#: A reason to look at a dub, and its place in the output in seconds (null: everywhere).
REASON = pa.struct([pa.field("text", pa.string()), pa.field("at", pa.float64())])

#: Consent of the person who is dubbed: the entries that the manifest gives (null: none).
CONSENT = pa.struct([pa.field(name, pa.string()) for name in ("who", "when", "scope", "text", "url")])

#: Who was dubbed with what, where a dub has several speakers (null: it has one).
SPEAKER = pa.struct(
    [*(pa.field(name, pa.string()) for name in ("face", "speech")), pa.field("consent", CONSENT)]
)

#: Somebody who was dubbed: what they are called (the choice of a face, or ``person N`` of ``--face speaking``), their speech, and how long
#: their mouth was redrawn.
PERSON = pa.struct(
    [*(pa.field(name, pa.string()) for name in ("name", "speech")), pa.field("seconds", pa.float64())]
)

#: Columns on signed provenance: ``embedded``, ``sidecar`` or ``off``; the manifest's name; the signer's; when a time-stamp
#: authority has seen the signature (``none``: it did not answer; empty: none was asked).
PROVENANCE = ("provenance", "manifest_id", "signed_by", "time_stamp")

#: Columns of the ledger, one row per title and dub.
LEDGER = pa.schema(
    [
        *(
            pa.field(name, pa.string())
            for name in (
                "title",
                "dub",
                "state",
                "error",
                "video",
                "speech",
                "output",
                "language",
                "engine",
                "key",
            )
        ),
        *(pa.field(name, pa.int64()) for name in ("frames", "segments", "reused", "bytes", "size")),
        pa.field("seconds", pa.float64()),
        pa.field("video_seconds", pa.float64()),
        pa.field("stage_seconds", pa.string()),
        pa.field("metrics", pa.list_(METRIC)),
        pa.field("verdict", pa.string()),
        pa.field("reasons", pa.list_(REASON)),
        pa.field("notes", pa.list_(pa.string())),
        pa.field("consent", CONSENT),
        pa.field("speakers", pa.list_(SPEAKER)),
        pa.field("people", pa.list_(PERSON)),
        *(pa.field(name, pa.string()) for name in PROVENANCE),
        pa.field("watermark_id", pa.string()),
        pa.field("watermark", pa.string()),
        pa.field("watermark_speech", pa.float64()),
        pa.field("watermark_picture", pa.float64()),
        pa.field("finished", pa.string()),
    ]
)
