// The temporal probe for one video: its frames in both orders, and what each method makes of them.

import { ask } from "./ask.js";
import { bar, make, score } from "./make.js";
import { picture } from "./player.js";

const $ = (id) => document.getElementById(id);
const SAID = {
  forwards: "sees the direction: forwards scores higher",
  backwards: "takes it for the other direction: backwards scores higher",
  neither: "is blind to time: both score alike",
};

export class Probe {
  // `label`: an index name -> what it is called; `go`: changes the state; `all`: the indexes of the gallery.
  constructor({ label, go, all }) {
    Object.assign(this, { label, go, all, asked: 0 });
    $("probe").addEventListener("close", () => this.last && go({ probe: "", say: "" }));
    $("probe-close").addEventListener("click", () => $("probe").close());
    $("probe").addEventListener("click", (event) => event.target === $("probe") && $("probe").close());
    $("probe-form").addEventListener("submit", (event) => {
      event.preventDefault();
      go({ say: $("say").value.trim() });
    });
    $("turned").addEventListener("click", () => go({ say: $("turned").dataset.say }));
    $("all").addEventListener("change", () => this.last && this.show(...this.last));
  }

  get open() {
    return $("probe").open;
  }

  hide() {
    this.last = null;
    if (this.open) $("probe").close(); // which gives the focus back
  }

  fail(sentence) {
    $("probe-trouble").replaceChildren(sentence);
    $("verdicts").replaceChildren();
    $("turned").hidden = true;
  }

  async show(video, sentence, names) {
    this.last = [video, sentence, names];
    const turn = ++this.asked;
    if (!this.open) {
      $("strips").replaceChildren();
      $("verdicts").replaceChildren();
      $("probe").showModal();
      $("say").focus();
    }
    $("say").value = sentence;
    $("probe-trouble").replaceChildren();
    $("every").hidden = this.all().length <= names.length;
    if (!sentence) return this.fail("Type a sentence with a direction, such as “moves up”.");
    try {
      const found = [];
      for (const name of $("all").checked ? this.all() : names) {
        found.push(await ask("/api/probe", { index: name, video, q: sentence }));
        if (turn !== this.asked) return undefined;
      }
      this.render(found);
    } catch (error) {
      if (turn === this.asked) this.fail(error.message);
    }
    return undefined;
  }

  render(found) {
    const [first] = found;
    $("turned").hidden = !first.turned;
    $("turned").dataset.say = first.turned;
    $("turned").replaceChildren(`Ask the opposite: ${first.turned}`);
    const strip = (title, times) => {
      const pictures = times.map((time) => make("span", { class: "pic" }, picture(first.index, first.of, time)));
      return make("figure", { class: "strip" }, make("figcaption", {}, title), make("div", { role: "img", "aria-label": title }, ...pictures));
    };
    const count = `${first.times.length} frames`;
    $("strips").replaceChildren(strip(`Forwards: the ${count} as they are`, first.times), strip(`Backwards: the same ${count} in reverse order`, [...first.times].reverse()));
    const all = [0, ...found.flatMap((one) => [one.forwards, one.backwards])];
    const scale = [Math.min(...all), Math.max(...all)];
    const plain = first.turned ? null : make("p", { class: "nothing" }, "This sentence names no direction that this page knows, such as up or down; if so, a difference says little.");
    $("verdicts").replaceChildren(...[plain].filter(Boolean), ...found.map((one) => this.verdict(one, scale)));
  }

  verdict(one, scale) {
    const meter = (name) => make("div", { class: one.higher === name ? "meter higher" : "meter" }, make("span", {}, name), bar(one[name], ...scale), make("span", {}, score(one[name], 4)));
    const short = `forwards ${score(one.forwards, 4)}, backwards ${score(one.backwards, 4)}`;
    return make("div", { class: `verdict ${one.higher}`, role: "group", "aria-label": `${this.label(one.index)}: ${short}` }, make("p", {}, `${this.label(one.index)} `, make("span", { class: "said" }, SAID[one.higher])), meter("forwards"), meter("backwards"));
  }
}
