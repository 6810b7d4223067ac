"""The bank: prints each line it receives, and answers with reply.txt."""

import socketserver


class Bank(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            print("received:", line.decode().strip())
            with open("reply.txt", "rb") as reply:
                self.wfile.write(reply.read())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", {{port}}), Bank) as server:
        server.serve_forever()
