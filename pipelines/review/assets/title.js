import * as address from "retalk/address";
import * as decisions from "retalk/decisions";
import { curves, kept, shots } from "retalk/curves";
import { clock, el, timecode } from "retalk/dom";
import { folded, metrics, people, strips } from "retalk/parts";
import { players } from "retalk/players";

/** One dub. `neighbours` are the address changes that lead to the dub before and after in the list. */
export function title(detail, trace, neighbours, changed) {
  const current = decisions.get(detail.title, detail.dub);
  let drawn = null;
  const playable = (kind) => detail.media[kind] || detail.previews[kind];
  const pair = playable("output") && playable("video") ? players(detail, (time) => drawn?.at(time)) : null;
  if (trace) drawn = curves(trace, detail.video_seconds, (time) => pair?.seek(time));
  const buttons = [["approved", "Approve"], ["rejected", "Reject"]].map(([decision, label]) =>
    el("button", { type: "button", "aria-pressed": String(current.decision === decision), onclick: () => decide(decision) }, label));
  const comment = el("textarea", { rows: 2, cols: 40, maxlength: 2000 });
  comment.value = current.comment;
  comment.addEventListener("change", () => decisions.set(detail.title, detail.dub, { comment: comment.value }));
  const decide = (decision) => {
    const next = decisions.get(detail.title, detail.dub).decision === decision ? "" : decision;
    decisions.set(detail.title, detail.dub, { decision: next });
    buttons.forEach((button, index) => {
      button.setAttribute("aria-pressed", String(next === ["approved", "rejected"][index]));
    });
    changed(next ? `${next}` : "no decision");
  };
  const reason = (one) =>
    el(
      "li",
      {},
      one.text,
      one.at !== null && pair
        ? [" ", el("button", { type: "button", onclick: () => pair.seek(one.at) }, `Go to ${timecode(one.at)}`)]
        : one.at !== null ? ` (at ${timecode(one.at)})` : "",
    );
  const marks = detail.reasons.filter((one) => one.at !== null && detail.video_seconds > 0);
  const facts = [
    ["Engine", detail.engine],
    ["Language", detail.language],
    ["Length", `${clock(detail.video_seconds)}, ${detail.frames} frames`],
    ["Time of its stages", clock(detail.seconds)],
    ["Money", detail.money && `${detail.money}, its share of the runs' by the time of its stages`],
    ["Video", detail.video],
    ["Speech", detail.speech],
    ["Output", detail.output],
    ["Finished", detail.finished],
  ].filter(([, text]) => text);
  const node = el(
    "section",
    { "aria-labelledby": "title" },
    el(
      "p",
      { class: "row" },
      el("a", { href: address.link({ title: "", dub: "" }), id: "back" }, "All dubs"),
      neighbours.before ? el("a", { href: address.link(neighbours.before) }, "Previous dub") : null,
      neighbours.after ? el("a", { href: address.link(neighbours.after) }, "Next dub") : null,
    ),
    el("h2", { id: "title", tabindex: -1 }, detail.dub === "dub" ? `${detail.title} ` : `${detail.title} [${detail.dub}] `, el("span", { class: `verdict ${detail.verdict}` }, detail.verdict)),
    detail.error ? el("pre", {}, detail.error) : null,
    detail.reasons.length && !detail.error ? el("ul", {}, detail.reasons.map(reason)) : null,
    pair ? pair.node : el("p", { class: "faint" }, detail.state === "failed" ? "There is no output." : "The files are not where a browser can read them; see their addresses below."),
    pair && marks.length
      ? el("div", { class: "marks", role: "group", "aria-label": "Places to look at" }, marks.map((one) =>
          el("button", {
            type: "button",
            style: `left: ${(100 * Math.min(1, one.at / detail.video_seconds)).toFixed(2)}%`,
            "aria-label": `Go to ${timecode(one.at)}: ${one.text}`,
            onclick: () => pair.seek(one.at),
          }, "▲")))
      : null,
    drawn?.node,
    trace ? kept(trace) : null,
    el("div", { class: "row" }, buttons, el("label", { class: "row" }, "Comment", comment)),
    people(detail, pair?.seek),
    strips(detail, pair?.seek),
    trace ? shots(trace, (time) => pair?.seek(time)) : null,
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Metrics" }, metrics(detail)),
    detail.earlier
      ? [el("h2", {}, "Earlier version"), el("p", {}, `Made ${detail.earlier.finished || "at an unknown time"}. `, detail.earlier.changes.length ? "Since then:" : ""), el("ul", {}, detail.earlier.changes.map((text) => el("li", {}, text)))]
      : null,
    detail.notes.length ? [el("h2", {}, "Notes"), el("ul", {}, detail.notes.map((note) => el("li", {}, note)))] : null,
    el("h2", {}, "Details"),
    el("dl", {}, facts.map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
    folded("Provenance: signature, watermark, consent", detail.provenance),
    folded("Options", detail.options),
    folded("Model files and their licences", detail.models),
  );
  return { node, comment, decide, pair, stop: () => pair?.stop() };
}
