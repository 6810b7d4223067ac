"""A notice board: a line of JSON comes, a line of JSON goes."""

import json
import os
import socketserver

os.makedirs("notes", exist_ok=True)
names = []


def answer(what, name, text):
    with open("board.log", "a") as log:
        log.write(f"{what} by {name}\n")
    if what == "post":
        with open("notes/" + name, "w") as note:
            note.write(text)
        names.append(name)
        return {"ok": True}
    if what == "read":
        with open("notes/" + name) as note:
            return {"ok": True, "name": name, "text": note.read()}
    return {"ok": True, "page": "<ul>" + "".join(f"<li>{name}</li>" for name in names) + "</ul>"}


class Board(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            request = json.loads(line)
            try:
                reply = answer(request["do"], request["name"], request["text"])
            except (OSError, ValueError):
                reply = {"ok": False}
            self.wfile.write(json.dumps(reply).encode() + b"\n")


socketserver.ThreadingTCPServer.allow_reuse_address = True
with socketserver.ThreadingTCPServer(("127.0.0.1", {{port}}), Board) as server:
    server.daemon_threads = True
    server.serve_forever()
