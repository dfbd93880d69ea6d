// Reads Discord's markdown into a tree of plain objects. Pure: no document, no names, nothing is trusted or run.

const DEPTH = 8;
const NEXT = /^[\s\S]+?(?=[\\`*_~|<[@]|https?:\/\/|$)/;
const LINK = /^\[((?:[^[\]\\\n]|\\.|\[[^[\]\n]*\])+)\]\(<?(https?:\/\/[^\s)>]+)>?\)/;
const ITALIC = /^\*(?=\S)((?:[^*]|\*\*[^*]+\*\*)+?)\*(?!\*)/;
const STAMP = /^<t:(-?\d{1,13})(?::([tTdDfFRsS]))?>/;

const PAIRS = [
  ["bold", /^\*\*([\s\S]+?)\*\*(?!\*)/],
  ["underline", /^__([\s\S]+?)__(?!_)/],
  ["strike", /^~~([\s\S]+?)~~/],
  ["spoiler", /^\|\|([\s\S]+?)\|\|/],
  ["italic", ITALIC],
  ["italic", /^_(?=\S)([^_]+?)_(?![A-Za-z0-9_])/],
];
const LEAVES = [
  [/^\\([^\sA-Za-z0-9])/, (m) => m[1]],
  [/^``([\s\S]+?)``(?!`)/, (m) => ({ kind: "code", text: m[1].trim() })],
  [/^`([^`]+)`/, (m) => ({ kind: "code", text: m[1] })],
  [/^<@&(\d+)>/, (m) => ({ kind: "role", id: m[1] })],
  [/^<@!?(\d+)>/, (m) => ({ kind: "user", id: m[1] })],
  [/^<#(\d+)>/, (m) => ({ kind: "channel", id: m[1] })],
  [/^<\/([^:>\n]{1,100}):\d+>/, (m) => ({ kind: "command", text: `/${m[1]}` })],
  [STAMP, (m) => ({ kind: "time", seconds: Number(m[1]), style: m[2] })],
  [/^<a?:(\w{1,32}):\d+>/, (m) => ({ kind: "emoji", text: `:${m[1]}:` })],
  [/^@(everyone|here)\b/, (m) => ({ kind: "everyone", text: m[0] })],
  [/^<(https?:\/\/[^\s>]+)>/, (m) => ({ kind: "link", url: m[1], children: [m[1]] })],
  [/^https?:\/\/[^\s<>]*[^\s<>.,:;"'\])]/, (m) => ({ kind: "link", url: m[0], children: [m[0]] })],
];

function take(text, depth, previous) {
  for (const [pattern, make] of LEAVES) {
    const match = pattern.exec(text);
    if (match) return [match[0].length, make(match)];
  }
  if (depth < DEPTH) {
    const link = LINK.exec(text);
    if (link) return [link[0].length, { kind: "link", url: link[2], children: inline(link[1], depth + 1) }];
    for (const [kind, pattern] of PAIRS) {
      if (text[0] === "_" && text[1] !== "_" && /[A-Za-z0-9]/.test(previous)) continue;
      const match = pattern.exec(text);
      if (match) return [match[0].length, { kind, children: inline(match[1], depth + 1) }];
    }
  }
  const length = NEXT.exec(text)?.[0].length ?? 1;
  return [length, text.slice(0, length)];
}

/** Reads one run of text: strings and `{kind, …}` nodes. */
export function inline(text, depth = 0) {
  const nodes = [];
  let at = 0;
  while (at < text.length) {
    const [length, node] = take(text.slice(at), depth, text[at - 1] ?? "");
    if (typeof node === "string" && typeof nodes.at(-1) === "string") nodes[nodes.length - 1] += node;
    else nodes.push(node);
    at += length;
  }
  return nodes;
}

const LINES = [
  [/^(#{1,3}) +(\S.*)$/, (m) => ({ kind: "heading", level: m[1].length, children: inline(m[2]) })],
  [/^-# +(\S.*)$/, (m) => ({ kind: "small", children: inline(m[1]) })],
];

function gather(lines, at, pattern) {
  const found = [];
  for (let match; at + found.length < lines.length && (match = pattern.exec(lines[at + found.length])); ) found.push(match);
  return found;
}

function block(lines, at) {
  if (lines[at].startsWith(">>> ")) {
    const rest = [lines[at].slice(4), ...lines.slice(at + 1)];
    return [rest.length, { kind: "quote", children: inline(rest.join("\n")) }];
  }
  const quoted = gather(lines, at, /^> ?(.*)$/);
  if (quoted.length && lines[at].startsWith("> ")) {
    return [quoted.length, { kind: "quote", children: inline(quoted.map((m) => m[1]).join("\n")) }];
  }
  const items = gather(lines, at, /^( {0,6})[-*] +(\S.*)$/);
  if (items.length) {
    const children = items.map((m) => ({ deep: m[1].length > 1, children: inline(m[2]) }));
    return [items.length, { kind: "list", children }];
  }
  const numbered = gather(lines, at, /^ {0,6}(\d{1,4})\. +(\S.*)$/);
  if (numbered.length) {
    const children = numbered.map((m) => ({ deep: false, children: inline(m[2]) }));
    return [numbered.length, { kind: "list", start: Number(numbered[0][1]), children }];
  }
  for (const [pattern, make] of LINES) {
    const match = pattern.exec(lines[at]);
    if (match) return [1, make(match)];
  }
  return null;
}

function prose(text) {
  const lines = text.split("\n");
  const blocks = [];
  let plain = [];
  const flush = () => {
    const joined = plain.join("\n");
    if (joined.trim()) blocks.push({ kind: "paragraph", children: inline(joined) });
    plain = [];
  };
  for (let at = 0; at < lines.length; ) {
    const found = block(lines, at);
    if (found) {
      flush();
      blocks.push(found[1]);
    } else plain.push(lines[at]);
    at += found ? found[0] : 1;
  }
  flush();
  return blocks;
}

/** Reads a whole message: a list of blocks. */
export function parse(text) {
  const blocks = [];
  const fence = /```(?:([\w+-]{1,20})\n)?([\s\S]+?)```/g;
  let at = 0;
  for (let match; (match = fence.exec(text)); at = fence.lastIndex) {
    blocks.push(...prose(text.slice(at, match.index)), { kind: "fence", text: match[2].replace(/^\n|\n$/g, "") });
  }
  return [...blocks, ...prose(text.slice(at))];
}
