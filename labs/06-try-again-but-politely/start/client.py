"""Asks HOST PORT for the results, and writes its attempts into LOG."""

import json
import socket
import sys

host, port, log = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def ask():
    with socket.create_connection((host, port)) as server:
        server.sendall(b"results please\n")
        return server.makefile().readline().strip()


answer = ""
while not answer.startswith("RESULT"):
    try:
        answer = ask()
    except OSError:
        pass
with open(log, "w") as lines:
    lines.write(json.dumps({"came": answer}) + "\n")
print(answer)
