// The server, and what it says when it does not do as it is asked.

export class Trouble extends Error {
  constructor(sentence, { again = false, status = 0 } = {}) {
    super(sentence);
    this.again = again;
    this.status = status;
  }
}

const GONE = "The server does not answer. It may have been ended: start it again where you started it (make search), then try again.";

export async function ask(path, parameters, { signal, body } = {}) {
  const address = `${path}?${new URLSearchParams(parameters)}`;
  const options = { signal, method: body ? "POST" : "GET", body, headers: body ? { "Content-Type": "application/octet-stream" } : {} };
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(GONE, { again: true });
  }
  const said = await answer.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return {};
  });
  if (answer.ok) return said;
  const sentence = said.error ?? (answer.status === 503 ? "The server is busy; try again in a moment." : `The server answers ${answer.status}.`);
  throw new Trouble(sentence[0].toUpperCase() + sentence.slice(1) + (/[.!?]$/.test(sentence) ? "" : "."), { again: answer.status >= 500, status: answer.status });
}

export const frame = (name, of, at) => `/frame?${new URLSearchParams({ index: name, row: of.row, sha256: of.sha256, at: at.toFixed(3) })}`;
export const clip = (name, of) => `/clip?${new URLSearchParams({ index: name, row: of.row, sha256: of.sha256 })}`;
