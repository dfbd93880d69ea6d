// Speaks the sandbox's control interface over HTTP. Knows calls and errors; nothing of the document.

/** A refusal by the sandbox; `message` is the sentence that a person reads. */
export class Refusal extends Error {
  constructor(sentence, code, status) {
    super(sentence);
    this.code = code;
    this.status = status;
  }
}

async function call(method, path, body) {
  const init = { method, headers: {} };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(`/control/${path}`, init);
  } catch {
    throw new Refusal("The sandbox does not answer. Is its process still running?", "unreachable", 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const error = answer.error ?? {};
  throw new Refusal(error.sentence ?? `The sandbox answered ${response.status}.`, error.code, response.status);
}

const query = (fields) => new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== undefined));

export const api = {
  state: () => call("GET", "state"),
  messages: (as, channel) => call("GET", `messages?${query({ as, channel })}`),
  transcript: (after) => call("GET", `transcript?${query({ after })}`),
  command: (body) => call("POST", "commands", body),
  contextMenu: (body) => call("POST", "context-menus", body),
  press: (body) => call("POST", "components", body),
  modal: (body) => call("POST", "modals", body),
  autocomplete: (body) => call("POST", "autocomplete", body),
  say: (body) => call("POST", "messages", body),
  rewrite: (id, as, content) => call("PATCH", `messages/${id}`, { as, content }),
  remove: (id, as) => call("DELETE", `messages/${id}`, { as }),
  direct: (as) => call("POST", "channels", { as, type: "dm" }),
  react: (body) => call("POST", "reactions", body),
};
