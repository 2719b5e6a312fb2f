"""A real S3 server process on loopback (moto), whose requests fail at random when that is switched on."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEY, SECRET = (
    "AKIATESTKEYIDENTIFIER",
    "not-for-any-file/secretAccessKey+0123",
)  # told apart from anything else
_READY = "ready on port "


@dataclass
class S3Server:
    """A server, and the environment in which the storage libraries find it."""

    process: subprocess.Popen[bytes]
    port: int
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, percent: int, seed: int = 1, only: str = "") -> None:
        """Fail so many percent of the requests from now on. only: those of this method."""
        self._ask(f"/_test/fail?percent={percent}&seed={seed}&only={only}")

    def counts(self) -> dict[str, int]:
        """Return how many requests came since `fail`, by their kind, and how many of them failed."""
        pairs = (line.split("=") for line in self._ask("/_test/counts").splitlines())
        return {name: int(count) for name, count in pairs}

    def _ask(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            return str(response.read().decode())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def files() -> Any:
    """Return the file system with which tests make buckets and look into them."""
    from curate.io.files import connect

    return connect("s3://any")[0]


def start(log: Path) -> S3Server:
    """Start a server on a free port, in a process of its own; the caller stops it."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # an earlier server's, which this process may have talked to
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "AWS_ACCESS_KEY_ID": "-",
        "AWS_SECRET_ACCESS_KEY": "-",
    }  # of moto itself, which checks none
    environment["MOTO_S3_DEFAULT_MAX_KEYS"] = "50"  # so that listings have pages
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, __file__], stdout=subprocess.PIPE, stderr=output, env=environment
        )
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    process.stdout.close()
    if not line.startswith(_READY):
        raise RuntimeError(log.read_text())
    port = int(line.removeprefix(_READY))
    return S3Server(process, port, {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    })  # fmt: skip


@contextlib.contextmanager
def running(log: Path) -> Iterator[S3Server]:
    """Give a server with an empty bucket named bucket, to which the environment points; pauses are short."""
    import pytest

    from curate.io import patience

    found = start(log)
    with contextlib.ExitStack() as stack:
        stack.callback(found.stop)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in found.environment.items():
            patch.setenv(name, value)
        patch.setattr(patience, "FIRST_PAUSE", 0.01)
        files().mkdir("bucket")
        yield found


class Failing:
    """A WSGI application whose requests fail: refused before they were done, or cut off after."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._chance, self._percent = random.Random(0), 0
        self._counts: dict[str, int] = {"failed": 0}
        self._only = ""
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/_test/fail":
            asked = dict(pair.split("=") for pair in environ["QUERY_STRING"].split("&"))
            self._chance, self._percent = random.Random(int(asked["seed"])), int(asked["percent"])
            self._counts, self._only = {"failed": 0}, asked["only"]
            return _text(start_response, "")
        if path == "/_test/counts":
            return _text(start_response, "\n".join(f"{name}={n}" for name, n in sorted(self._counts.items())))
        method = environ["REQUEST_METHOD"]
        with self._lock:
            fails = self._chance.random() * 100 < self._percent and self._only in ("", method)
            kind = self._chance.choice(("500", "503", "reset", "lost", "short")) if fails else "served"
            self._counts[method] = self._counts.get(method, 0) + 1
            self._counts["failed"] += fails
        if kind == "served":
            return self._application(environ, start_response)  # type: ignore[no-any-return]
        if kind in ("500", "503"):
            sent = environ[
                "wsgi.input"
            ]  # what is left unread would be taken for the connection's next request
            sent.read() if environ.get("wsgi.input_terminated") else sent.read(
                int(environ.get("CONTENT_LENGTH") or 0)
            )
            return _refused(start_response, kind, method)
        if kind != "reset":  # it is done, and the answer does not arrive
            told: list[Any] = []
            body = b"".join(self._application(environ, lambda *answer: told.append(answer)))
            if kind == "short" and method == "GET" and len(body) > 1:
                start_response(*told[-1])
                return _short(environ, body)
        return _cut(environ)


def _text(start_response: Any, text: str) -> list[bytes]:
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text.encode()]


def _refused(start_response: Any, status: str, method: str) -> list[bytes]:
    code = {"500": "InternalError", "503": "SlowDown"}[status]
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    start_response(f"{status} {code}", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [] if method == "HEAD" else [body]


def _short(environ: dict[str, Any], body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


def _cut(environ: dict[str, Any]) -> list[bytes]:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def _serve() -> None:
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = make_server(
        "127.0.0.1", 0, Failing(DomainDispatcherApplication(create_backend_app)), threaded=True
    )
    sys.stdout.write(f"{_READY}{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve()
