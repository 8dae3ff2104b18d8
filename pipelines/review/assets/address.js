// All that a reader has chosen stands in the address, so that it can be sent to somebody else.
export function read() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

export function write(changes, replace = false) {
  const next = { ...read(), ...changes };
  for (const key of Object.keys(next)) if (next[key] === "" || next[key] === null) delete next[key];
  const hash = `#${new URLSearchParams(next)}`;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  window.dispatchEvent(new Event("retalk-address"));
}

export function link(changes) {
  return `#${new URLSearchParams({ ...read(), ...changes })}`;
}
