// The page: the address says what is asked, and everything shown follows from it.

import { Trouble, ask } from "./ask.js";
import { DEFAULT_K, find, refused, told } from "./find.js";
import { listen } from "./keys.js";
import { make } from "./make.js";
import { Probe } from "./probe.js";
import { sides } from "./results.js";
import { asking, start } from "./start.js";
import { kind, query, read, write } from "./state.js";
import { fellows, label, of, world } from "./world.js";

const $ = (id) => document.getElementById(id);
const COUNTS = [6, 12, 24, 48, 96];
let state = read();
let own = null; // the file that is asked with; no address can hold it
let search = new AbortController();
let shownFor = "";

function go(change, options) {
  state = { ...state, ...change };
  write(state);
  return show(options);
}

function trouble(...parts) {
  $("trouble").replaceChildren(...parts.map((part) => (typeof part === "string" ? make("p", {}, part) : part)));
}

const again = (todo) => make("button", { type: "button", onclick: todo }, "Try again");

function options(select, pairs, value) {
  select.replaceChildren(...pairs.map(([key, text]) => make("option", { value: key }, text)));
  select.value = value;
}

function controls() {
  const galleries = [...new Set(world.indexes.map((one) => one.gallery))];
  $("galleries").hidden = galleries.length < 2;
  options($("gallery"), galleries.map((name) => [name, name]), of(state.index)?.gallery);
  const methods = fellows(state.index).map((one) => [one.name, label(one.name)]);
  options($("index"), methods, state.index);
  options($("other"), [["", "nothing"], ...methods.filter(([name]) => name !== state.index)], state.other);
  options($("k"), COUNTS.map((k) => [String(k), String(k)]), state.k || DEFAULT_K);
  if (state.q || !kind(state)) $("q").value = state.q;
  else $("q").value = "";
}

// An address may be old, or typed: the first index stands in for one that is not there, and that is told.
function mend() {
  const lost = [state.index, state.other].filter((name) => name && !of(name));
  if (!of(state.index)) state.index = world.indexes[0].name;
  if (state.other === state.index || !fellows(state.index).some((one) => one.name === state.other)) state.other = "";
  if (!COUNTS.includes(Number(state.k))) state.k = "";
  return lost.length ? `The index ${lost.join(" and ")} is not there any more; this is ${state.index}.` : "";
}

async function show({ anew = false } = {}) {
  const lost = mend();
  controls();
  const key = JSON.stringify({ ...state, probe: "", say: "" });
  if (anew || key !== shownFor) {
    shownFor = key;
    await results(lost);
  }
  if (state.probe) await probe.show(state.probe, state.say, [state.index, state.other].filter(Boolean));
  else probe.hide();
}

async function results(lost) {
  search.abort();
  search = new AbortController();
  const { signal } = search;
  const asked = kind(state);
  document.title = asked ? `${state.q || "a video"} - search your videos` : "Search your videos";
  trouble(...[lost].filter(Boolean));
  $("start").hidden = Boolean(asked);
  asking(state, own, null, go);
  if (!asked) {
    start(state.index, go);
    return clear();
  }
  const wrong = refused(state);
  if (wrong) return fail(wrong);
  $("found").classList.add("busy");
  $("found").setAttribute("aria-busy", "true");
  $("status").replaceChildren(state.file ? "Reading your video …" : "Searching …");
  try {
    const shown = await find(state, own, signal);
    asking(state, own, shown, go);
    $("found").replaceChildren(sides(shown, acts));
    $("status").replaceChildren(...told(shown));
  } catch (error) {
    if (error.name === "AbortError") return undefined; // another search is on its way
    if (!(error instanceof Trouble)) throw error;
    return fail(error.message, error.again || error.status === 404 ? again(begin) : null);
  }
  return done();
}

function clear() {
  $("found").replaceChildren();
  $("status").replaceChildren();
  done();
}

function done() {
  $("found").classList.remove("busy");
  $("found").removeAttribute("aria-busy");
}

function fail(sentence, button) {
  trouble(...[sentence, button].filter(Boolean));
  clear();
}

const acts = {
  like: (video) => go(query("like", video)).then(() => scrollTo({ top: 0 })),
  captions: (video) => go(query("captions", video)).then(() => scrollTo({ top: 0 })),
  say: (text) => go(query("q", text)).then(() => scrollTo({ top: 0 })),
  probe: (video, title) => go({ probe: video, say: state.q || title }),
};
const probe = new Probe({ label, go, all: () => fellows(state.index).map((one) => one.name) });

function take(file) {
  if (!file) return;
  own = file;
  go(query("file", file.name), { anew: true }); // another file may have the same name
}

function listenAll() {
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const said = $("q").value.trim();
    if (!said) return go(query("q", "")).then(() => trouble("Type what the video shows, for example “a red star moves up”."));
    return go(query("q", said), { anew: true });
  });
  $("gallery").addEventListener("change", () => go({ ...(state.q ? {} : query("q", "")), index: world.indexes.find((one) => one.gallery === $("gallery").value).name, other: "" }));
  $("index").addEventListener("change", () => go({ index: $("index").value, other: $("index").value === state.other ? state.index : state.other }));
  $("other").addEventListener("change", () => go({ other: $("other").value }));
  $("k").addEventListener("change", () => go({ k: $("k").value === DEFAULT_K ? "" : $("k").value }));
  $("file").addEventListener("change", () => (take($("file").files[0]), ($("file").value = "")));
  $("home").addEventListener("click", (event) => (event.preventDefault(), go(query("q", ""))));
  addEventListener("popstate", () => ((state = read()), show()));
  drops();
  listen($("q"));
}

function drops() {
  const holds = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => holds(event) && (event.preventDefault(), ($("drop").hidden = false)));
  addEventListener("dragleave", (event) => event.relatedTarget === null && ($("drop").hidden = true));
  addEventListener("drop", (event) => {
    $("drop").hidden = true;
    if (!holds(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
}

async function begin() {
  trouble();
  try {
    Object.assign(world, await ask("/api/indexes", {}));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    return fail(error.message, again(begin));
  }
  if (!world.indexes.length) return fail("There is no index to search (any more). Make one with python -m pipeline.stages.index, then try again.", again(begin));
  return show({ anew: true });
}

listenAll();
begin();
