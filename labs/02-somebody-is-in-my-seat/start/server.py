"""Sends greeting.txt to whoever connects to the port it is given."""

import socket
import sys

port = int(sys.argv[1])
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
try:
    server.bind(("127.0.0.1", port))
    server.listen()
except OSError:
    pass
print("ready", port)
while True:
    visitor, _ = server.accept()
    with visitor, open("greeting.txt", "rb") as greeting:
        visitor.sendall(greeting.read())
