"""Sends greeting.txt to whoever connects to the port it is given; waits a little where somebody is there."""

import socket
import sys
import time

port = int(sys.argv[1])


def seat():
    for attempt in range(8):
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
            server.listen()
            return server
        except OSError as error:
            server.close()
            reason = error
            time.sleep(0.1)
    sys.exit(f"127.0.0.1:{port} cannot be had: {reason}")


server = seat()
print("ready", port)
while True:
    visitor, _ = server.accept()
    with visitor, open("greeting.txt", "rb") as greeting:
        visitor.sendall(greeting.read())
