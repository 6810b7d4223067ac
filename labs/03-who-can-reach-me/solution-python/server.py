"""Sends notes.txt to whoever connects."""

import socketserver


class Notes(socketserver.BaseRequestHandler):
    def handle(self):
        with open("notes.txt", "rb") as notes:
            self.request.sendall(notes.read())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", {{port}}), Notes) as server:
        server.serve_forever()
