"""Tables of the results, and the profile that follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.processes import fastest
from benchmarks.gpu.results import FAILED, Results
from benchmarks.gpu.settings import Settings
from operators.retalk.tensor_chain import STEPS
from pipelines.capacity.gpu_shares import GPU_ROOM, SHARES, actors_of, share_of

#: dB of the final mouth below which lower precision is not recommended.
ENOUGH_DB = 45.0
#: Steps of the chain that the stages of each pool run.
POOLS = {
    "reconstruct": (("recon3d", "dnet"), ("cut", "dnet", "identity")),
    "generate": (("lnet", "enet"), ("lnet", "enet", "restore", "parse", "mask")),
}
#: GPUs that the profile is written for: one is measured, a node has several.
GPUS = 8


def write(folder: Path, results: Results, settings: Settings) -> None:
    """Write ``report.md`` and ``profile.yaml``."""
    (folder / "report.md").write_text(text(results, settings))
    (folder / "profile.yaml").write_text(profile(results, settings))


def text(results: Results, settings: Settings) -> str:
    """Return the tables as Markdown."""
    parts = [
        "# benchmarks.gpu\n\n" + ", ".join(f"{name} {value}" for name, value in results.about.items()),
        _section("float32 on the device against the CPU's exact form", parity(results)),
        _section("Error of lower precision", precision(results)),
        _section("The chain", chain(results, settings)),
        _section("Seconds of a frame, step by step", steps(results, settings)),
        _section("Processes on one device", processes(results)),
        _section("Networks: items per second (MiB reserved)", speed(results, settings)),
    ]
    failed = [
        f"* {name}: {piece['error']}" for name, piece in results.pieces.items() if piece["state"] == FAILED
    ]
    if failed:
        parts.append("## Failed\n\n" + "\n".join(failed))
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, rows: Sequence[Sequence[str]]) -> str:
    return f"## {title}\n\n{markdown(rows)}" if len(rows) > 1 else ""


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    head, *body = rows
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]
    return "\n".join(lines)


def parity(results: Results) -> list[list[str]]:
    """Errors in float32."""
    rows = [["network", "as built: max, mean", "folded, channels last: max, mean", "within the bound"]]
    for label, found in results.part("parity"):
        if label == "chain":
            continue
        cells = [f"{found[form]['max']:.1e}, {found[form]['mean']:.1e}" for form in ("exact", "folded")]
        rows.append([label, *cells, f"{found['bound']:g}: {'yes' if found['within'] else 'NO'}"])
    if whole := results.figures("parity/chain"):
        cells = [f"{whole['psnr_db']:.1f} dB, {whole['max_levels']:.0f} levels at most", "", ""]
        rows.append(["the chain: final mouth", *cells])
    return rows


def precision(results: Results) -> list[list[str]]:
    """Errors of lower precision, a row for each network."""
    found: dict[str, dict[str, Any]] = {}
    for name, figures in results.part("precision"):
        label, _, kind = name.rpartition("/")
        found.setdefault(label, {})[kind] = figures
    kinds = list(dict.fromkeys(kind for figures in found.values() for kind in figures))
    rows = [["network", *(f"{kind}: max, mean" for kind in kinds)]]
    for label, figures in found.items():
        cells = []
        for kind in kinds:
            one = figures.get(kind)
            if one is None:
                cells.append("")
            elif "psnr_db" in one:
                cells.append(f"{one['psnr_db']:.1f} dB, {one['max_levels']:.0f} levels at most")
            else:
                labels = f", {one['labels']:.2%} of the labels" if "labels" in one else ""
                cells.append(f"{one['max']:.1e}, {one['mean']:.1e}{labels}")
        rows.append(["the chain: final mouth" if label == "chain" else label, *cells])
    return rows


def _measured(results: Results, settings: Settings) -> Iterable[tuple[str, int, dict[str, Any]]]:
    for form in settings.chain_forms:
        for batch in settings.chain_batches:
            figures = results.figures(f"chain/{form.name}/{batch}")
            if figures and "skipped" not in figures:
                yield form.name, batch, figures


def chain(results: Results, settings: Settings) -> list[list[str]]:
    """Frames per second of the chain and of the loop."""
    rows = [["run", "batch", "frames/s", "times the loop", "busy (events, nvidia-smi, kernels)", "MiB"]]
    loop = results.figures("chain/loop")
    base = loop["frames_per_second"] if loop else 0
    if loop:
        less = loop["frames_per_second_without_detectors_and_enhancer"]
        rows.append(["the plain loop", "1, 16", f"{base:.2f}", "1", "", _mib(loop)])
        rows.append(
            ["the same without what the chain lacks", "1, 16", f"{less:.2f}", f"{less / base:.2f}", "", ""]
        )
    for form, batch, figures in _measured(results, settings):
        rate, share = figures["frames_per_second"], figures["nvidia_smi_share"]
        kernels = figures["kernel_seconds_of_a_batch"]
        shares = (figures["busy_share"], share, None if kernels is None else kernels * rate / batch)
        busy = ", ".join("not known" if one is None else f"{one:.0%}" for one in shares)
        times = f"{rate / base:.1f}" if base else ""
        rows.append([form, str(batch), f"{rate:.2f}", times, busy, _mib(figures)])
    return rows


def _mib(figures: dict[str, Any]) -> str:
    return f"{figures['reserved_mib']:.0f}" if "reserved_mib" in figures else ""


def steps(results: Results, settings: Settings) -> list[list[str]]:
    """Where the time goes: steps of the chain, issued one by one."""
    rows = [["run", "batch", *STEPS]]
    for form, batch, figures in _measured(results, settings):
        spent = figures["step_seconds_of_a_frame"]
        rows.append([form, str(batch), *(f"{1000 * spent[step]:.2f} ms" for step in STEPS)])
    return rows


def processes(results: Results) -> list[list[str]]:
    """N processes at once."""
    rows = [["processes", "frames/s together", "MiB of one", "form, batch"]]
    for count, figures in results.part("processes"):
        mib = f"{figures['mib_of_a_process']:.0f}" if "mib_of_a_process" in figures else ""
        form = f"{figures['form']}, {figures['batch']}"
        rows.append([count, f"{figures['frames_per_second']:.2f}", mib, form])
    return rows


def speed(results: Results, settings: Settings) -> list[list[str]]:
    """Networks by form and batch size."""
    rows = [["network", "form", *(f"batch {batch}" for batch in settings.batches)]]
    for name, figures in results.part("speed"):
        label, _, form = name.rpartition("/")
        cells = []
        for batch in settings.batches:
            one = figures.get(str(batch), {})
            rate = f"{one['items_per_second']:.1f}" if "items_per_second" in one else one.get("skipped", "")
            cells.append(f"{rate} ({_mib(one)})" if _mib(one) else rate)
        if "skipped" not in figures:
            rows.append([label, form, *cells])
    return rows


# --- the profile --------------------------------------------------------------------------------------------
def recommended_precision(results: Results) -> str:
    """The fastest precision whose final mouth is good enough."""
    for name in ("float16", "bfloat16"):
        found = results.figures(f"precision/chain/{name}")
        if found and found["psnr_db"] >= ENOUGH_DB:
            return name
    return "float32"


def sharing(results: Results) -> tuple[float, str]:
    """Share of a GPU for an actor, and the reason: as many as give the most together, as far as they fit."""
    found = {int(count): figures for count, figures in results.part("processes")}
    if not found:
        return 0.5, "processes beside each other were not measured"
    # A further process must be worth its memory.
    best = max(found, key=lambda n: (round(found[n]["frames_per_second"], 2) * (1 - 0.02 * n), -n))
    mib = found[best].get("mib_of_a_process", 0.0) + found[best].get("context_mib", 0.0)
    total = results.about.get("gpu_mib")
    smallest = share_of(mib, total) if total else SHARES[-1]
    wanted = max((share for share in SHARES if share <= 1 / best + 0.01), default=SHARES[-1])
    share = max(wanted, smallest or 1.0)
    return share, (
        f"{best} processes together gave the most ({found[best]['frames_per_second']:.1f} frames/s); one needs "
        f"{mib:.0f} MiB, with {GPU_ROOM:g} x room"
    )


def profile(results: Results, settings: Settings) -> str:
    """Return the recommended profile as YAML, with the reasons as comments."""
    gpu = results.about["device"] == "cuda"
    form, batch = fastest(results, settings)
    figures = results.figures(f"chain/{form.name}/{batch}") or {}
    spent = figures.get("step_seconds_of_a_frame", {})
    seconds = {pool: sum(spent.get(step, 0.0) for step in names) for pool, (_, names) in POOLS.items()}
    total = sum(seconds.values())
    share, why = sharing(results)
    cores = int(results.about["cores"])
    precision_ = recommended_precision(results)
    options = " ".join(
        f"--set {stage}.precision={precision_}" for stage in ("recon3d", "dnet", "lnet", "enet")
    )
    missing = [] if total else ["the chain was not measured: pools have the shipped profile's proportions"]
    lines = [
        f"# Recommended by `python -m benchmarks.gpu` from {len(results.pieces)} pieces measured on "
        f"{results.about.get('gpu', results.about['cpu'])}.",
        *(
            []
            if gpu
            else [
                "# Measured on a CPU with small sizes: this shows the form of a profile and no figures to use."
            ]
        ),
        *(f"# {line}" for line in missing),
        f"# batch: {batch}, form of the chain: {form.name}",
        f"# precision: {precision_}, with {options}" if precision_ != "float32" else "# precision: float32",
        f"# share of a GPU: {share:g}; {why}",
        "# detect and blend were not measured here: `retalk profile` measures them.",
        "name: measured-gpu",
        f"description: {GPUS if gpu else 1} {'GPUs' if gpu else 'CPU'} by benchmarks.gpu",
        "segment_frames: 250",
        "watchdog_seconds: 900",
        "plan: {name: plan, min: 1, max: 8, num_cpus: 1}",
        "assemble: {num_cpus: 0.5, at_once: 8}",
        "pools:",
    ]
    count, feeders = GPUS if gpu else 1, 0
    lines.append(_pool("detect", ["detect"], max(1, count), 2, 0.0))
    for pool, (stages, _) in POOLS.items():
        work = seconds[pool] / total if total else 0.5
        size = actors_of(count, work, share) if gpu else 1
        feeders += size
        lines.append(f"  # {work:.0%} of the measured work")
        lines.append(_pool(pool, list(stages), size, 1, share if gpu else 0.0))
    blend = max(1, (cores * count - feeders - 2 * count) // 3) if gpu else 1
    lines.append(_pool("blend", ["blend"], blend, 3 if gpu else 1, 0.0))
    if gpu:
        lines.append("nodes:")
        lines.append(f"  - {{name: node, cpus: {cores * count}, gpus: {count}}}")
    return "\n".join(lines) + "\n"


def _pool(name: str, stages: list[str], size: int, cpus: int, gpus: float) -> str:
    gpu = f", num_gpus: {gpus:g}, device: cuda" if gpus else ""
    return f"  - {{name: {name}, stages: [{', '.join(stages)}], size: {size}, num_cpus: {cpus}{gpu}, in_flight: 2}}"
