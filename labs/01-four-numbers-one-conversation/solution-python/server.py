"""Knows who is there: name NAME, who, four."""

import socketserver


class Visitor(socketserver.StreamRequestHandler):
    def handle(self):
        # What belongs to a conversation lives in it: no table, so nothing to mix up.
        name = "nobody"
        here, there = self.request.getsockname(), self.client_address
        for said in self.rfile:
            said = said.decode().strip()
            if said.startswith("name "):
                name = said[5:]
                answer = f"hello {name}"
            elif said == "who":
                answer = name
            elif said == "four":
                answer = f"{here[0]}:{here[1]} {there[0]}:{there[1]}"
            else:
                answer = "what?"
            self.wfile.write(f"{answer}\n".encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100


with Server(("127.0.0.1", {{port}}), Visitor) as server:
    server.serve_forever()
