"""The HTTP server on the loop-back address that the receiver and the stand-in for the API are made of."""

from __future__ import annotations

import socketserver
import sys
from http.server import ThreadingHTTPServer


class LoopbackServer(ThreadingHTTPServer):
    """A server whose threads end with the process, and that starts without asking the resolver."""

    daemon_threads = True
    block_on_close = False
    # The default of 5 makes the kernel drop connections of a burst, which then wait a second for the next attempt.
    request_queue_size = 128

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for the host's full name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that goes away in the middle is no event here; anything else is a fault of ours and stays visible.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]
