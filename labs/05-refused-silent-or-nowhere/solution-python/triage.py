"""Says in one word what is wrong with the door at HOST PORT."""

import socket
import sys


def triage(host, port):
    try:
        door = socket.create_connection((host, port), timeout=1)
    except ConnectionRefusedError:
        return "closed"
    except TimeoutError:
        return "silent"
    except OSError:
        return "nowhere"
    with door:
        try:
            door.sendall(b"hello\n")
            first = door.recv(1)
        except TimeoutError:
            return "mute"
        except OSError:
            return "hangs-up"
    if not first:
        return "hangs-up"
    return "tls" if first == b"\x15" else "healthy"


print(triage(sys.argv[1], int(sys.argv[2])))
