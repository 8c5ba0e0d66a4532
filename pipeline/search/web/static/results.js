// Results as elements: videos, or captions, of one side or of two.

import { marks } from "./compare.js";
import { make, score } from "./make.js";
import { picture, player } from "./player.js";

const file = (of) => of.source.split("/").pop() || of.video;

export function place(mark, other) {
  if (!mark) return null;
  if (mark.only) return make("span", { class: "badge", title: `not among the results of ${other}` }, "only here");
  const elsewhere = make("span", { class: "hidden" }, ` (place ${mark.there} with ${other})`);
  if (!mark.moved) return make("span", { class: "same", title: `place ${mark.there} with ${other}, too` }, "=", elsewhere);
  const said = `${mark.moved > 0 ? "▲" : "▼"} ${Math.abs(mark.moved)}`;
  return make("span", { class: "moved", title: `place ${mark.there} with ${other}` }, said, elsewhere);
}

function facts(number, value, mark, other) {
  const first = number ? make("span", { class: "place" }, String(number)) : null;
  return make("div", { class: "facts" }, first, make("span", { class: "score", title: "score: the cosine" }, score(value)), place(mark, other));
}

function tile(side, hit, number, mark, other, act) {
  const said = `${file(hit)}, place ${number}, score ${score(hit.score)}: play it`;
  const acts = make("div", { class: "acts" });
  const button = (text, label, todo, off) => acts.append(make("button", { type: "button", "aria-label": label, title: off || null, disabled: Boolean(off), onclick: todo }, text));
  button("Similar", `More like ${file(hit)}`, () => act.like(hit.video));
  button("Captions", `Captions of ${file(hit)}`, () => act.captions(hit.video), side.facts.captions ? "" : "this gallery has no captions");
  button("Time", `Does the method see time? ${file(hit)}`, () => act.probe(hit.video, hit.title));
  const names = make("p", { class: "name", title: hit.source }, file(hit) + (hit.start ? ` from ${hit.start.toFixed(1)} s` : ""));
  const title = hit.title ? make("p", { class: "title", title: hit.title }, hit.title) : null;
  const found = make("li", { class: mark?.only ? "tile only" : "tile" }, player(side.name, hit, said), facts(number, hit.score, mark, other), names, title, acts);
  found.dataset.key = hit.video;
  return found;
}

function text(side, hit, number, mark, other, act) {
  const own = hit.of && side.answer.of && hit.of.video === side.answer.of.video;
  const say = make("button", { type: "button", class: "link", title: "search with this sentence", onclick: () => act.say(hit.text) }, hit.text);
  const pic = make("span", { class: "pic" }, hit.of ? picture(side.name, hit.of, (hit.of.duration ?? 0) / 2) : "");
  const found = make("li", { class: own ? "own" : mark?.only ? "only" : "" }, make("span", { class: "place" }, String(number)), pic, make("span", {}, say, own ? make("em", {}, " its own caption") : null), facts(0, hit.score, mark, other));
  found.dataset.key = hit.caption;
  return found;
}

const hits = (side) => side.answer?.hits ?? side.answer?.captions ?? [];
const keys = (side) => hits(side).map((hit) => hit.video ?? hit.caption);

function list(side, other, act) {
  const marked = other?.answer ? marks(keys(side), keys(other)) : [];
  const one = side.answer.captions ? text : tile;
  const items = hits(side).map((hit, i) => one(side, hit, i + 1, marked[i], other?.label, act));
  if (!items.length) return make("p", { class: "nothing" }, side.answer.captions ? "No caption was found." : "No video was found: the gallery has no other one.");
  return make("ol", { class: side.answer.captions ? "texts" : "tiles", role: "list" }, ...items);
}

export function sides(shown, act) {
  const parts = shown.map((side, i) => {
    const other = shown.length > 1 ? shown[1 - i] : null;
    const took = side.answer ? ` ${Math.max(1, Math.round(1000 * side.answer.seconds))} ms` : "";
    const head = make("h2", {}, side.label, make("small", {}, took));
    const inner = side.answer ? list(side, other, act) : make("p", { class: "nothing" }, side.trouble);
    return make("div", { class: i ? "side right" : "side left", role: "group", "aria-label": `Results of ${side.label}` }, head, inner);
  });
  const made = make("div", { class: shown.length > 1 ? "sides two" : "sides" }, ...parts);
  for (const [begin, end] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    made.addEventListener(begin, (event) => twins(made, event.target, true));
    made.addEventListener(end, (event) => twins(made, event.target, false));
  }
  return made;
}

// The same video on the other side, while one is pointed at.
function twins(within, target, on) {
  const own = target.closest("[data-key]");
  if (!own) return;
  for (const each of within.querySelectorAll("[data-key]")) if (each !== own && each.dataset.key === own.dataset.key) each.classList.toggle("twin", on);
}
