"""The controller of the door: for each line, "door open" and the visitor's name."""

import socketserver
import ssl

tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("server.pem", "server-key.pem")
tls.verify_mode = ssl.CERT_REQUIRED
tls.load_verify_locations("staff-ca.pem")


class Door(socketserver.BaseRequestHandler):
    def handle(self):
        with tls.wrap_socket(self.request, server_side=True) as visitor:
            names = [name for _, name in (visitor.getpeercert() or {}).get("subjectAltName", [])]
            while visitor.recv(4096):
                visitor.sendall(f"door open, {names[0] if names else 'stranger'}\n".encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A visitor that is refused is no failure of the door."""


if __name__ == "__main__":
    with Server(("127.0.0.1", {{port}}), Door) as server:
        server.serve_forever()
