"""Sends every message back: four bytes of length, most significant first, then text in UTF-8."""

import socketserver
import struct


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while True:
            header = self.request.recv(4)
            if not header:
                return
            (length,) = struct.unpack(">I", header)
            text = self.request.recv(length)
            text.decode()
            self.request.sendall(header + text)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", {{port}}), Echo) as server:
        server.serve_forever()
