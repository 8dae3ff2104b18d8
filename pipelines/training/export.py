"""Release of a trained network: the official nesting, safetensors, and a model card."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from operators.storage.files import atomic_write
from pipelines.errors import UsageError
from pipelines.state.run_directory import write_text
from pipelines.training.checkpoints import Checkpoints
from retalk_models import __version__
from retalk_models.training.lora import add_lora, merge_lora
from retalk_models.training.steps import networks_for
from retalk_models.weights.safetensors_format import TYPES

#: Key under which the official files hold their weights; the sync expert has none and takes the common one.
NESTING = {"dnet": "net_G_ema", "lnet": "state_dict", "enet": "state_dict", "sync": "state_dict"}
#: safetensors' names of types.
NAMES = {dtype: name for name, dtype in TYPES.items()}


def export(run: str, output: str, about_data: str = "") -> dict[str, Any]:
    """Write the averaged weights of a training's last checkpoint.

    Args:
        run: URL of the training.
        output: URL; ``.safetensors`` gives that format, anything else the official nesting of a torch file. A model card is
            written beside it, ``.md`` in place of the suffix.
        about_data: text on the data and its rights, for the card.

    Returns:
        ``kind``, ``step``, ``parameters``, ``file``, ``card`` and ``options``, those of the network; {}: the official sizes.

    Raises:
        UsageError: there is no checkpoint.
    """
    found = Checkpoints(run).latest()
    if found is None:
        raise UsageError(f"{run}: holds no checkpoint to export")
    step, state, _ = found
    config, kind = state["config"], state["config"]["kind"]
    weights = released(state)
    if output.endswith(".safetensors"):
        metadata = {
            "network": kind,
            "options": json.dumps(config["network"]),
            "step": str(step),
            "retalk": __version__,
        }
        with atomic_write(output) as path:
            path.write_bytes(safetensors(weights, metadata))
    else:
        content = {
            NESTING[kind]: weights,
            "network": config["network"],
            "retalk": {"kind": kind, "step": step},
        }
        with atomic_write(output) as path:
            torch.save(content, path)
    card = f"{output.rsplit('.', 1)[0] if '.' in output.rsplit('/', 1)[-1] else output}.md"
    write_text(card, model_card(state, about_data))
    count = sum(value.numel() for value in weights.values() if value.is_floating_point())
    about = {"kind": kind, "step": step, "parameters": count, "file": output, "card": card}
    return {**about, "options": config["network"]}


def released(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the averaged weights of a checkpoint's content under the network's own keys, LoRA merged in."""
    config = state["config"]
    network = networks_for(config["kind"], config["critic"], **config["network"]).generator
    if config["sources"]["lora"]:
        add_lora(network, config["sources"]["lora"])
    network.load_state_dict(state["average"]["state"], strict=True)
    return {key: value.contiguous() for key, value in merge_lora(network).eval().state_dict().items()}


def safetensors(weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file: the header's length, the header as JSON, the tensors one after the other."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts, at = [], 0
    for key, value in weights.items():
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[key] = {
            "dtype": NAMES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [at, at + len(content)],
        }
        parts.append(content)
        at += len(content)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def model_card(state: Mapping[str, Any], about_data: str = "") -> str:
    """Return the model card of a checkpoint's content, in Markdown."""
    config, step = state["config"], state["step"]
    held_out = [row for row in state["log"] if row.get("held_out")]
    lines = [
        f"# {config['kind']}, trained with retalk {__version__}",
        "",
        config["description"] or "",
        "",
        f"* Steps: {step} of batches of {config['batch'] * config['accumulate'] * config['workers']}",
        f"* Begun from: {config['sources']['begin'] or 'random weights'}"
        + (f", LoRA of rank {config['sources']['lora']}, merged" if config["sources"]["lora"] else ""),
        f"* Weights: moving average, decay {config['average']}",
        f"* Data: {about_data or 'not stated. Say what it is and what its terms allow before you pass this file on'}",
        "* Intended use: dubbing with the consent of the person who is shown (docs/rights.md)",
        "",
    ]
    if held_out:
        last = {k: v for k, v in held_out[-1].items() if isinstance(v, float) and math.isfinite(v)}
        lines += ["## On held-out people", "", "| measure | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4g} |" for name, value in last.items()] + [""]
    settings = {k: v for k, v in config.items() if k not in ("description", "sources")}
    return "\n".join([*lines, "## Settings", "", "```json", json.dumps(settings, indent=1), "```", ""])
