// Draws the state of the server twice a second. Whatever a peer chose is put in as text, never as markup.
"use strict";

const ROOMS = ["accept", "address", "handshake", "identity", "frame", "service"];
const TASKS = {
  accept: "who may queue",
  address: "which addresses may knock",
  handshake: "is it TLS, and whose certificate",
  identity: "may this name use this from here",
  frame: "is each message well formed",
  service: "what the visitor came for",
};
const BETWEEN_LOOKS = 500;
const SHOWN_VISITS = 16;
const HOUR = 3600;

const by = (id) => document.getElementById(id);
let token = location.hash.slice(1) || sessionStorage.getItem("token") || "";
let reasons = new Map();
let answered = 0;

/** An element with this text, these attributes and these children. */
function make(name, text, attributes = {}, children = []) {
  const element = document.createElement(name);
  if (text !== null) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Writes only where something changed, so that readers of the screen are not called for nothing. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const plural = (count, one, many = one + "s") => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const clock = (at) => new Date(at).toLocaleTimeString("en-GB");

function lasting(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

function took(micros) {
  return micros < 1000 ? `${micros} µs` : `${(micros / 1000).toFixed(1)} ms`;
}

// The hallway.

const hall = new Map();

function buildHall() {
  for (const room of [...ROOMS, "inside"]) {
    const count = make("p", "0", { class: "count" });
    const note = make("p", "");
    const title = room === "inside" ? "inside" : room;
    const item = make("li", null, { id: `room-${room}` }, [make("h3", title), count, note]);
    if (room !== "inside") item.title = TASKS[room];
    by("hall").append(item);
    hall.set(room, { item, count, note, before: null });
  }
}

function drawHall({ status, open }) {
  const stopped = Object.fromEntries(ROOMS.map((room) => [room, 0]));
  for (const [code, count] of Object.entries(status.refused)) stopped[code.split(".")[0]] += count;
  for (const room of ROOMS) {
    const place = hall.get(room);
    say(place.count, `${stopped[room] ? "✗ " : ""}${stopped[room].toLocaleString("en")}`);
    place.count.classList.toggle("no", stopped[room] > 0);
    say(place.note, room === "accept"
      ? `stopped here; ${status.strangers.taken} of ${status.strangers.all} seats taken` : "stopped here");
    flash(place, stopped[room], "struck");
  }
  const inside = hall.get("inside");
  say(inside.count, `${open ? "✓ " : ""}${open.toLocaleString("en")}`);
  inside.count.classList.toggle("yes", open > 0);
  say(inside.note, `${plural(status.permitted, "visitor")} let in so far; at most ${status.members.all} at once`);
  flash(inside, status.permitted, "passed");
}

/** Marks a room for a moment when its count has grown. */
function flash(place, count, mark) {
  if (place.before !== null && count > place.before) {
    place.item.classList.add(mark);
    clearTimeout(place.timer);
    place.timer = setTimeout(() => place.item.classList.remove(mark), 2500);
  }
  place.before = count;
}

// The last visitors.

const visits = new Map();
let told = 0;

/** Those who were stopped and those who got in, each visit once, the newest first. */
function lastVisits(status) {
  const found = new Map();
  for (const one of status.arrived) found.set(one.visit, { ...one, names: [one.name], code: null });
  for (const one of status.last) found.set(one.visit, { ...one, name: found.get(one.visit)?.name });
  return [...found.values()].sort((a, b) => Date.parse(b.at) - Date.parse(a.at) || b.visit - a.visit).slice(0, SHOWN_VISITS);
}

function drawVisits(status) {
  const first = visits.size === 0;
  const now = lastVisits(status);
  const kept = new Set(now.map(keyOf));
  for (const [key, item] of visits) if (!kept.has(key)) { item.remove(); visits.delete(key); }
  const list = by("visits");
  let place = list.firstElementChild;
  for (const visit of now) {
    const key = keyOf(visit);
    let item = visits.get(key);
    if (!item) {
      item = drawVisit(visit, !first);
      visits.set(key, item);
    }
    if (item === place) place = place.nextElementSibling;
    else list.insertBefore(item, place);
  }
  if (now.length === 0) say(by("news"), "Nobody has come yet.");
  else if (Date.now() - told > 2000) {
    told = Date.now();
    say(by("news"), sentence(now[0]));
  }
}

const keyOf = (visit) => `${visit.visit} ${visit.code}`;
const roomOf = (visit) => visit.code.split(".")[0];

function sentence(visit) {
  const who = visit.name || visit.names[0] || "an unnamed visitor";
  return visit.code === null
    ? `Visit ${visit.visit}: ${who} from ${visit.from} was let in to ${visit.service}.`
    : `Visit ${visit.visit}: ${who} from ${visit.from} was stopped at ${roomOf(visit)}: ${reasons.get(visit.code)?.sentence ?? visit.code}`;
}

function drawVisit(visit, isNew) {
  const end = visit.code === null ? ROOMS.length : ROOMS.indexOf(roomOf(visit));
  // Whoever was let in and then cut came through every room before the one that cuts.
  const through = visit.name ? 4 : 0;
  const steps = ROOMS.map((room, index) => {
    const sign = index === end ? "✗" : index < Math.max(end, through) ? "✓" : "·";
    const step = make("i", sign, { class: sign === "✗" ? "no" : sign === "✓" ? "yes" : "ahead", title: room });
    step.style.setProperty("--step", index);
    return step;
  });
  const walk = make("span", null, {
    class: isNew ? "walk new" : "walk", role: "img",
    "aria-label": visit.code === null ? "through every room" : `stopped at ${roomOf(visit)}`,
  }, steps);
  const who = visit.name || visit.names[0] || "unnamed";
  const outcome = visit.code === null
    ? make("span", `let in to ${visit.service}`, { class: "permitted" })
    : make("span", visit.code, { class: "refused" });
  const summary = make("summary", null, {}, [
    make("time", clock(visit.at), { datetime: visit.at }), walk, make("span", `${who} from ${visit.from}`), outcome,
  ]);
  const item = make("li", null, { "data-visit": visit.visit, "data-code": visit.code ?? "permitted" });
  const details = make("details", null, {}, [summary, tellVisit(visit)]);
  item.append(details);
  return item;
}

function tellVisit(visit) {
  const list = make("dl", null);
  const row = (word, text) => { if (text) list.append(make("dt", word), make("dd", text)); };
  const reason = reasons.get(visit.code);
  row("visit", String(visit.visit));
  row("service", visit.to ? `${visit.service} at ${visit.to}` : visit.service);
  row("why", reason?.sentence);
  row("seen", visit.detail);
  row("what to do", reason?.remedy);
  row("rule", visit.rule);
  const more = visit.more_names ? ` and ${visit.more_names} more` : "";
  row("certificate", visit.names.length ? visit.names.join(", ") + more : visit.pin ? "without a name" : "");
  row("not a name", visit.bad_name);
  row("pin", visit.pin);
  row("balancer", visit.via);
  if (visit.code) row("more", `doorward explain ${visit.code}`);
  return list;
}

// The last hour.

const SVG = "http://www.w3.org/2000/svg";
let drawnUntil = -1;

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function drawPlots(history) {
  const last = history.at(-1)?.at ?? 0;
  if (last === drawnUntil) return;
  drawnUntil = last;
  const refused = history.map((sample) => sample.refused.reduce((sum, count) => sum + count, 0));
  by("plots").replaceChildren(
    bars("Handshakes", "finished, in ten seconds each", "", history, history.map((sample) => sample.handshakes)),
    bars("Refusals", "visitors stopped, in ten seconds each", " no", history, refused),
    latency(history),
  );
}

function figure(title, unit, summary, shapes) {
  const plot = shape("svg", { viewBox: `0 0 ${HOUR} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${summary}` });
  plot.append(...shapes, shape("line", { class: "axis", x1: 0, x2: HOUR, y1: 99.5, y2: 99.5 }));
  const ticks = ["an hour ago", "half an hour", "now"].map((text) => make("span", text));
  return make("figure", null, {}, [
    make("figcaption", null, {}, [make("strong", title), ` ${unit}`, make("br", null), make("small", summary)]),
    plot, make("div", null, { class: "ticks", "aria-hidden": "true" }, ticks),
  ]);
}

const placeOf = (sample, history) => HOUR - (history.at(-1).at - sample.at);

function bars(title, unit, mark, history, values) {
  const most = Math.max(1, ...values);
  const sum = values.reduce((all, value) => all + value, 0);
  const peak = values.indexOf(Math.max(...values));
  const summary = sum === 0 ? "none in the last hour"
    : `${sum.toLocaleString("en")} in all; at most ${values[peak].toLocaleString("en")}, at ${clock(history[peak].at * 1000)}`;
  const shapes = values.flatMap((value, index) => value === 0 ? [] : [shape("rect", {
    class: `bar${mark}`, x: placeOf(history[index], history) - 10, width: 9, y: 99 - 95 * value / most, height: 95 * value / most,
  })]);
  return figure(title, unit, summary, shapes);
}

function latency(history) {
  const known = history.filter((sample) => sample.median !== null);
  const most = Math.max(1, ...known.map((sample) => sample.slowest));
  const line = (mark, value) => shape("polyline", {
    class: `line${mark}`,
    points: known.map((sample) => `${placeOf(sample, history)},${99 - 95 * value(sample) / most}`).join(" "),
  });
  const now = known.at(-1);
  const summary = now ? `last: half within ${took(now.median)} (solid), 99 of 100 within ${took(now.slowest)} (dashed); at most ${took(most)}`
    : "no handshake in the last hour";
  return figure("Latency", "of finished handshakes", summary, [line("", (s) => s.median), line(" high", (s) => s.slowest)]);
}

// Lists.

function drawTable(table, heads, rows, nothing) {
  const text = JSON.stringify([heads, rows]);
  if (table.dataset.drawn === text) return;
  table.dataset.drawn = text;
  if (rows.length === 0) {
    table.replaceChildren(make("tbody", null, {}, [make("tr", null, {}, [make("td", nothing)])]));
    return;
  }
  const numeric = (head) => head.startsWith("#") ? { class: "number" } : {};
  const head = make("tr", null, {}, heads.map((text) => make("th", text.replace("#", ""), { scope: "col", ...numeric(text) })));
  const body = rows.map((row) => make("tr", null, row.late ? { class: "late" } : {}, row.cells.map((text, index) => make("td", text, numeric(heads[index])))));
  table.replaceChildren(make("thead", null, {}, [head]), make("tbody", null, {}, body));
}

function drawLists({ status, open }) {
  const sessions = [...status.sessions].sort((a, b) => a.name.localeCompare(b.name) || a.visit - b.visit);
  let before = null;
  const rows = sessions.map((one) => {
    const name = one.name === before ? "″" : `${one.name} (${status.names[one.name]})`;
    before = one.name;
    return { cells: [name, one.from, one.service, lasting(one.seconds), String(one.frames), size(one.bytes_in), size(one.bytes_out)] };
  });
  if (open > sessions.length) rows.push({ cells: [`and ${open - sessions.length} more`, "", "", "", "", "", ""] });
  drawTable(by("sessions"), ["Name", "From", "Service", "#For", "#Messages", "#In", "#Out"], rows, "Nobody is inside.");
  drawTable(by("bans"), ["Network", "Until", "By", "Why"],
    status.bans.map((ban) => ({ cells: [ban.network, clock(ban.until), ban.by, ban.why] })), "Nobody is banned.");
  drawTable(by("ends"), ["What", "Name", "#Days left"], status.endings.map((one) => {
    const late = one.days_left === null || one.days_left < 7;
    const left = one.days_left === null ? "✗ ended" : `${late ? "! " : ""}${one.days_left}`;
    return { late, cells: [one.what, one.name, left] };
  }), "Nothing here ends.");
  const doors = status.listeners.map((door) => `${door.service}: ${door.exposure}${door.filtered ? "; the kernel drops whoever may not knock, uncounted" : ""}`);
  if (by("doors").dataset.drawn !== doors.join()) {
    by("doors").dataset.drawn = doors.join();
    by("doors").replaceChildren(...doors.map((text) => make("li", text)));
  }
}

// Asking.

function draw(state) {
  const { status } = state;
  by("ask").hidden = true;
  by("main").hidden = false;
  say(by("about"), `${status.version}${status.config ? ` with ${status.config}` : ""}, running for ${lasting(status.seconds)}`);
  const stale = status.reloads.stale ? "The last new configuration was refused; the one before it is in force." : "";
  const draining = status.draining ? "It is stopping: nobody new is let in." : "";
  by("state").classList.toggle("late", Boolean(stale || draining));
  say(by("state"), draining || stale || "✓ guarding");
  drawHall(state);
  drawVisits(status);
  drawPlots(state.history);
  drawLists(state);
}

function askForToken(why) {
  by("main").hidden = true;
  by("ask").hidden = false;
  say(by("wrong"), why);
  by("token").focus();
}

function missed() {
  const since = answered ? ` since ${clock(answered)}` : "";
  by("state").classList.add("late");
  say(by("state"), `! No answer from the server${since}; trying again.`);
}

async function look() {
  if (!token) return askForToken("");
  let wait = BETWEEN_LOOKS;
  try {
    const answer = await fetch("/state", { headers: { Authorization: `Bearer ${token}` } });
    if (answer.status === 401) {
      sessionStorage.removeItem("token");
      token = "";
      return askForToken("This is not the token of the server that runs now.");
    }
    if (!answer.ok) throw new Error(answer.statusText);
    const state = await answer.json();
    answered = Date.now();
    draw(state);
  } catch {
    missed();
    wait = 4 * BETWEEN_LOOKS;
  }
  // Nobody looks at a page that is hidden.
  if (document.hidden) document.addEventListener("visibilitychange", look, { once: true });
  else setTimeout(look, wait);
}

function begin() {
  // The address may be in a picture of the screen; the token need not.
  if (location.hash) history.replaceState(null, "", location.pathname);
  if (token) sessionStorage.setItem("token", token);
  look();
}

by("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = by("token").value.trim().replace(/^.*#/, "");
  by("token").value = "";
  begin();
});
buildHall();
fetch("/reasons").then((answer) => answer.json())
  .then((list) => { reasons = new Map(list.map((reason) => [reason.code, reason])); })
  .catch(() => {}).finally(begin);
