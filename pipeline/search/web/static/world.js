// The indexes that there are, as the server told.

export const world = { indexes: [], other: [], limits: { query: 1000, k: 100, bytes: 0 } };

export const of = (name) => world.indexes.find((one) => one.name === name);
export const fellows = (name) => world.indexes.filter((one) => one.gallery === of(name)?.gallery);

// The method's name, with what tells it apart from another index of that name.
export function label(name) {
  const one = of(name);
  if (!one) return name;
  const alike = fellows(name).filter((each) => each.run === one.run);
  return one.run + (alike.length > 1 ? `, seed ${one.seed}` : "");
}
