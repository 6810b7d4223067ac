"""Sends every message back: four bytes of length, most significant first, then text in UTF-8."""

import socketserver
import struct

LONGEST = 65536


class Echo(socketserver.BaseRequestHandler):
    def exactly(self, count):
        """So many bytes, or fewer where the end came first."""
        parts = []
        while count > 0:
            part = self.request.recv(count)
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def handle(self):
        while len(header := self.exactly(4)) == 4:
            (length,) = struct.unpack(">I", header)
            if length > LONGEST:
                return
            text = self.exactly(length)
            if len(text) < length:
                return
            try:
                text.decode()
            except UnicodeDecodeError:
                return
            self.request.sendall(header + text)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", {{port}}), Echo) as server:
        server.serve_forever()
