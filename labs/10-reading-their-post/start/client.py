"""Ana: sends pin.txt to HOST PORT, and prints the answer."""

import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as bank:
    with open("pin.txt", "rb") as pin:
        bank.sendall(pin.read())
    print(bank.recv(4096).decode().strip())
