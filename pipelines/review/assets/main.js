import * as address from "retalk/address";
import { loadDetail, loadRows, loadTrace, ROW } from "retalk/data";
import * as decisions from "retalk/decisions";
import { el } from "retalk/dom";
import { chosen, list } from "retalk/list";
import { title } from "retalk/title";

const summary = JSON.parse(document.getElementById("summary").textContent);
const main = document.querySelector("main");
const overview = document.getElementById("overview");
const place = document.getElementById("place");
const status = document.getElementById("status");
const state = { rows: [], total: summary.total, complete: false, open: null, shown: "" };

const say = (text) => { status.textContent = text; };
const at = (row) => ({ title: row[ROW.title], dub: row[ROW.dub] });

function controls() {
  const where = address.read();
  const choice = (key, label, options) => {
    const node = el("select", { id: key }, options.map(([value, text]) => el("option", { value, selected: (where[key] || "") === value }, text)));
    node.addEventListener("change", () => address.write({ [key]: node.value, page: "" }));
    return el("label", {}, label, node);
  };
  const search = el("input", { type: "search", id: "search", value: where.q || "" });
  search.addEventListener("input", () => address.write({ q: search.value, page: "" }, true));
  return el(
    "div",
    { class: "controls" },
    el("label", {}, "Search", search),
    choice("verdict", "Verdict", [["", "all"], ["failed", "failed"], ["review", "review"], ["ok", "ok"]]),
    choice("decision", "Decision", [["", "all"], ["open", "open"], ["approved", "approved"], ["rejected", "rejected"]]),
    el("button", { type: "button", id: "export-json", onclick: decisions.exportJson }, "Export decisions (JSON)"),
    el("button", { type: "button", id: "export-csv", onclick: decisions.exportCsv }, "Export decisions (CSV)"),
  );
}

const bar = el("div");
const table = el("div");

function showList() {
  state.open?.stop();
  state.open = null;
  overview.hidden = false;
  if (state.shown !== "list") {
    bar.replaceChildren(controls());
    place.replaceChildren(bar, table);
    state.shown = "list";
  }
  const focused = document.activeElement?.closest?.("#dubs th")?.cellIndex;
  table.replaceChildren(...list(state, state.complete));
  if (focused !== undefined) table.querySelectorAll("#dubs th button")[focused]?.focus();
  if (!decisions.isKept()) say("This browser keeps no decisions for this page: export them before you leave.");
}

async function showTitle(where) {
  const found = chosen(state.rows, where);
  const index = found.findIndex((row) => row[ROW.title] === where.title && row[ROW.dub] === where.dub);
  const row = index >= 0 ? found[index] : state.rows.find((one) => one[ROW.title] === where.title && one[ROW.dub] === where.dub);
  if (!row) {
    if (state.complete) say(`There is no dub ${where.title} [${where.dub}] in this report.`);
    return;
  }
  const name = JSON.stringify(at(row));
  if (state.shown === name) return;
  let detail, trace = null;
  try {
    detail = await loadDetail(row);
    if (detail.traced) trace = await loadTrace(row);
  } catch (problem) {
    say(problem.message);
    return;
  }
  state.open?.stop();
  state.shown = name;
  const neighbours = {
    before: index > 0 ? at(found[index - 1]) : null,
    after: index >= 0 && index + 1 < found.length ? at(found[index + 1]) : null,
  };
  state.open = { ...title(detail, trace, neighbours, say), neighbours };
  overview.hidden = true;
  place.replaceChildren(state.open.node);
  document.getElementById("title").focus();
}

function show() {
  const where = address.read();
  if (where.title) showTitle(where);
  else showList();
}

const typing = (node) => ["INPUT", "TEXTAREA", "SELECT"].includes(node.tagName) && node.type !== "range";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const open = state.open;
  if (event.key === "/" && !open) {
    event.preventDefault();
    document.getElementById("search").focus();
  } else if (open) {
    const keys = {
      a: () => open.decide("approved"),
      r: () => open.decide("rejected"),
      c: () => open.comment.focus(),
      j: () => open.neighbours.after && address.write(open.neighbours.after),
      k: () => open.neighbours.before && address.write(open.neighbours.before),
      p: () => open.pair?.toggle(),
      ",": () => open.pair?.step(-1),
      ".": () => open.pair?.step(1),
      Escape: () => address.write({ title: "", dub: "" }),
    };
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  }
});

window.addEventListener("popstate", show);
window.addEventListener("hashchange", show);
window.addEventListener("retalk-address", show);
main.removeAttribute("aria-busy");
loadRows(summary.files, (rows) => { state.rows = rows; show(); })
  .then(() => { state.complete = true; show(); })
  .catch((problem) => say(problem.message));
if (!summary.files) { state.complete = true; show(); }
