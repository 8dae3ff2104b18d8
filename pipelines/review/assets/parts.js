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

/** Close-ups of the worst places. */
export function strips(detail, seek) {
  return detail.strips.map((one) =>
    el(
      "figure",
      { class: "strip" },
      el("img", { src: one.file, loading: "lazy", alt: `Consecutive mouths at ${timecode(one.at)}: the source's above the dub's` }),
      el("figcaption", {}, `Source above dub at ${timecode(one.at)} `, seek ? el("button", { type: "button", onclick: () => seek(one.at) }, "Go there") : null),
    ));
}

/** Names and values that most people do not need, behind a summary. */
export function folded(summary, pairs) {
  if (!pairs.length) return null;
  return el("details", {}, el("summary", {}, summary), el("dl", {}, pairs.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}
