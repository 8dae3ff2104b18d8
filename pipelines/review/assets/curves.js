import { el, svg, timecode } from "retalk/dom";

const WIDTH = 1200, HEIGHT = 150, MIDDLE = 92;

/** Points of a curve as the `d` of a path; a gap where nothing was measured. */
function path(values, x, y) {
  let drawn = "", pen = false;
  values.forEach((value, index) => {
    if (value === null) { pen = false; return; }
    drawn += `${pen ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = true;
  });
  return drawn;
}

/** Names of those whose mouths were measured in shots. */
function names(trace, shots) {
  return [...new Set(shots.flatMap((shot) => shot.people || []))].map((number) => trace.people[number]);
}

/** Loudness and openings of the mouth over time, with the shots below; a click goes there. */
export function curves(trace, seconds, seek) {
  const whole = Math.max(seconds, 0.001);
  const x = (index) => (WIDTH * (trace.start + index / trace.rate)) / whole;
  const openings = [...trace.opening.source, ...trace.opening.dub].filter((value) => value !== null);
  const most = Math.max(0.15, ...openings);
  const open = (value) => MIDDLE - 6 - (MIDDLE - 16) * Math.max(0, value) / most;
  const loud = (value) => HEIGHT - (HEIGHT - MIDDLE - 6) * Math.min(1, Math.max(0, (value + 60) / 60));
  const head = svg("line", { class: "head", x1: 0, x2: 0, y1: 0, y2: HEIGHT });
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": "Opening of the mouth in the source and in the dub, and loudness of the speech, over time" },
    trace.shots.map((shot) => svg("rect", {
      class: shot.state === "dubbed" ? "shot" : "shot passed",
      x: (WIDTH * shot.start) / whole, y: 0, width: Math.max(1, (WIDTH * (shot.end - shot.start)) / whole), height: HEIGHT,
    })),
    svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: MIDDLE, y2: MIDDLE }),
    svg("path", { class: "loudness", d: path(trace.loudness, x, loud) }),
    svg("path", { class: "source", d: path(trace.opening.source, x, open) }),
    svg("path", { class: "dub", d: path(trace.opening.dub, x, open) }),
    head,
  );
  drawing.addEventListener("click", (event) => {
    const box = drawing.getBoundingClientRect();
    seek((whole * (event.clientX - box.left)) / box.width);
  });
  const measured = names(trace, trace.shots);
  const whose = measured.length > 1 ? "whose mouth they are: see the shots" : measured.length ? `the mouth of ${measured[0]}` : "";
  const legend = el(
    "p",
    { class: "legend faint" },
    whose && trace.people.length > 1 ? el("span", { id: "whose" }, `Curves and measures: ${whose}`) : null,
    el("span", { class: "key dub" }, "mouth, dub"),
    el("span", { class: "key source" }, "mouth, source"),
    el("span", { class: "key loudness" }, "loudness of the speech"),
    el("span", {}, "grey: keeps its own mouth"),
  );
  const node = el("div", { class: "curves" }, drawing, legend);
  return { node, at: (time) => { const place = (WIDTH * time) / whole; head.setAttribute("x1", place); head.setAttribute("x2", place); } };
}

/** Why stretches keep their own mouth, how many they are and how long together. */
export function kept(trace) {
  if (!trace.kept.length) return null;
  const told = ([reason, count, seconds]) => `${reason} ${count} ${count === 1 ? "time" : "times"}, ${seconds.toFixed(1)} s`;
  return el("p", { id: "kept" }, `Keeps its own mouth: ${trace.kept.map(told).join("; ")}.`);
}

/** Shots as a table: when, what became of them, their numbers. */
export function shots(trace, seek) {
  const kinds = [...new Set(trace.shots.flatMap((shot) => Object.keys(shot.metrics)))];
  const several = (trace.people || []).length > 1;
  const told = (shot) => {
    const kept = {};
    for (const part of shot.passed) kept[part.reason] = (kept[part.reason] || 0) + part.end - part.start;
    const words = Object.entries(kept).map(([reason, time]) => `${time.toFixed(1)} s ${reason}`).join(", ");
    return shot.state === "dubbed" ? (words ? `dubbed; kept: ${words}` : "dubbed") : `keeps its own mouth: ${words || shot.reason || "no reason is known"}`;
  };
  const row = (shot) => el(
    "tr",
    {},
    el("td", {}, el("button", { type: "button", onclick: () => seek(shot.start) }, timecode(shot.start))),
    el("td", {}, told(shot)),
    several ? el("td", {}, names(trace, [shot]).join(", ")) : null,
    kinds.map((name) => el("td", { class: "number" }, shot.metrics[name] === undefined || shot.metrics[name] === null ? "" : Number(shot.metrics[name]).toPrecision(3))),
  );
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Shots" },
    el(
      "table",
      { class: "metrics" },
      el("caption", {}, trace.more ? `The first ${trace.shots.length} shots; ${trace.more} more` : "Shots"),
      el("thead", {}, el("tr", {}, ["At", "What became of it", ...(several ? ["Measured mouth"] : []), ...kinds].map((name, index) => el("th", { scope: "col", class: index > (several ? 2 : 1) ? "number" : null }, name)))),
      el("tbody", {}, trace.shots.map(row)),
    ),
  );
}
