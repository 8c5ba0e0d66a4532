// A query to the server, and what its answer is in a sentence.

import { Trouble, ask } from "./ask.js";
import { shared } from "./compare.js";
import { make, many } from "./make.js";
import { label, of, world } from "./world.js";

export const DEFAULT_K = "12";

// The answers of all sides; Trouble if none of them has one.
export async function find(state, own, signal) {
  const names = [state.index, state.other].filter(Boolean);
  const k = state.k || DEFAULT_K;
  const each = async (path, more) => {
    const settled = await Promise.allSettled(names.map((name) => ask(path, { index: name, k, ...more }, { signal })));
    if (settled.every((one) => one.status === "rejected")) throw settled[0].reason;
    return names.map((name, i) => ({ name, label: label(name), facts: of(name), answer: settled[i].value, trouble: settled[i].reason?.message }));
  };
  if (state.q) return each("/api/search", { q: state.q });
  if (state.like) return each("/api/like", { video: state.like });
  if (state.captions) return each("/api/captions", { video: state.captions });
  if (own?.name !== state.file) throw new Trouble(`An address cannot hold a video: choose ${state.file} again.`);
  if (own.size > world.limits.bytes) throw new Trouble(`${own.name} has ${Math.ceil(own.size / 2 ** 20)} MB, and at most ${world.limits.bytes / 2 ** 20} MB are taken. Cut it, or put it into a gallery.`);
  const path = state.what === "captions" ? "/api/file/captions" : "/api/file/videos";
  const said = await ask(path, [...names.map((name) => ["index", name]), ["k", k]], { signal, body: own });
  return said.sides.map((answer) => ({ name: answer.index, label: label(answer.index), facts: of(answer.index), answer: { ...answer, seconds: said.seconds } }));
}

// What is wrong with a query, before the server is asked; "" if nothing is.
export function refused(state) {
  const long = state.q.length;
  if (long > world.limits.query) return `The sentence has ${long.toLocaleString("en")} characters, and at most ${world.limits.query.toLocaleString("en")} are read. Shorten it.`;
  if ((state.captions || state.what === "captions") && !of(state.index).captions) return `The gallery ${of(state.index).gallery} has no captions to choose from. Index it with --texts and a file of sentences to have some.`;
  return "";
}

// How many there are, and on which side.
export function told(shown) {
  const [left, right] = shown.map((side) => side.answer?.hits ?? side.answer?.captions);
  const thing = left && shown[0].answer.captions ? "caption" : "video";
  if (!left || (right === undefined && shown.length > 1)) return ["One side has no answer."];
  if (!right) return [`${many(left.length, thing)} of ${(thing === "video" ? shown[0].facts.videos : shown[0].facts.captions).toLocaleString("en")}, best first.`];
  const both = shared(left.map((hit) => hit.video ?? hit.caption), right.map((hit) => hit.video ?? hit.caption));
  const only = [left.length - both, right.length - both];
  return [make("strong", {}, `${many(both, thing)} on both sides`), `, ${only[0]} only with ${shown[0].label}, ${only[1]} only with ${shown[1].label}.`];
}
