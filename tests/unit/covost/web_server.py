"""A web server on this machine that misbehaves to order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Site:
    """Files by path, what goes wrong, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.address = ""
        self.requests: list[str] = []
        """Path of every request."""
        self.break_after: list[int] = []
        """The next answers end after so many bytes."""
        self.statuses: list[int] = []
        """The next answers are errors."""
        self.lengths = True
        self.content_type = "application/octet-stream"
        self.redirect: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        # A proxy is asked for whole addresses.
        path = urlsplit(self.path).path.lstrip("/")
        self.site.requests.append(path)
        if self.site.statuses:
            return self.answer(self.site.statuses.pop(0), b"", {"Retry-After": "0"})
        if path in self.site.redirect:
            return self.answer(302, b"", {"Location": self.site.redirect[path]})
        if path not in self.site.files:
            return self.answer(404, b"<html>404</html>", {"Content-Type": "text/html"})
        return self.answer(200, self.site.files[path], {"Content-Type": self.site.content_type, **self.site.headers})

    def raw(self, status: int, headers: dict[str, str]) -> None:
        """Answer with these headers and no others, and three bytes."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b"abc")

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        length = {"Content-Length": str(len(body))} if self.site.lengths else {"Connection": "close"}
        for name, value in {**length, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.site.break_after and status < 300:
            body = body[: self.site.break_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up: here they do so on purpose."""


@contextmanager
def serve() -> Iterator[Site]:
    site = Site()
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site}))
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()
