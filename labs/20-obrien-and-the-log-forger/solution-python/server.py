"""A notice board: a line of JSON comes, a line of JSON goes."""

import hashlib
import html
import json
import os
import socketserver

os.makedirs("notes", exist_ok=True)
names = []


def path(name):
    # The name stays what it is; the file has a name of ours.
    return "notes/" + hashlib.sha256(name.encode()).hexdigest()


def answer(what, name, text):
    with open("board.log", "a") as log:
        log.write(json.dumps({"do": what, "name": name}) + "\n")
    if what == "post":
        with open(path(name), "w") as note:
            note.write(text)
        names.append(name)
        return {"ok": True}
    if what == "read":
        with open(path(name)) as note:
            return {"ok": True, "name": name, "text": note.read()}
    items = "".join(f"<li>{html.escape(name)}</li>" for name in names)
    return {"ok": True, "page": f"<ul>{items}</ul>"}


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
