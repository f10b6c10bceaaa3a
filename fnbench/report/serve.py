"""``fnbench view --serve``: a page on this machine that walks through a data file, sample by sample.

Only 127.0.0.1 is bound, only GET is answered, only two kinds of address exist, and a request under another host name
is refused, so that no web page can read the file through the browser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

import numpy as np

from fnbench.errors import FnbenchError, OutputError
from fnbench.report.gallery import kept_pixels, picture
from fnbench.report.html import rendered
from fnbench.report.planes import normal_planes, packed
from fnbench.report.sheet import REGION_COLOURS
from fnbench.store import Store
from fnbench.types import REGIONS

ADDRESS = "127.0.0.1"
SIDE = 512
"""Longest side of the maps that are sent; larger ones are thinned, every pixel kept unchanged."""
STYLES = ("theme.css", "report.css", "viewer.css")
SCRIPTS = ("theme.js", "maps.js", "viewer.js")
_SAMPLE = re.compile(r"/sample/(\d{1,9})")


def server(store: Store, port: int = 0) -> ThreadingHTTPServer:
    """A server for this store on 127.0.0.1, not yet running.

    port: 0 takes a free one; see ``server_address``. Raises OutputError when the port is taken.
    """
    page = viewer(store).encode("utf-8")
    lock = Lock()
    allowed: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            host = (self.headers.get("Host") or "").lower()
            if host not in allowed:
                self.answer(HTTPStatus.FORBIDDEN, b"this address is for this machine only", "text/plain")
                return
            found = _SAMPLE.fullmatch(self.path)
            if self.path == "/":
                self.answer(HTTPStatus.OK, page, "text/html; charset=utf-8")
            elif found and int(found[1]) < len(store):
                self.sample(int(found[1]))
            else:
                self.answer(HTTPStatus.NOT_FOUND, b"there is nothing here", "text/plain")

        def sample(self, index: int) -> None:
            try:
                with lock:
                    content = sample_json(store, index)
            except FnbenchError as error:
                self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode("utf-8"), "text/plain; charset=utf-8")
                return
            self.answer(HTTPStatus.OK, json.dumps(content).encode("utf-8"), "application/json")

        def answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            with suppress(ConnectionError):  # the reader has moved on
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing: the terminal belongs to the user."""

    try:
        made = ThreadingHTTPServer((ADDRESS, port), Handler)
    except OSError as error:
        raise OutputError(f"Port {port} on {ADDRESS} cannot be used ({error.strerror}). Choose another.") from error
    except OverflowError:
        raise OutputError(f"Port {port} does not exist. Choose one from 1 to 65535, or 0 for a free one.") from None
    allowed.update(f"{name}:{made.server_port}" for name in (ADDRESS, "localhost"))
    return made


def address(running: ThreadingHTTPServer) -> str:
    """The address of a server's page."""
    return f"http://{ADDRESS}:{running.server_port}/"


def viewer(store: Store) -> str:
    """The page; samples are asked for one by one."""
    data = {
        "ids": store.ids,
        "splits": store.splits,
        "regions": ["no region" if name == "none" else name for name in REGIONS],
        "region_colours": [list(colour) for colour in REGION_COLOURS],
    }
    facts = [(name, str(store.attributes[name])) for name in ("dataset", "gt_kind", "protocol", "generator")]
    facts.append(("content hash", str(store.attributes["content_hash"])[:12]))
    values = {"name": store.path.name, "count": len(store), "data": data, "facts": facts}
    return rendered("viewer.html", STYLES, SCRIPTS, values, connect="'self'")


def sample_json(store: Store, index: int) -> dict[str, Any]:
    """One sample for the page: small facts, the picture, packed maps, landmarks in pixels of the file."""
    sample = store[index]
    height, width = sample.target.mask.shape
    factor = min(1.0, SIDE / max(height, width))
    small_height, small_width = max(1, round(height * factor)), max(1, round(width * factor))
    pick = np.ix_(kept_pixels(height, small_height), kept_pixels(width, small_width))
    normals = normal_planes(sample.target.normals[pick], sample.target.mask[pick])
    planes = np.concatenate([normals, sample.region[pick][None].astype(np.int32)])
    known = np.isfinite(sample.landmarks).all(axis=1)
    return {
        "id": sample.id,
        "facts": [
            ("subject", sample.subject),
            ("capture", sample.capture),
            ("split", sample.split),
            *((name, _words(value)) for name, value in sorted(sample.attributes.items())),
            ("pixels in the mask", f"{int(sample.target.mask.sum())} of {sample.target.mask.size}"),
            ("sha256", store.sample_hash(index)[:12]),
        ],
        "width": small_width,
        "height": small_height,
        "full_width": width,
        "full_height": height,
        "picture": picture(sample.image, small_width, small_height),
        "target": packed(planes, normals=True),
        "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in sample.landmarks[known]],
    }


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def serve_forever(store: Store, port: int, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    say: called once with the address.
    """
    with server(store, port) as running:
        say(f"{address(running)} shows {store.path.name}; Ctrl-C ends it.")
        with suppress(KeyboardInterrupt):
            running.serve_forever()
