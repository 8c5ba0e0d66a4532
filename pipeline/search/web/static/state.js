// What is asked, as the address says it: a search can be kept as a bookmark, and "back" goes back.

const KEYS = ["index", "other", "q", "like", "captions", "file", "what", "k", "probe", "say"];
const QUERIES = ["q", "like", "captions", "file"];

export function read() {
  const found = new URLSearchParams(location.search);
  return Object.fromEntries(KEYS.map((key) => [key, found.get(key) ?? ""]));
}

export function write(state) {
  const said = new URLSearchParams(KEYS.filter((key) => state[key]).map((key) => [key, state[key]]));
  const address = String(said) ? `/?${said}` : "/";
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
}

// Another query, and nothing left of the one before.
export const query = (key, value, more = {}) => ({ ...Object.fromEntries(QUERIES.map((name) => [name, ""])), what: "", probe: "", say: "", [key]: value, ...more });
export const kind = (state) => QUERIES.find((name) => state[name]) ?? "";
