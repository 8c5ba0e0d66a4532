// A picture that plays while it is pointed at or has the focus, and stays on when it is pressed.

import { clip, frame } from "./ask.js";
import { clock, make } from "./make.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export function picture(name, of, at) {
  const image = make("img", { src: frame(name, of, at), alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(make("span", { class: "gone" }, "no picture")));
  return image;
}

export function player(name, hit, label) {
  const at = hit.moment ?? 0;
  const fine = (hit.duration ?? 0) < 60;
  const length = hit.duration === null ? "" : ` of ${clock(hit.duration, fine)}`;
  const stamp = make("span", { class: "time" }, `${clock(at, fine)}${length}`);
  const button = make("button", { type: "button", class: "show", "aria-pressed": "false", "aria-label": label }, picture(name, hit, at), stamp);
  let film = null;
  let pinned = false;
  const start = () => {
    if (film) return;
    film = make("video", { src: clip(name, hit), muted: true, loop: true, playsinline: true, preload: "auto", tabindex: "-1", "aria-hidden": "true" });
    film.muted = true; // the attribute alone does not mute an element that is made by a script
    film.addEventListener("loadedmetadata", (event) => (event.target.currentTime = Math.min(at, event.target.duration || at)));
    film.addEventListener("error", stop);
    stamp.before(film);
    button.classList.add("on");
    film.play().catch(() => {}); // it was taken away before it began
  };
  const stop = () => {
    film?.remove();
    film?.removeAttribute("src");
    film = null;
    button.classList.remove("on");
  };
  const pin = (on) => {
    pinned = on;
    button.setAttribute("aria-pressed", String(on));
    if (on) start();
    else stop();
  };
  for (const event of ["pointerenter", "focus"]) button.addEventListener(event, (e) => e.pointerType !== "touch" && !calm.matches && start());
  for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => !pinned && stop());
  button.addEventListener("click", () => pin(!pinned));
  return button;
}
