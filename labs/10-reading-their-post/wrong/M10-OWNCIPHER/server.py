"""The bank: prints each message it receives, and answers with reply.txt."""

import socketserver

KEY = b"abracadabra"


def scramble(text):
    return bytes(letter ^ KEY[index % len(KEY)] ^ 0x80 for index, letter in enumerate(text))


class Bank(socketserver.BaseRequestHandler):
    def handle(self):
        while message := self.request.recv(4096):
            print("received:", scramble(message).decode().strip())
            with open("reply.txt", "rb") as reply:
                self.request.sendall(scramble(reply.read()))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", {{port}}), Bank) as server:
        server.serve_forever()
