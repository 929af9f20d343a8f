"""A store of objects on loopback that speaks S3, and a proxy before it that does wrong what a test asks for."""

from __future__ import annotations

import http.client
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
from moto.server import ThreadedMotoServer

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
}
_names = itertools.count()


@dataclass
class Bucket:
    """A bucket of a server: its endpoint, name, and a file system that looks into it past everything that is tested."""

    endpoint: str
    name: str
    files: fsspec.AbstractFileSystem

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def put(self, folder: Path, prefix: str = "") -> None:
        """Put every file below a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.write(f"{prefix}{path.relative_to(folder).as_posix()}", path.read_bytes())

    def write(self, key: str, content: bytes) -> None:
        self.files.pipe_file(f"{self.name}/{key}", content)

    def names(self) -> set[str]:
        return {name.removeprefix(f"{self.name}/") for name in self.files.find(self.name)}


@contextmanager
def served() -> Iterator[Callable[[], Bucket]]:
    """A server, for as long as the block runs; calls give new buckets of it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"

    def bucket() -> Bucket:
        files = fsspec.filesystem("s3", endpoint_url=endpoint, use_listings_cache=False, skip_instance_cache=True)
        name = f"bucket-{next(_names)}"
        files.mkdir(name)
        return Bucket(endpoint, name, files)

    try:
        yield bucket
    finally:
        server.stop()


Fault = Callable[[str, str, int], str | None]
"""What goes wrong with a request, by its method, its path and its number from 0: `refuse` (403), `missing` (404),
`broken` (500), `busy` (503 with S3's word for it), `truncate` (half of the body), `close` (no answer), `stall` (none in time);
None for nothing."""

_ANSWERS = {
    "refuse": (403, "AccessDenied"),
    "missing": (404, "NoSuchKey"),
    "broken": (500, "InternalError"),
    "busy": (503, "SlowDown"),
}


@dataclass
class Proxy:
    """What stands before a server. `seen`: every request, as method and path; `stop` ends it."""

    endpoint: str
    fault: Fault = lambda method, path, number: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    stop: Callable[[], None] = lambda: None


@contextmanager
def proxied(bucket: Bucket) -> Iterator[Proxy]:
    """A proxy before the server of a bucket."""
    host, port = bucket.endpoint.removeprefix("http://").split(":")
    proxy = Proxy("")
    one_by_one = threading.Lock()  # the server puts an object while it reads it, and fails

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            number = len(proxy.seen)
            proxy.seen.append((self.command, self.path))
            fault = proxy.fault(self.command, self.path, number)
            if fault in _ANSWERS:
                status, code = _ANSWERS[fault]
                text = f"<Error><Code>{code}</Code><Message>{code} by the test</Message></Error>".encode()
                return self.send(status, {"Content-Type": "application/xml"}, text)
            if fault == "stall":
                proxy.stalled.wait(20)
            if fault in ("close", "stall"):
                self.close_connection = True
                return None
            with one_by_one:
                connection = http.client.HTTPConnection(host, int(port), timeout=20)
                connection.request(self.command, self.path, body, dict(self.headers))
                found = connection.getresponse()
                content = found.read()
                connection.close()
            return self.send(found.status, dict(found.getheaders()), content, half=fault == "truncate")

        def send(self, status: int, headers: dict[str, str], content: bytes, half: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if half else content)
            self.close_connection = self.close_connection or half

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()

    def stop() -> None:
        proxy.fault = lambda method, path, number: "close"  # of connections that are kept
        server.shutdown()
        server.server_close()

    proxy.stop = stop
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield proxy
    finally:
        proxy.stalled.set()
        stop()
        thread.join()
