// Puts the page together: state, timeline, composer, sidebar, inspector and the live line. The composition root.
import { byId, el, fill, icon } from "./dom.js";
import { api } from "./api.js";
import { connect } from "./live_events.js";
import { Composer } from "./composer.js";
import { showHistory } from "./edit_history.js";
import { Inspector } from "./inspector.js";
import { hideNotice, Interactions, notice } from "./interactions.js";
import { messageEntries, openMenu } from "./menu.js";
import { pickEmoji } from "./reactions.js";
import { Sidebar } from "./sidebar.js";
import { State } from "./state.js";
import { Timeline } from "./timeline.js";
import { Unread } from "./unread.js";

const WORLD_AGAIN_MS = 250;
const WORLD_POLL_MS = 4000;

const state = new State();
const said = (refusal) => notice(refusal.message);

const fetchMessage = async (id) => (await fetchMessages()).find((message) => message.id === id);
const fetchMessages = async () => {
  const answer = await api.messages(state.me.id, state.channel.id);
  return Array.isArray(answer) ? answer : answer.messages;
};

const context = {
  names: state.names,
  world: () => state.world,
  press: (view, component, values, node) => interactions.press(view, component, values, node),
  react: (message, emoji, remove) => api.react({ as: state.me.id, message: message.id, emoji, remove: remove || undefined }).catch(said),
  menu: (view, anchor, event) => openMenu(anchor, messageEntries(view, { state, actions }), event),
  history: (view, anchor) => showHistory(anchor, view.message, state.names, fetchMessage).catch(said),
  dismiss: (view) => timeline.dismiss(view.message.id),
  jump: (id) => timeline.jump(id),
};
const timeline = new Timeline(context);
const interactions = new Interactions({ state });
const composer = new Composer({ state, interactions });
const inspector = new Inspector();
const unread = new Unread();
const sidebar = new Sidebar({ state, unread, onUserApp: (name, member) => interactions.contextMenu(name, { user: member.id }), onDirect: openDirect });

const actions = {
  app: (name, message) => interactions.contextMenu(name, { message: message.id }),
  reply: (message) => composer.reply(message),
  edit: (message) => composer.edit(message),
  pick: (view) => pickEmoji(view.article.querySelector(".more"), (emoji) => context.react(view.message, emoji, false)),
  remove: (message) => api.remove(message.id, state.me.id).catch(said),
};

// While a snapshot is under way, events wait: a snapshot must not undo what is newer than it.
let waiting = null;
let snapshotTurn = 0;

async function loadMessages(afresh) {
  if (!state.me || !state.channel) return timeline.load([], { afresh });
  const turn = ++snapshotTurn;
  waiting = waiting ?? [];
  if (afresh) timeline.clear();
  try {
    const messages = await fetchMessages();
    if (turn !== snapshotTurn) return;
    timeline.load(messages, { afresh });
  } catch (refusal) {
    if (turn === snapshotTurn) said(refusal);
  } finally {
    if (turn === snapshotTurn) {
      const late = waiting;
      waiting = null;
      late.forEach(apply);
    }
  }
}

function apply({ name, body }) {
  if (!body) return;
  if (name === "MESSAGE_DELETE") timeline.remove(body.id);
  else if (body.channel_id === state.channel?.id) timeline.put(body);
}

let worldTimer = 0;
function worldSoon() {
  clearTimeout(worldTimer);
  worldTimer = setTimeout(loadWorld, WORLD_AGAIN_MS);
}

async function openDirect() {
  try {
    const channel = await api.direct(state.me.id);
    await loadWorld();
    state.go({ channel });
  } catch (refusal) {
    said(refusal);
  }
}

let known = "";
async function loadWorld() {
  const world = await api.state().catch(() => null);
  if (!world) return;
  const text = JSON.stringify(world);
  if (text === known) return;
  known = text;
  state.setWorld(world);
}

function hear({ name, body }) {
  if (name === "MESSAGE_CREATE") unread.hear(body);
  else if (name === "MESSAGE_DELETE") unread.forget(body.id);
  else return;
  // The first message of a direct channel comes before anything has told that there is one.
  if (!state.places().some((channel) => channel.id === body.channel_id)) worldSoon();
  sidebar.mark();
}

function onEntry(entry) {
  inspector.push(entry);
  if (entry.kind !== "event") return void (/\/commands/.test(entry.route ?? "") && worldSoon());
  hear(entry);
  if (entry.name === "BOT_ONLINE") {
    timeline.forgetNotes();
    hideNotice();
  }
  if (/^MESSAGE_(CREATE|UPDATE|DELETE)$/.test(entry.name)) waiting ? waiting.push(entry) : apply(entry);
  else if (/^MESSAGE_REACTION_(ADD|REMOVE)$/.test(entry.name)) timeline.react(entry.body, entry.name.endsWith("ADD"));
  else if (/^MESSAGE_REACTION_REMOVE_(ALL|EMOJI)$/.test(entry.name)) timeline.clearReactions(entry.body);
  else if (!/^(INTERACTION|TYPING|MESSAGE_REACTION)/.test(entry.name)) worldSoon();
}

addEventListener("message-link", async ({ detail }) => {
  const find = () => state.places().find((one) => one.id === detail.channel);
  // A thread that has just been made may not be in what was read of the world.
  if (!find()) await loadWorld();
  const channel = find();
  if (!channel) return notice("That message is in a channel that you cannot see.");
  if (channel.id !== state.channel?.id) {
    state.go({ channel });
    await loading;
  }
  if (detail.message && !timeline.jump(detail.message)) notice("That message is gone.");
});

byId("send").append(icon("send"));
byId("attach").append(icon("plus"));
byId("who").addEventListener("change", (event) => state.go({ person: state.people().find((one) => one.id === event.target.value) }));
byId("try-it").addEventListener("click", () => composer.suggest("/imagine a red boat on the sea at sunset"));
let loading = Promise.resolve();
state.addEventListener("place", () => (loading = loadMessages(true)));
state.addEventListener("world", () => timeline.redraw());
state.addEventListener("world", () => {
  const words = state.world.application?.draws ?? "";
  fill(byId("draws"), words.split("\n").filter(Boolean).map((line) => el("p", {}, line)));
  byId("draws").hidden = !words;
});

connect({
  onEntry,
  onOpen: async () => {
    byId("offline").hidden = true;
    const first = !state.me;
    await loadWorld();
    if (!first) await loadMessages(false);
    inspector.catchUp();
  },
  onDown: () => (byId("offline").hidden = false),
});
setInterval(() => document.visibilityState === "visible" && byId("offline").hidden && loadWorld(), WORLD_POLL_MS);
