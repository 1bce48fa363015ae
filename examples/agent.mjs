// A device agent in JavaScript, made from docs/protocol.md alone: no packages, Node 22 or later (Node 20 and 21 with
// --experimental-websocket).   node agent.mjs join URL TOKEN NAME STATE.json      then: node agent.mjs run STATE.json
import { createPrivateKey, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { appendFileSync, closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const object = (properties) =>
  ({ type: "object", properties, required: Object.keys(properties), additionalProperties: false });
const [text, number] = [{ type: "string", maxLength: 10000 }, { type: "number" }];
const tool = (description, effect, given, result, run) =>
  ({ spec: { description, effect, arguments: object(given), result: object(result) }, run });
const TOOLS = {
  "text.count": tool("Count the words of a text.", "pure", { text }, { words: number },
    ({ text }) => ({ words: text.split(/\s+/).filter(Boolean).length })),
  "note.append": tool("Append a line to this agent's notes.", "once", { line: text }, {},
    ({ line }) => (appendFileSync(`${path}.notes`, line + "\n"), {})),
  "timer.wait": tool("Wait for some seconds.", "pure", { s: number }, {},
    ({ s }, signal) => sleep(s * 1000, {}, { signal })),
};

const [command, ...words] = process.argv.slice(2);
const path = words.at(-1);
const boot = randomUUID(); // of this start of the agent
const running = new Map(); // attempt -> {assign, abort, why}
// what one socket knows; what outlives it is in `state`: session, heard, said, outbox, attempts
let state, socket, open, sent, acknowledged, credits, heartbeatS, challengedAt, heardAt, renewedAt, renewing, retryS;
const now = () => Number(process.hrtime.bigint()) / 1e9; // monotonic

function save() { // whole or not at all, and on the disk before anything rests on it
  writeFileSync(`${path}.new`, JSON.stringify(state), { mode: 0o600 });
  const file = openSync(`${path}.new`, "r+");
  fsyncSync(file);
  closeSync(file);
  renameSync(`${path}.new`, path);
}

const frame = (messages, first = 0) => socket.send(JSON.stringify({ ack: state.heard, first, messages }));

function say(...messages) { // numbered: kept until it is acknowledged
  for (const message of messages) state.outbox.push({ number: ++state.said, message });
  if (!open) return;
  for (const { number, message } of state.outbox)
    if (number > sent && number <= acknowledged + credits) frame([message], (sent = number));
}

function bye(code, message) {
  if (socket.readyState === 1) socket.send(JSON.stringify({ messages: [{ type: "bye", code, message }] }));
  open = false;
  socket.close();
}

function acknowledge(number) {
  if (number > state.said || number < acknowledged) return bye("out_of_turn", "acknowledged what was never said");
  acknowledged = number;
  const safe = state.outbox.filter((each) => each.number <= number);
  state.outbox = state.outbox.slice(safe.length);
  for (const { message } of safe) if (message.type === "report") delete state.attempts[message.attempt];
  if (safe.length) save();
  say();
}

function end(attempt, report) {
  running.delete(attempt);
  state.attempts[attempt] = { report: { type: "report", attempt, ...report } };
  save();
  say(state.attempts[attempt].report);
}

async function begin(assign) {
  const { attempt, tool, effect, run_s } = assign;
  if (state.attempts[attempt]) return; // it runs, or its report is in the outbox
  const failure = { code: "no_such_tool", message: `there is no ${tool} here`, retryable: true };
  if (!TOOLS[tool]) return say({ type: "reject", attempt, failure });
  state.attempts[attempt] = { effect };
  save(); // that it begins is written down before it does
  const [call, began] = [{ assign, abort: new AbortController() }, now()];
  running.set(attempt, call);
  say({ type: "accept", attempt });
  const limit = run_s && setTimeout(() => stop(attempt, "timeout"), run_s * 1000);
  try {
    const result = await TOOLS[tool].run(assign.arguments, call.abort.signal);
    end(attempt, { outcome: "succeeded", result, ran_s: now() - began });
  } catch (error) {
    const failure = { code: call.why ?? "failed", message: `${error}`.slice(0, 2000), retryable: call.why === "timeout" };
    end(attempt, { outcome: call.why === "stopped" ? "cancelled" : "failed", failure, ran_s: now() - began });
  }
  clearTimeout(limit);
}

function stop(attempt, why) {
  const call = running.get(attempt);
  if (!call || call.why) return;
  call.why = why; // the first reason is the reason
  if (why === "stopped") say({ type: "stopping", attempt });
  call.abort.abort();
}

function beat() {
  clearTimeout(renewing);
  if (!open) return;
  if (now() - heardAt > 2.75 * heartbeatS) return bye("silent", "nothing was heard");
  frame([{ type: "renew", sent_at: now() }]);
  const leases = [...running.values()].map(({ assign }) => assign.stop_after_s / 3).filter(Boolean);
  renewing = setTimeout(beat, Math.min(heartbeatS, ...leases) * 1000);
}

const HEARD = {
  challenge({ galaxy, nonce, version_max: version }) {
    if (galaxy !== state.galaxy) return bye("unauthenticated", "this is another galaxy");
    challengedAt = now();
    const proof = Buffer.from(["aip.v1", galaxy, nonce, state.device, boot].join("\n"));
    const signature = sign(null, proof, createPrivateKey(state.key)).toString("base64");
    const profile = { kind: "edge", slots: 2, labels: { runtime: "node" }, tools: [], agent: `Node ${process.version}` };
    for (const [name, { spec }] of Object.entries(TOOLS)) profile.tools.push({ name, ...spec });
    const holding = ({ report }) => (!report ? "running" : report.outcome === "unknown" ? "intent" : "finished");
    const held = Object.entries(state.attempts).map(([attempt, each]) => ({ attempt, holding: holding(each) }));
    const { device, session, heard } = state;
    const hello = { type: "hello", device, signature, version, boot, profile, held, session, heard };
    socket.send(JSON.stringify({ messages: [hello] }));
  },
  welcome(welcome) {
    ({ credits, heartbeat_s: heartbeatS } = welcome);
    [open, sent, acknowledged] = [true, welcome.heard, (state.outbox[0]?.number ?? state.said + 1) - 1];
    if (!welcome.resumed) {
      Object.assign(state, { session: welcome.session, heard: 0, said: 0, outbox: [] });
      [sent, acknowledged, renewedAt] = [0, 0, challengedAt];
      const owed = Object.values(state.attempts).flatMap(({ report }) => report ?? []);
      say(...[...running.keys()].map((attempt) => ({ type: "accept", attempt })), ...owed);
    }
    save();
    frame([]);
    say();
    beat();
  },
  renewed(message) {
    renewedAt = Math.max(renewedAt, message.sent_at);
    heartbeatS = message.heartbeat_s || heartbeatS;
  },
  bye({ terminal, retry_after_s }) {
    retryS = retry_after_s;
    if (terminal) process.exit(1);
  },
  assign: (message) => void begin(message).then(beat),
  revoke: ({ attempt }) => stop(attempt, "stopped"),
  reconcile: ({ attempt, verdict }) => ["stop", "superseded"].includes(verdict) && stop(attempt, "stopped"),
  drain() {},
};

function receive({ ack = 0, first = 0, messages = [] }) {
  if (now() - heardAt > 2.75 * heartbeatS) return bye("silent", "this device stood still");
  heardAt = now();
  if (open && ack) acknowledge(ack);
  if (first > state.heard + 1) return bye("out_of_turn", `${first} after ${state.heard}`);
  const news = first ? messages.slice(state.heard + 1 - first) : messages;
  if (first) state.heard += news.length;
  for (const message of news) {
    if (!HEARD[message.type]) return bye("out_of_turn", `an unknown message ${message.type}`);
    HEARD[message.type](message);
  }
  if (first && open) frame([]); // what is to begin is written down by now
}

function dial(pauseS) {
  [heardAt, heartbeatS, retryS, open] = [now(), 10, 0, false];
  socket = new WebSocket(`${state.url.replace(/^http/, "ws")}/v1/agent`, ["aip.v1"]);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => receive(JSON.parse(typeof data === "string" ? data : Buffer.from(data).toString()));
  socket.onerror = () => {};
  socket.onclose = () => {
    const next = open ? 0.5 : Math.min(pauseS * 2, 30);
    open = false;
    setTimeout(dial, 1000 * Math.max(retryS, next * (0.5 + Math.random() / 2)), next);
  };
}

if (command === "join" && words.length === 4) {
  const [url, token, name] = words;
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const public_key = publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("base64");
  const [headers, body] = [{ "content-type": "application/json" }, JSON.stringify({ token, name, public_key })];
  const answer = await fetch(`${url}/v1/join`, { method: "POST", headers, body });
  if (answer.status !== 201) throw new Error((await answer.json()).detail);
  const key = privateKey.export({ format: "pem", type: "pkcs8" });
  state = { url, key, ...(await answer.json()), session: "", heard: 0, said: 0, outbox: [], attempts: {} };
  save();
} else if (command === "run" && words.length === 1) {
  state = { ...JSON.parse(readFileSync(path)), session: "", heard: 0 };
  for (const [attempt, { report, effect }] of Object.entries(state.attempts)) {
    if (report) continue; // else it was begun, and a crash has cut it off
    const outcome = ["pure", "idempotent"].includes(effect) ? "failed" : "unknown";
    const failure = { code: "cut_off", message: "the agent ended in the middle", retryable: outcome === "failed" };
    state.attempts[attempt] = { report: { type: "report", attempt, outcome, failure } };
  }
  setInterval(() => { // the lease rule: Galaxy may have given it to another device
    for (const [attempt, { assign }] of running)
      if (assign.stop_after_s && now() - renewedAt > 0.9 * assign.stop_after_s) stop(attempt, "lease");
  }, 200);
  dial(0.5);
} else {
  console.error("usage: agent.mjs join URL TOKEN NAME STATE.json | agent.mjs run STATE.json");
  process.exit(2);
}
