// Elements from data: text is only ever text, never markup.

export function make(tag, facts = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

// From 0 to a value, on a scale from `low` to `high`, which holds 0.
export function bar(value, low, high) {
  const svg = document.createElementNS(SVG, "svg");
  const at = (number) => (100 * (number - low)) / (high - low || 1);
  const [from, to] = [at(0), at(value)].sort((a, b) => a - b);
  for (const [name, x, width] of [["", 0, 100], ["bar", from, to - from]]) {
    const rect = document.createElementNS(SVG, "rect");
    for (const [key, given] of Object.entries({ class: name, x, width, height: 9 })) rect.setAttribute(key, given);
    svg.append(rect);
  }
  svg.setAttribute("viewBox", "0 0 100 9");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

export const score = (value, digits = 3) => value.toFixed(digits).replace("-", "−");
export const many = (number, one, more = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;

// 0:01.3 in short videos, where whole seconds say little.
export function clock(seconds, fine) {
  const units = fine ? 10 : 1;
  const all = fine ? Math.round(units * seconds) : Math.floor(seconds);
  const rest = ((all % (60 * units)) / units).toFixed(fine ? 1 : 0).padStart(fine ? 4 : 2, "0");
  return `${Math.floor(all / (60 * units))}:${rest}`;
}
