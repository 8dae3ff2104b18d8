import * as address from "retalk/address";
import { ROW } from "retalk/data";
import * as decisions from "retalk/decisions";
import { clock, el } from "retalk/dom";

const PAGE = 100;
const COLUMNS = [
  ["verdict", "Verdict", ""],
  ["title", "Title", ""],
  ["dub", "Dub", "wide"],
  ["language", "Language", "wide"],
  ["seconds", "Length", "number wide"],
  ["reason", "Reason", "wide"],
  ["decision", "Decision", ""],
];

const compare = new Intl.Collator(undefined, { numeric: true }).compare;

function value(row, column) {
  if (column === "decision") return decisions.get(row[ROW.title], row[ROW.dub]).decision;
  return column === "verdict" ? row[ROW.score] : row[ROW[column]];
}

/** Rows that the address asks for, in its order. Without one they stand worst first, as they were written. */
export function chosen(rows, where) {
  const words = (where.q || "").toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows.filter((row) => {
    if (where.verdict && row[ROW.verdict] !== where.verdict) return false;
    if (where.decision) {
      const decision = decisions.get(row[ROW.title], row[ROW.dub]).decision || "open";
      if (decision !== where.decision) return false;
    }
    const text = `${row[ROW.title]} ${row[ROW.dub]} ${row[ROW.language]} ${row[ROW.reason]}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  if (!where.sort) return found;
  const sign = where.order === "down" ? -1 : 1;
  const key = (row) => value(row, where.sort);
  return found.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return sign * (typeof x === "number" ? x - y : compare(x, y));
  });
}

export function list(state, complete) {
  const where = address.read();
  const found = chosen(state.rows, where);
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const page = Math.min(Math.max(1, Number(where.page) || 1), pages);
  const heading = ([column, label, kind]) => {
    const sorted = where.sort === column;
    const down = sorted && where.order !== "down";
    return el(
      "th",
      { class: kind, scope: "col", "aria-sort": sorted ? (down ? "ascending" : "descending") : "none" },
      el("button", {
        type: "button",
        onclick: () => address.write({ sort: column, order: down ? "down" : "", page: "" }),
      }, label),
    );
  };
  const line = (row) => {
    const decision = decisions.get(row[ROW.title], row[ROW.dub]);
    return el(
      "tr",
      {},
      el("td", {}, el("span", { class: `verdict ${row[ROW.verdict]}` }, row[ROW.verdict])),
      el("td", { class: "name" }, el("a", { href: address.link({ title: row[ROW.title], dub: row[ROW.dub] }) }, row[ROW.title])),
      el("td", { class: "wide" }, row[ROW.dub]),
      el("td", { class: "wide" }, row[ROW.language]),
      el("td", { class: "number wide" }, row[ROW.state] === "failed" ? "" : clock(row[ROW.seconds])),
      el("td", { class: "name wide" }, row[ROW.reason]),
      el("td", {}, decision.decision, decision.comment ? " (comment)" : ""),
    );
  };
  const shown = found.slice((page - 1) * PAGE, page * PAGE);
  const told = `${found.length} of ${state.total} dubs${complete ? "" : ", loading more"}, page ${page} of ${pages}`;
  const go = (target, label) =>
    el("button", { type: "button", disabled: target < 1 || target > pages, onclick: () => address.write({ page: target }) }, label);
  return [
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Dubs" },
      el(
        "table",
        { id: "dubs" },
        el("caption", { "aria-live": "polite" }, told),
        el("thead", {}, el("tr", {}, COLUMNS.map(heading))),
        el("tbody", {}, shown.map(line)),
      ),
    ),
    el("nav", { class: "row", "aria-label": "Pages" }, go(page - 1, "Previous page"), go(page + 1, "Next page")),
  ];
}
