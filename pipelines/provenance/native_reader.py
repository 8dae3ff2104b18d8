"""Read one file's C2PA manifest with the native library, in a process of its own: a script that `pipelines.provenance.c2pa_check`
starts.

The request is one JSON object on standard input, the answer one on standard output. Files come from strangers and the library is
native code: the process limits its own memory, time and writing first, so that a crash or a bomb ends it and nothing else. Nothing
of this distribution is imported.
"""

import json
import sys
from typing import Any

#: Characters of a text and entries of a list that are handed on: a manifest may hold megabytes of either.
TEXT, LIST = 300, 40
#: Memory that the process may address, bytes.
MEMORY = 4 << 30


def limit(seconds: int) -> None:
    """Limit this process; `seconds` of processor time."""
    import resource

    for kind, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, hard))


def short(value: Any) -> Any:
    """A JSON value with its texts and lists cut, five levels deep."""
    return _short(value, 5)


def _short(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value[:TEXT]
    if isinstance(value, dict):
        kept = list(value.items())[:LIST] if depth else []
        return {str(key)[:TEXT]: _short(one, depth - 1) for key, one in kept}
    if isinstance(value, list):
        return [_short(one, depth - 1) for one in value[:LIST]] if depth else []
    return value


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _codes(results: Any, kind: str) -> list[str]:
    """Codes of a kind (``success``, ``failure``) in the results of a validation."""
    entries = _list(_dict(_dict(results).get("activeManifest")).get(kind))
    return [str(_dict(one).get("code"))[:TEXT] for one in entries[:LIST]]


def summary(store: Any) -> dict[str, Any]:
    """The parts of a manifest store that are shown, whatever a hostile one holds in their places."""
    store = _dict(store)
    label = str(store.get("active_manifest", ""))
    manifests = _dict(store.get("manifests"))
    active = _dict(manifests.get(label))
    found: dict[str, Any] = {
        "state": str(store.get("validation_state", "")),
        "manifest": label,
        "title": active.get("title"),
        "instance_id": active.get("instance_id"),
        "generator": _list(active.get("claim_generator_info"))[:1],
        "signature": _dict(active.get("signature_info")),
        "ingredients": [
            {
                **{key: _dict(one).get(key) for key in ("title", "relationship", "active_manifest")},
                "failures": _codes(_dict(one).get("validation_results"), "failure"),
            }
            for one in _list(active.get("ingredients"))[:LIST]
        ],
        "manifests": len(manifests),
        "actions": [],
        "soft_bindings": [],
    }
    for assertion in map(_dict, _list(active.get("assertions"))):
        name, data = str(assertion.get("label", "")), _dict(assertion.get("data"))
        if name.startswith("c2pa.actions"):
            found["actions"] += [
                {"action": _dict(one).get("action"), "digitalSourceType": _dict(one).get("digitalSourceType")}
                for one in _list(data.get("actions"))[:LIST]
            ]
        elif name.startswith("c2pa.soft-binding"):
            found["soft_bindings"] += [
                {"alg": data.get("alg"), "value": _dict(block).get("value")}
                for block in _list(data.get("blocks"))[:LIST]
            ]
        elif name.startswith("org.retalk.dub"):
            found["dub"] = data
    found = short(found)
    results = _dict(store.get("validation_results"))
    found["signer_trusted"] = "signingCredential.trusted" in _codes(results, "success")
    found["time_trusted"] = "timeStamp.trusted" in _codes(results, "success")
    failures = _list(_dict(results.get("activeManifest")).get("failure"))
    for delta in map(_dict, _list(results.get("ingredientDeltas"))):
        failures = failures + _list(_dict(delta.get("validationDeltas")).get("failure"))
    found["failures"] = [
        {key: short(_dict(one).get(key)) for key in ("code", "explanation")} for one in failures[:LIST]
    ]
    return found


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Read the manifest of a file.

    Args:
        request: ``path``, ``mime`` (or None), ``sidecar`` (path of a manifest beside it, or None), ``anchors`` (PEM of trusted roots).

    Returns:
        ``found``, the `summary`; or ``error`` with ``kind``, the name of the library's error.
    """
    import c2pa

    settings = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
        "trust": {"user_anchors": request["anchors"]} if request["anchors"] else {},
    }
    data = None
    if request["sidecar"]:
        with open(request["sidecar"], "rb") as beside:
            data = beside.read()
    try:
        context = c2pa.Context.from_dict(settings)
        with open(request["path"], "rb") as file:
            reader = c2pa.Reader(request["mime"], file, manifest_data=data, context=context)
            return {"found": summary(json.loads(reader.json()))}
    except c2pa.C2paError as problem:
        text = str(problem)[:TEXT]  # "Kind: what is wrong"
        return {"error": text, "kind": text.partition(":")[0]}
    except (ValueError, RecursionError, OSError) as problem:
        return {"error": str(problem)[:TEXT], "kind": type(problem).__name__}


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    limit(request["seconds"])
    json.dump(read(request), sys.stdout)


if __name__ == "__main__":
    # The script's own folder comes first, and names of modules in it are common words.
    del sys.path[0]
    main()
