// Two lists for one query: what only one of them has, and how far the rest has moved.

export function marks(ours, theirs) {
  const there = new Map(theirs.map((key, place) => [key, place]));
  return ours.map((key, place) => (there.has(key) ? { moved: there.get(key) - place, there: there.get(key) + 1 } : { only: true }));
}

export function shared(ours, theirs) {
  const there = new Set(theirs);
  return ours.filter((key) => there.has(key)).length;
}
