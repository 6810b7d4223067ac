"""Knows who is there: name NAME, who, four."""

import socket

server = socket.create_server(("127.0.0.1", {{port}}))
name = "nobody"
while True:
    visitor, address = server.accept()
    with visitor, visitor.makefile("rw") as line:
        for said in line:
            if said.startswith("name "):
                name = said[5:].strip()
                answer = f"hello {name}"
            elif said.strip() == "who":
                answer = name
            elif said.strip() == "four":
                answer = f"127.0.0.1:{address[1]} {address[0]}:{address[1]}"
            else:
                answer = "what?"
            line.write(answer + "\n")
            line.flush()
