// Decisions stay in this browser, under the run's own name, until they are exported.
const RUN = JSON.parse(document.getElementById("summary").textContent).run;
const KEY = `retalk-decisions ${RUN}`;

let memory = {};
let kept = true;
try {
  memory = JSON.parse(localStorage.getItem(KEY) || "{}");
} catch {
  kept = false;
}

const name = (title, dub) => JSON.stringify([title, dub]);

const versions = new Map();

/** Tell which version of each dub the page shows: a decision on an earlier one says nothing of it. */
export function know(title, dub, version) {
  versions.set(name(title, dub), version);
}

const current = (key) => {
  const found = memory[key];
  return found && (!versions.has(key) || found.version === undefined || found.version === versions.get(key)) ? found : undefined;
};

/** False where the browser keeps nothing (private windows, some file:// pages): export before you leave. */
export const isKept = () => kept;

export function get(title, dub) {
  return current(name(title, dub)) || { decision: "", comment: "" };
}

export function set(title, dub, changes) {
  const next = { ...get(title, dub), ...changes, version: versions.get(name(title, dub)) };
  if (next.decision || next.comment) memory[name(title, dub)] = next;
  else delete memory[name(title, dub)];
  try {
    localStorage.setItem(KEY, JSON.stringify(memory));
  } catch {
    kept = false;
  }
}

export function all() {
  return Object.keys(memory).filter(current).map((key) => {
    const [title, dub] = JSON.parse(key);
    const { decision, comment } = memory[key];
    return { title, dub, decision, comment };
  });
}

function save(content, type, file) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = file;
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function exportJson() {
  save(JSON.stringify({ run: RUN, decisions: all() }, null, 1), "application/json", "decisions.json");
}

// A spreadsheet would run a cell that begins like a formula.
const cell = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;

export function exportCsv() {
  const rows = all().map((one) => [one.title, one.dub, one.decision, one.comment].map(cell).join(","));
  save(`title,dub,decision,comment\r\n${rows.join("\r\n")}\r\n`, "text/csv", "decisions.csv");
}
