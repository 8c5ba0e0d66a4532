// What stands above the results, and in their place before the first search.

import { make, many } from "./make.js";
import { picture } from "./player.js";
import { kind, query } from "./state.js";
import { of, world } from "./world.js";

const $ = (id) => document.getElementById(id);

// What is asked where it is no sentence: a video of the gallery, or one's own.
export function asking(state, own, shown, go) {
  const video = shown?.[0]?.answer?.of;
  const words = { like: "Videos like", captions: "Captions for", file: state.what === "captions" ? "Captions for your video" : "Videos like your video" }[kind(state)];
  $("asking").hidden = !words;
  if (!words) return $("asking").replaceChildren();
  const name = state.file || video?.source || state.like || state.captions;
  const pic = make("span", { class: "pic" }, video ? picture(shown[0].name, video, (video.duration ?? 0) / 2) : own && state.file === own.name ? preview(own) : "");
  const change = state.file ? make("button", { type: "button", onclick: () => go({ what: state.what ? "" : "captions" }) }, state.what ? "Videos like it" : "Captions for it") : null;
  const clear = make("button", { type: "button", "aria-label": "Leave this query", onclick: () => (go(query("q", "")), $("q").focus()) }, "×");
  return $("asking").replaceChildren(pic, make("p", {}, make("small", {}, words), name, video?.title ? make("small", {}, video.title) : null), ...[change, clear].filter(Boolean));
}

function preview(own) {
  const address = URL.createObjectURL(own);
  const film = make("video", { src: address, muted: true, preload: "metadata", tabindex: "-1", "aria-hidden": "true" });
  for (const event of ["loadeddata", "error"]) film.addEventListener(event, () => URL.revokeObjectURL(address));
  film.addEventListener("error", () => film.remove()); // a form that this browser does not play
  return film;
}

// Before a search: what there is, and sentences to try.
export function start(name, go) {
  const one = of(name);
  const chips = (texts) => make("ul", { class: "chips", role: "list" }, ...texts.map(({ text }) => make("li", {}, make("button", { type: "button", onclick: () => go(query("q", text)) }, text))));
  const search = one.search.kind === "exact" ? "searched exactly" : `searched approximately (finds ${(100 * one.search.recall_at_10).toFixed(1)} % of the ten best)`;
  const lost = one.skipped ? `, ${many(one.skipped, "file")} left out` : "";
  const parts = [make("p", {}, `${one.gallery}: ${many(one.videos, "video")}, ${many(one.captions, "caption")}${lost}, ${search} with ${one.backbone}.`)];
  const [directed, rest] = [true, false].map((kind) => one.examples.filter((each) => each.directed === kind));
  if (directed.length) parts.push(make("h2", {}, "Needs a sense of time"), make("p", {}, "Backwards these would be false. Search, then press Time at a result to see whether the method notices."), chips(directed));
  if (rest.length) parts.push(make("h2", {}, "Needs none"), chips(rest));
  if (!one.examples.length) parts.push(make("p", {}, "Type a sentence that says what a video shows, or ask with a video of your own."));
  if (world.other.length) parts.push(make("details", {}, make("summary", {}, `${many(world.other.length, "index", "indexes")} left out`), ...world.other.map((each) => make("p", {}, `${each.name}: ${each.reason}`))));
  $("start").replaceChildren(...parts);
}
