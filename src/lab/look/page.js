"use strict";
const state = JSON.parse(document.getElementById("state").textContent);
const make = (tag, text, name) => { const node = document.createElement(tag); if (text !== undefined) node.textContent = text; if (name) node.className = name; return node; };
document.title = state.title + " · doorward lab";
document.getElementById("title").textContent = state.title;
document.getElementById("about").textContent = "The attack of this exercise is to be stopped in the room: " + state.room + ".";
const walks = document.getElementById("walks");
const rooms = [];
// Who is to be served on one side, who is to be stopped on the other: the same rooms, at the same moment.
const column = (title) => { const box = make("section", undefined, "column"); box.append(make("h3", title)); return box; };
const sides = { honest: column("To be served"), hostile: column("To be stopped") };
for (const walk of state.walks) {
  const box = make("article", undefined, walk.hostile ? "walk hostile" : "walk");
  box.append(make("h4", walk.who + ", from " + walk.from));
  const list = make("ol", undefined, "rooms");
  const own = [];
  for (const [room, step] of walk.steps) {
    const refused = step.refused !== undefined;
    const item = make("li", undefined, refused ? "refused" : step === "passed" ? "passed" : "not-reached");
    item.append(make("b", room), make("span", refused ? step.refused : step === "passed" ? "passed" : "not reached"));
    if (step !== "not-reached") own.push(item);
    list.append(item);
  }
  box.append(list, make("p", walk.end, "end"));
  (walk.hostile ? sides.hostile : sides.honest).append(box);
  rooms.push(own);
}
for (const side of [sides.honest, sides.hostile]) if (side.children.length > 1) walks.append(side);
walks.classList.toggle("side", walks.children.length === 2);
if (!state.walks.length) walks.append(make("p", "Nobody came as far as a room."));
let place = Infinity;
const draw = () => { for (const own of rooms) own.forEach((item, index) => item.classList.toggle("reached", index < place)); };
const longest = Math.max(0, ...rooms.map((own) => own.length));
const step = () => { place = place >= longest ? 1 : place + 1; draw(); };
let timer;
document.getElementById("step").addEventListener("click", () => { clearInterval(timer); step(); });
document.getElementById("replay").addEventListener("click", () => {
  clearInterval(timer); place = 0; draw();
  timer = setInterval(() => { place += 1; draw(); if (place >= longest) clearInterval(timer); }, 700);
});
draw();
const saw = document.getElementById("saw");
for (const sentence of state.saw) saw.append(make("li", sentence));
if (!state.saw.length) saw.append(make("li", "Nothing that the rooms above do not show."));
const bytes = document.getElementById("bytes");
const table = (title, fields) => {
  const box = make("div"); box.append(make("h3", title));
  const grid = make("table");
  for (const field of fields) { const row = make("tr", undefined, "d" + field.depth); row.append(make("td", field.hex, "hex"), make("td", field.means, "means")); grid.append(row); }
  if (!fields.length) box.append(make("p", "nothing"));
  box.append(grid); return box;
};
state.connections.forEach((connection, index) => {
  const box = make("details"); box.open = index === 0;
  const side = make("div", undefined, "side");
  side.append(table("The client said", connection.toServer), table("The server said", connection.toClient));
  box.append(make("summary", "Connection " + (index + 1)), side);
  bytes.append(box);
});
if (!state.connections.length) bytes.append(make("p", "This exercise's conversation does not pass a relay, so its bytes were not kept."));
