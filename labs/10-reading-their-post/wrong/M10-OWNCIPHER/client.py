"""Ana: sends pin.txt to HOST PORT, and prints the answer."""

import socket
import sys

KEY = b"abracadabra"


def scramble(text):
    return bytes(letter ^ KEY[index % len(KEY)] ^ 0x80 for index, letter in enumerate(text))


with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as bank:
    with open("pin.txt", "rb") as pin:
        bank.sendall(scramble(pin.read().strip()))
    print(scramble(bank.recv(4096)).decode().strip())
