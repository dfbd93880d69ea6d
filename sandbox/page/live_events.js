// Keeps one WebSocket to the sandbox open and says when it came back. Knows nothing of what the entries mean.

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 5000;

/**
 * Calls `onEntry` for each entry, `onOpen` after each connect (the first too: read the world anew then, since
 * entries may have been missed) and `onDown` when the line is lost.
 */
export function connect({ onEntry, onOpen, onDown }) {
  let wait = FIRST_WAIT_MS;
  const scheme = location.protocol === "https:" ? "wss" : "ws";

  function open() {
    const socket = new WebSocket(`${scheme}://${location.host}/control/events`);
    socket.addEventListener("open", () => {
      wait = FIRST_WAIT_MS;
      onOpen();
    });
    socket.addEventListener("message", (event) => {
      const entry = JSON.parse(event.data);
      for (const one of Array.isArray(entry) ? entry : [entry]) onEntry(one);
    });
    socket.addEventListener("close", () => {
      onDown();
      setTimeout(open, wait);
      wait = Math.min(wait * 1.7, LONGEST_WAIT_MS);
    });
  }

  open();
}
