import * as address from "retalk/address";
import * as decisions from "retalk/decisions";
import { clock, el, timecode } from "retalk/dom";
import { players } from "retalk/players";

function metrics(detail) {
  if (!detail.metrics.length) return null;
  const number = (value) => (value === null ? "" : value.toPrecision(4));
  const row = (one) =>
    el(
      "tr",
      {},
      el("td", {}, one.name),
      el("td", { class: "number" }, number(one.value)),
      el("td", { class: "number" }, number(one.worst)),
      el("td", {}, one.worst_at === null ? "" : timecode(one.worst_at)),
      el("td", {}, one.unit),
    );
  return el(
    "table",
    { class: "metrics" },
    el("caption", {}, "Metrics"),
    el("thead", {}, el("tr", {}, [["Metric"], ["Mean", "number"], ["Worst", "number"], ["At"], ["Unit"]].map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))),
    el("tbody", {}, detail.metrics.map(row)),
  );
}

/** One dub. `neighbours` are the address changes that lead to the dub before and after in the list. */
export function title(detail, neighbours, changed) {
  const current = decisions.get(detail.title, detail.dub);
  const pair = detail.media.output && detail.media.video ? players(detail) : null;
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
    ["Computing time", clock(detail.seconds)],
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
    el("div", { class: "row" }, buttons, el("label", { class: "row" }, "Comment", comment)),
    detail.strip ? el("img", { class: "strip", src: detail.strip, loading: "lazy", alt: "Mouths before (above) and after (below), consecutive frames of the worst place" }) : null,
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Metrics" }, metrics(detail)),
    detail.notes.length ? [el("h2", {}, "Notes"), el("ul", {}, detail.notes.map((note) => el("li", {}, note)))] : null,
    el("h2", {}, "Details"),
    el("dl", {}, facts.map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
  );
  return { node, comment, decide, pair, stop: () => pair?.stop() };
}
