import { el, timecode } from "retalk/dom";

/** Two players that move as one. The result leads, for it has the sound. */
export function players(detail, moved = () => {}) {
  const rate = detail.video_seconds > 0 && detail.frames > 0 ? detail.frames / detail.video_seconds : 25;
  const video = (source, label, muted) =>
    el("video", { src: source, preload: "auto", playsinline: true, muted, "aria-label": label });
  // Previews play in every browser; the files themselves in some.
  const files = { ...detail.media, ...detail.previews };
  // A still picture that was made to speak has nothing to play.
  const still = /\.(png|jpe?g|webp|gif|bmp)$/i.test(files.video);
  const before = still
    ? el("img", { src: files.video, alt: "Before: a still picture" })
    : video(files.video, "Before", true);
  const after = video(files.output, "After", false);
  if (!still) before.muted = true;
  const scrubber = el("input", { type: "range", min: 0, max: 1, step: 0.001, value: 0, "aria-label": "Position" });
  const shown = el("output", { "aria-live": "off" }, timecode(0));
  const wipe = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Wipe between before and after" });
  const name = el("figcaption", {}, "Before");
  const pair = el(
    "div",
    { class: "players" },
    el("figure", { class: "before" }, before, name),
    el("figure", { class: "after" }, after, el("figcaption", {}, "After")),
  );
  let alive = true;

  const follow = () => {
    // Half a frame apart is the same frame.
    if (!still && Math.abs(before.currentTime - after.currentTime) > 0.5 / rate && !before.seeking) {
      before.currentTime = Math.min(after.currentTime, before.duration || after.currentTime);
    }
  };
  const seek = (seconds) => {
    const last = Number.isFinite(after.duration) ? after.duration : detail.video_seconds;
    after.currentTime = Math.min(Math.max(seconds, 0), last);
    if (!still) before.currentTime = after.currentTime;
  };
  const draw = () => {
    if (!alive) return;
    if (Number.isFinite(after.duration)) scrubber.max = after.duration;
    scrubber.value = after.currentTime;
    scrubber.setAttribute("aria-valuetext", timecode(after.currentTime));
    shown.textContent = timecode(after.currentTime);
    moved(after.currentTime);
    if (!after.paused) follow();
    requestAnimationFrame(draw);
  };
  const play = el("button", { type: "button", onclick: () => toggle() }, "Play");
  const toggle = () => {
    if (after.paused) {
      if (!still) before.currentTime = after.currentTime;
      Promise.allSettled([after.play(), still ? null : before.play()]);
    } else {
      after.pause();
    }
  };
  after.addEventListener("play", () => { play.textContent = "Pause"; });
  after.addEventListener("pause", () => { if (!still) before.pause(); follow(); play.textContent = "Play"; });
  after.addEventListener("seeked", () => { if (after.paused) follow(); });
  // The middle of a frame, so that rounding cannot show its neighbour.
  const step = (frames) => {
    after.pause();
    seek((Math.floor(after.currentTime * rate + 1e-3) + frames + 0.5) / rate);
  };
  scrubber.addEventListener("input", () => seek(Number(scrubber.value)));
  wipe.addEventListener("input", () => pair.style.setProperty("--wipe", `${wipe.value}%`));
  const wiping = el("button", { type: "button", "aria-pressed": "false" }, "Wipe");
  wipe.hidden = true;
  wiping.addEventListener("click", () => {
    const on = pair.classList.toggle("wipe");
    wiping.setAttribute("aria-pressed", String(on));
    wipe.hidden = !on;
  });
  // A browser without the codec says nothing by itself.
  const unplayable = el("p", { class: "faint", role: "status" });
  const refuse = () => {
    unplayable.textContent = "This browser cannot play one of the files: it is not there any more, or of a kind that the browser does not know. Of the latter `retalk report DIR --previews` makes copies that it can.";
  };
  for (const one of still ? [after] : [before, after]) {
    one.addEventListener("error", refuse);
    // Of a file whose pictures it cannot decode, a browser may play the sound.
    one.addEventListener("loadedmetadata", () => { if (!one.videoWidth) refuse(); });
  }
  const switches = [];
  const pressed = (node, on) => node.setAttribute("aria-pressed", String(on));
  const show = (source, label) => {
    const at = after.currentTime;
    before.src = source;
    before.setAttribute("aria-label", label);
    name.textContent = label;
    before.addEventListener("loadeddata", () => { before.currentTime = at; }, { once: true });
  };
  if (detail.earlier?.media && !still) {
    const button = el("button", { type: "button", "aria-pressed": "false" }, "Earlier version");
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      pressed(button, on);
      show(on ? detail.earlier.media : files.video, on ? "Earlier version" : "Before");
    });
    switches.push(button);
  }
  if (detail.previews.output && detail.media.output) {
    const button = el("button", { type: "button", "aria-pressed": "false" }, "Full quality");
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true", at = after.currentTime;
      pressed(button, on);
      after.src = on ? detail.media.output : files.output;
      after.addEventListener("loadeddata", () => seek(at), { once: true });
      if (!still) show(on && detail.media.video ? detail.media.video : files.video, "Before");
    });
    switches.push(button);
  }
  const node = el(
    "div",
    {},
    pair,
    unplayable,
    el(
      "div",
      { class: "row" },
      play,
      el("button", { type: "button", onclick: () => step(-1) }, "Frame back"),
      el("button", { type: "button", onclick: () => step(1) }, "Frame on"),
      scrubber,
      shown,
      wiping,
      wipe,
      switches,
    ),
  );
  requestAnimationFrame(draw);
  return {
    node, seek, step, toggle,
    stop: () => { alive = false; after.pause(); if (!still) before.pause(); },
  };
}
