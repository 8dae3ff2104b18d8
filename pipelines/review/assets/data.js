import { know } from "retalk/decisions";

// Rows and details come in classic scripts, which a browser also loads from file:// and from object storage.
export const ROW = { title: 0, dub: 1, state: 2, verdict: 3, score: 4, reason: 5, seconds: 6, language: 7, chunk: 8, index: 9, finished: 10 };

const waiting = new Map();
const details = new Map();
const traces = new Map();
const TRACES = 20;

function script(source) {
  return new Promise((resolve, reject) => {
    const node = document.createElement("script");
    node.src = source;
    node.onload = () => resolve();
    node.onerror = () => reject(new Error(`${source} cannot be loaded: write the report again`));
    document.head.append(node);
  });
}

window.retalkRows = (number, rows) => waiting.set(number, rows);
window.retalkTraces = (number, found) => traces.set(number, found);
window.retalkDetails = (number, found) => details.set(number, found);

/** Load all rows, a file at a time; `some` is called after each with the rows so far. */
export async function loadRows(files, some) {
  const rows = [];
  for (let number = 0; number < files; number += 1) {
    await script(`data/rows-${String(number).padStart(5, "0")}.js`);
    for (const row of waiting.get(number)) {
      rows.push(row);
      know(row[ROW.title], row[ROW.dub], row[ROW.finished]);
    }
    waiting.delete(number);
    some(rows);
  }
  return rows;
}

/** Load one dub's details; a file holds those of a hundred. */
export async function loadDetail(row) {
  const number = row[ROW.chunk];
  if (!details.has(number)) await script(`data/details-${String(number).padStart(5, "0")}.js`);
  return details.get(number).find((one) => one.title === row[ROW.title] && one.dub === row[ROW.dub]);
}

/** Load one dub's curves; a file holds those of twenty. */
export async function loadTrace(row) {
  const number = Math.floor(row[ROW.index] / TRACES);
  if (!traces.has(number)) await script(`data/traces-${String(number).padStart(5, "0")}.js`);
  return traces.get(number)[row[ROW.index] % TRACES];
}
