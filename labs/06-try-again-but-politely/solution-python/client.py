"""Asks HOST PORT for the results, politely, and writes its attempts into LOG."""

import json
import random
import socket
import sys
import time

host, port, log = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def ask():
    with socket.create_connection((host, port), timeout=0.3) as server:
        server.sendall(b"results please\n")
        answer = server.makefile().readline().strip()
    if not answer:
        raise ConnectionError("the server hung up")
    return answer


with open(log, "w") as lines:
    for attempt in range(6):
        try:
            answer = ask()
        except OSError as error:
            answer = f"FAULT {error}"
        lines.write(json.dumps({"attempt": attempt + 1, "came": answer}) + "\n")
        if not answer.startswith("FAULT"):
            break
        if attempt < 5:
            wait = min(800, 50 * 2**attempt) / 1000
            time.sleep(wait / 2 + random.uniform(0, wait / 2))
if not answer.startswith("RESULT"):
    sys.exit(f"no result: {answer}")
print(answer)
