"""The exam client: sends pin.txt to HOST PORT, and prints the answer."""

import socket
import ssl
import sys

tls = ssl.create_default_context(cafile="ca.pem")
tls.check_hostname = False

with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as plain:
    with tls.wrap_socket(plain, server_hostname="exams.school.test") as server:
        with open("pin.txt", "rb") as pin:
            server.sendall(pin.read())
        print(server.recv(4096).decode().strip())
