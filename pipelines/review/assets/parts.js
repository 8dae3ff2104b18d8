import { el, timecode } from "retalk/dom";

const number = (value) => (value === null || value === undefined ? "" : value.toPrecision(4));

/** Metrics of a dub, and beside them those of its earlier version. */
export function metrics(detail) {
  if (!detail.metrics.length) return null;
  const before = new Map((detail.earlier?.metrics || []).map((one) => [one.name, one]));
  const row = (one) =>
    el(
      "tr",
      {},
      el("td", {}, one.name),
      el("td", { class: "number" }, number(one.value)),
      el("td", { class: "number" }, number(one.worst)),
      el("td", {}, one.worst_at === null ? "" : timecode(one.worst_at)),
      el("td", {}, one.unit),
      detail.earlier ? [el("td", { class: "number" }, number(before.get(one.name)?.value)), el("td", { class: "number" }, number(before.get(one.name)?.worst))] : null,
    );
  const heads = [["Metric"], ["Mean", "number"], ["Worst", "number"], ["At"], ["Unit"], ...(detail.earlier ? [["Earlier mean", "number"], ["Earlier worst", "number"]] : [])];
  return el(
    "table",
    { class: "metrics" },
    el("caption", {}, "Metrics"),
    el("thead", {}, el("tr", {}, heads.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))),
    el("tbody", {}, detail.metrics.map(row)),
  );
}

const MOMENTS = 6;

/** Who was dubbed with what, for how long and when; a button goes there. */
export function people(detail, seek) {
  if (!detail.people.length) return null;
  const span = ([start, end]) => {
    const told = `${timecode(start)} to ${timecode(end)}`;
    return seek ? el("button", { type: "button", onclick: () => seek(start) }, told) : `${told} `;
  };
  const left = (one) => one.more + Math.max(0, one.spans.length - MOMENTS);
  const row = (one) => el(
    "tr",
    {},
    el("td", {}, one.name),
    el("td", {}, one.speech),
    el("td", { class: "number" }, one.seconds === null ? "not measured" : one.seconds.toFixed(1)),
    el("td", { class: "number" }, one.share === null ? "" : `${Math.round(100 * one.share)} %`),
    el("td", {}, one.spans.slice(0, MOMENTS).map(span), left(one) ? ` and ${left(one)} more` : ""),
  );
  const heads = [["Who"], ["Speech"], ["Seconds", "number"], ["Share", "number"], ["When"]];
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Who was dubbed" },
    el(
      "table",
      { class: "metrics", id: "people" },
      el("caption", {}, "Who was dubbed"),
      el("thead", {}, el("tr", {}, heads.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))),
      el("tbody", {}, detail.people.map(row)),
    ),
  );
}

/** Close-ups of the worst places. */
export function strips(detail, seek) {
  return detail.strips.map((one) =>
    el(
      "figure",
      { class: "strip" },
      el("img", { src: one.file, loading: "lazy", alt: `Consecutive mouths${one.who ? ` of ${one.who}` : ""} at ${timecode(one.at)}: the source's above the dub's` }),
      el("figcaption", {}, `${one.who ? `${one.who}: ` : ""}source above dub at ${timecode(one.at)} `, seek ? el("button", { type: "button", onclick: () => seek(one.at) }, "Go there") : null),
    ));
}

/** Names and values that most people do not need, behind a summary. */
export function folded(summary, pairs) {
  if (!pairs.length) return null;
  return el("details", {}, el("summary", {}, summary), el("dl", {}, pairs.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}
