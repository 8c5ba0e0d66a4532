// The keyboard: / to the search box, arrows from result to result, Escape back to the search box.

const SHOWN = "#found .show, #found .texts .link";
const FREE = "input, select, textarea, [contenteditable]";

function centre(element) {
  const box = element.getBoundingClientRect();
  return { x: box.left + box.width / 2, y: box.top + box.height / 2 };
}

// The nearest result in a direction; what lies askew is further away.
function nearest(from, [dx, dy]) {
  const here = centre(from);
  let best = null;
  for (const to of document.querySelectorAll(SHOWN)) {
    const there = centre(to);
    const along = dx * (there.x - here.x) + dy * (there.y - here.y);
    const askew = Math.abs(dy * (there.x - here.x) + dx * (there.y - here.y));
    const far = along + 3 * askew;
    if (to !== from && along > 4 && (!best || far < best.far)) best = { to, far };
  }
  return best?.to;
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function listen(box) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const here = document.activeElement;
    if (event.key === "/" && !here.matches(FREE)) {
      event.preventDefault();
      box.focus();
      box.select();
    } else if (event.key === "Escape" && here.closest("#found, #asking, #start")) box.focus();
    else if (event.key in ARROWS) arrow(event, here, box);
  });
}

function arrow(event, here, box) {
  const shown = here.closest?.(".tile, .texts li")?.querySelector(".show, .link");
  if (!shown && !(here === box && event.key === "ArrowDown")) return;
  const to = shown ? nearest(shown, ARROWS[event.key]) : document.querySelector(SHOWN);
  if (!to && event.key !== "ArrowUp") return;
  event.preventDefault();
  (to ?? box).focus();
  (to ?? box).scrollIntoView({ block: "nearest" });
}
