"""A chat endpoint on this machine, as OpenAI's, vLLM's and others answer."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Served(ThreadingHTTPServer):
    """Says what `says` says of a request: (status, headers, body); keeps all that it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.says: Any = lambda body: (200, {}, completion("yes"))
        self.address = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> Served:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Served

    def do_POST(self) -> None:
        served = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with served.lock:
            served.got.append((self.path, dict(self.headers), body))
            served.at_once += 1
            served.most_at_once = max(served.most_at_once, served.at_once)
        status, headers, said = served.says(body)
        with served.lock:
            served.at_once -= 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


def completion(text: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}]}
