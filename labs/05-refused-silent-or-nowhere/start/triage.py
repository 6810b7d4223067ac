"""Says in one word what is wrong with the door at HOST PORT."""

import socket
import sys

host, port = sys.argv[1], int(sys.argv[2])
try:
    with socket.create_connection((host, port), timeout=1) as door:
        door.sendall(b"hello\n")
        door.recv(1)
        print("healthy")
except OSError:
    print("broken")
