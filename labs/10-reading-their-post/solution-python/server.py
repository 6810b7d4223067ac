"""The bank: prints each line it receives, and answers with reply.txt."""

import socketserver
import ssl

tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("server.pem", "server-key.pem")


class Bank(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            print("received:", line.decode().strip())
            with open("reply.txt", "rb") as reply:
                self.wfile.write(reply.read())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def finish_request(self, request, client_address):
        # In the thread of the visitor: a slow handshake holds nobody else up.
        with tls.wrap_socket(request, server_side=True) as stream:
            self.RequestHandlerClass(stream, client_address, self)


if __name__ == "__main__":
    with Server(("127.0.0.1", {{port}}), Bank) as server:
        server.serve_forever()
