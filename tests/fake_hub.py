"""A Hugging Face Hub on this machine: what `huggingface_hub` asks of the real one, in memory, and all that it got.

`FakeHub` answers downloads, uploads (small files in the commit, large ones as LFS), repositories, revisions, trees and
cards' metadata as the Hub does, as far as huggingface_hub 2.4, transformers and datasets ask. Large files come by a
redirect to another host, so that a token that follows it is seen. Nothing is answered in another way than the Hub's to
make a test pass: what is not known here is 501, and in `unknown`.

Endpoint and caches are read when huggingface_hub is imported. `tests/conftest.py` therefore sets `HF_ENDPOINT` before
any import, to an address that nothing listens on until a test asks for the fixture `hub`, and this process stays
offline until then; processes that a test starts get `hub.environment(...)`.
"""

import base64
import hashlib
import io
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .hub_cards import card_data, card_errors

_LARGE = 100_000
"""From this many bytes on a file is LFS (on the Hub from 10 MB on), as is one that ends as weights and tables do."""
_LARGE_ENDINGS = (".safetensors", ".bin", ".parquet", ".arrow")
_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
_WHEN = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Request:
    """One request: method, path with its query, the token that came with it, and its body."""

    method: str
    path: str
    token: str | None
    headers: dict[str, str]
    body: bytes


@dataclass
class _Commit:
    oid: str
    title: str
    files: dict[str, str]
    """Path -> sha256 of its bytes."""


@dataclass
class _Repo:
    private: bool = False
    commits: list[_Commit] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> _Commit | None:
        oid = self.refs.get(revision, revision)
        return next((commit for commit in self.commits if commit.oid == oid), None)


class FakeHub:
    """See the module. `with FakeHub(reserve()) as hub:` serves until the block ends."""

    token = "hf_aTokenThatOnlyTheFakeHubKnows"
    user = "someone"

    def __init__(self, reserved: socket.socket) -> None:
        self._server = ThreadingHTTPServer(reserved.getsockname(), _handler(self), bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.socket.close()
        self._server.socket = reserved
        self.port = reserved.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.clear()

    def __enter__(self) -> "FakeHub":
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def clear(self) -> None:
        """Forget all repositories and requests."""
        self.repos: dict[tuple[str, str], _Repo] = {}
        self.blobs: dict[str, bytes | Path] = {}
        self.requests: list[Request] = []
        self.unknown: list[str] = []
        """Requests that nobody here knew how to answer."""

    # What tests put in and ask ---------------------------------------------------------------------------------------

    def add(
        self, repo_id: str, folder: str | Path, kind: str = "model", message: str = "Upload", private: bool = False
    ) -> str:
        """Make a folder's files the next commit of `main`; returns its id. The files must stay as they are."""
        repo = self.repos.setdefault((kind, repo_id), _Repo(private))
        files = {}
        for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            with open(path, "rb") as file:
                sha = hashlib.file_digest(file, "sha256").hexdigest()
            files[path.relative_to(folder).as_posix()] = sha
            self.blobs[sha] = path.resolve()
        return self._commit(repo, files, message, "main")

    def files(self, repo_id: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        """Path -> bytes of a repository."""
        commit = self.repos[kind, repo_id].at(revision)
        assert commit is not None, f"{repo_id} has no revision {revision}"
        return {path: self.content(sha) for path, sha in commit.files.items()}

    def content(self, sha: str) -> bytes:
        blob = self.blobs[sha]
        return blob.read_bytes() if isinstance(blob, Path) else blob

    def holding(self, *words: str) -> list[str]:
        """What holds one of the words, in any case of letters: paths of requests, files that were sent (tables by
        their values), and other bodies.
        """
        wanted = [word.lower().encode() for word in words]
        found = []
        for place, data in self._received():
            lower = data.lower()
            found += [f"{place}: {word.decode()}" for word in wanted if word in lower]
        return sorted(set(found))

    def environment(self, home: str | Path, offline: bool = False, token: str | None = None) -> dict[str, str]:
        """Variables of a process that knows no Hub but this one, with caches of its own in `home`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        own = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "1" if offline else "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        return kept | own | ({"HF_TOKEN": token} if token else {})

    # What the server does --------------------------------------------------------------------------------------------

    def _commit(self, repo: _Repo, files: dict[str, str], title: str, ref: str) -> str:
        named = json.dumps([len(repo.commits), title, files], sort_keys=True)
        oid = hashlib.sha1(named.encode()).hexdigest()
        repo.commits.append(_Commit(oid, title, files))
        repo.refs[ref] = oid
        return oid

    def _received(self) -> Iterator[tuple[str, bytes]]:
        for request in list(self.requests):
            yield f"{request.method} {request.path}", unquote(request.path).encode()
            yield f"headers of {request.method} {request.path}", repr(request.headers).encode()
            if "/commit/" not in request.path:  # whose files follow, decoded
                yield f"body of {request.method} {request.path}", request.body
        for (kind, repo_id), repo in self.repos.items():
            for commit in repo.commits:
                yield f"commit of {repo_id}", commit.title.encode()
                for path, sha in commit.files.items():
                    place = f"{kind} {repo_id}/{path}"
                    data = self.content(sha)
                    yield place, path.encode() + b"\n" + data
                    if path.endswith(".parquet"):
                        yield place, _table_text(data)


def reserve() -> socket.socket:
    """A free local port, bound and not listened on: whoever connects is refused."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def _table_text(data: bytes) -> bytes:
    """All values and metadata of a Parquet file, which are compressed in it."""
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(data))
    return repr((table.schema.metadata, table.to_pydict())).encode()


def _git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _is_large(path: str, size: int) -> bool:
    return size >= _LARGE or path.endswith(_LARGE_ENDINGS)


class _Refused(Exception):
    """An answer that is no success: status, code of the Hub's, message."""


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.hub = hub
    return Handler


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm, wbufsize = True, -1  # an answer is one packet, not two that wait for each other

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        body = self._body()
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        others = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
        self.hub.requests.append(Request(self.command, self.path, token, others, body))
        self.token, self.query = token, parse_qs(urlsplit(self.path).query)
        path = unquote(urlsplit(self.path).path)
        try:
            for methods, pattern, answer in _ROUTES:
                if self.command in methods and (found := re.fullmatch(pattern, path)):
                    answer(self, body, **found.groupdict())
                    return
            self.hub.unknown.append(f"{self.command} {self.path}")
            raise _Refused(501, "NotHere", f"the fake Hub does not know {self.command} {path}")
        except _Refused as refused:
            status, code, message = refused.args
            self._send(status, json.dumps({"error": message}).encode(), {"X-Error-Code": code}, "application/json")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None, kind: str = "text/plain") -> None:
        self.send_response(status)
        sent = {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), kind="application/json")

    def _repo(self, kind: str | None, repo_id: str) -> _Repo:
        repo = self.hub.repos.get((_KINDS.get(kind or "models", "model"), repo_id))
        # Who may not see a repository is told that there is none.
        if repo is None or (repo.private and self.token != self.hub.token):
            raise _Refused(401 if self.token is None else 404, "RepoNotFound", "Repository not found")
        return repo

    def _at(self, kind: str | None, repo_id: str, revision: str) -> _Commit:
        commit = self._repo(kind, repo_id).at(revision)
        if commit is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _may_write(self) -> None:
        if self.token != self.hub.token:
            raise _Refused(401, "Unauthorized", "Invalid username or password.")

    # Reading ---------------------------------------------------------------------------------------------------------

    def _resolve(self, body: bytes, kind: str | None, repo_id: str, revision: str, path: str) -> None:
        commit = self._at(kind, repo_id, revision)
        headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        if path not in commit.files:
            self._send(404, b"Entry not found", headers | {"X-Error-Code": "EntryNotFound"})
            return
        sha = commit.files[path]
        data = self.hub.content(sha)
        if _is_large(path, len(data)):
            place = f"http://localhost:{self.hub.port}/-/content/{sha}"
            headers |= {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(data)), "Location": place}
            self._send(302, b"", headers)
            return
        self._send_part(data, headers | {"ETag": f'"{_git_id(data)}"'})

    def _content(self, body: bytes, sha: str) -> None:
        self._send_part(self.hub.content(sha), {"ETag": f'"{sha}"', "Accept-Ranges": "bytes"})

    def _send_part(self, data: bytes, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not asked:
            self._send(200, data, headers)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        headers = headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self._send(206, data[first : last + 1], headers)

    def _info(self, body: bytes, kind: str, repo_id: str, revision: str = "main") -> None:
        repo, commit = self._repo(kind, repo_id), self._at(kind, repo_id, revision)
        card = card_data(self.hub.content(commit.files["README.md"])) if "README.md" in commit.files else {}
        info = {
            "_id": commit.oid[:24],
            "id": repo_id,
            "sha": commit.oid,
            "lastModified": _WHEN,
            "createdAt": _WHEN,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags") or [],
            "cardData": card,
            "siblings": [{"rfilename": path} for path in commit.files],
        }
        if kind == "models":
            info |= {"modelId": repo_id, **{key: card[key] for key in ("pipeline_tag", "library_name") if key in card}}
        self._json(info)

    def _tree(self, body: bytes, kind: str, repo_id: str, revision: str, folder: str | None = None) -> None:
        commit = self._at(kind, repo_id, revision)
        start = f"{folder}/" if folder else ""
        recursive = self.query.get("recursive", ["false"])[0].lower() == "true"
        paths = [path for path in commit.files if path.startswith(start)]
        if folder and not paths:
            raise _Refused(404, "EntryNotFound", f"{folder} does not exist")
        folders = sorted({part for path in paths for part in _folders(path[len(start) :])})
        entries = [
            {"type": "directory", "path": start + name, "oid": hashlib.sha1(name.encode()).hexdigest(), "size": 0}
            for name in folders
            if recursive or "/" not in name
        ]
        entries += [
            self._entry(path, commit.files[path]) for path in paths if recursive or "/" not in path[len(start) :]
        ]
        self._json(entries)

    def _entry(self, path: str, sha: str) -> dict[str, Any]:
        data = self.hub.content(sha)
        entry: dict[str, Any] = {"type": "file", "path": path, "oid": _git_id(data), "size": len(data)}
        if _is_large(path, len(data)):
            entry["lfs"] = {"oid": sha, "size": len(data), "pointerSize": 134}
        return entry

    def _paths_info(self, body: bytes, kind: str, repo_id: str, revision: str) -> None:
        commit = self._at(kind, repo_id, revision)
        asked = json.loads(body) if body.startswith(b"{") else parse_qs(body.decode())
        self._json([self._entry(path, commit.files[path]) for path in asked.get("paths", ()) if path in commit.files])

    def _refs(self, body: bytes, kind: str, repo_id: str) -> None:
        refs = self._repo(kind, repo_id).refs
        branches = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid} for name, oid in refs.items()]
        self._json({"branches": branches, "converts": [], "tags": []})

    def _commits(self, body: bytes, kind: str, repo_id: str, revision: str) -> None:
        self._at(kind, repo_id, revision)
        self._json(
            [
                {"id": commit.oid, "title": commit.title, "message": "", "authors": [], "date": _WHEN}
                for commit in reversed(self._repo(kind, repo_id).commits)
            ]
        )

    def _whoami(self, body: bytes) -> None:
        self._may_write()
        auth = {"type": "access_token", "accessToken": {"displayName": "tests", "role": "write"}}
        self._json({"type": "user", "name": self.hub.user, "orgs": [], "auth": auth})

    def _count(self, body: bytes) -> None:
        """How many requests there were before this one, which does not count: for processes that ask."""
        self.hub.requests.pop()
        self._json(len(self.hub.requests))

    def _no_agents(self, body: bytes) -> None:
        self._json({})

    # Writing ---------------------------------------------------------------------------------------------------------

    def _create(self, body: bytes) -> None:
        self._may_write()
        asked = json.loads(body)
        repo_id = f"{asked.get('organization') or self.hub.user}/{asked['name']}"
        kind = asked.get("type") or "model"
        url = f"{self.hub.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
        if (kind, repo_id) in self.hub.repos:
            self._json({"error": "You already created this repo", "url": url}, 409)
            return
        private = asked.get("private") or asked.get("visibility") == "private"
        repo = self.hub.repos[kind, repo_id] = _Repo(bool(private))
        # The Hub starts a repository with this file alone.
        attributes = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
        sha = hashlib.sha256(attributes).hexdigest()
        self.hub.blobs[sha] = attributes
        self.hub._commit(repo, {".gitattributes": sha}, "initial commit", "main")
        self._json({"url": url, "name": repo_id, "id": repo_id})

    def _ref(self, body: bytes, kind: str, repo_id: str, ref: str) -> None:
        self._may_write()
        repo = self._repo(kind, repo_id)
        if ref in repo.refs:
            raise _Refused(409, "Conflict", f"Reference already exists: {ref}")
        start = self._at(kind, repo_id, (json.loads(body or b"{}") or {}).get("startingPoint") or "main")
        repo.refs[ref] = start.oid
        self._json({})

    def _preupload(self, body: bytes, kind: str, repo_id: str, revision: str) -> None:
        self._may_write()
        commit, answers = self._at(kind, repo_id, revision), []
        for file in json.loads(body)["files"]:
            large, there = _is_large(file["path"], file["size"]), commit.files.get(file["path"])
            oid = None if there is None else there if large else _git_id(self.hub.content(there))
            answers.append(
                {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}
            )
        self._json({"files": answers})

    def _lfs_batch(self, body: bytes, kind: str | None, repo_id: str) -> None:
        self._may_write()
        self._repo(kind, repo_id)
        objects = []
        for wanted in json.loads(body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.blobs:
                entry["actions"] = {"upload": {"href": f"{self.hub.endpoint}/-/content/{wanted['oid']}"}}
            objects.append(entry)
        self._send(
            200, json.dumps({"transfer": "basic", "objects": objects}).encode(), kind="application/vnd.git-lfs+json"
        )

    def _store(self, body: bytes, sha: str) -> None:
        if hashlib.sha256(body).hexdigest() != sha:
            raise _Refused(400, "BadDigest", "the bytes are not those that were announced")
        self.hub.blobs[sha] = body
        self._send(200, b"")

    def _commit(self, body: bytes, kind: str, repo_id: str, revision: str) -> None:
        self._may_write()
        repo, parent = self._repo(kind, repo_id), self._at(kind, repo_id, revision)
        files, title = dict(parent.files), ""
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                title = value["summary"]
            elif line["key"] == "file":
                data = base64.b64decode(value["content"])
                files[value["path"]] = sha = hashlib.sha256(data).hexdigest()
                self.hub.blobs[sha] = data
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    raise _Refused(400, "BadRequest", f"the content of {value['path']} was never sent")
                files[value["path"]] = value["oid"]
            elif line["key"] == "deletedFile":
                files.pop(value["path"])
            elif line["key"] == "deletedFolder":
                start = value["path"].rstrip("/") + "/"
                files = {path: sha for path, sha in files.items() if not path.startswith(start)}
        asked_for_pull = "create_pr" in self.query
        ref = f"refs/pr/{len(repo.refs)}" if asked_for_pull else revision
        oid = self.hub._commit(repo, files, title, ref)
        url = f"{self.hub.endpoint}/{'' if kind == 'models' else kind + '/'}{repo_id}"
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}", "hookOutput": ""}
        if asked_for_pull:
            answer["pullRequestUrl"] = f"{url}/discussions/{ref.rsplit('/', 1)[1]}"
        self._json(answer)

    def _validate_yaml(self, body: bytes) -> None:
        asked = json.loads(body)
        errors = card_errors(asked["content"], asked["repoType"])
        self._json({"errors": [{"message": error} for error in errors], "warnings": []}, 400 if errors else 200)


_REPO = r"(?P<repo_id>[^/]+(?:/[^/]+)?)"
_API = rf"/api/(?P<kind>models|datasets|spaces)/{_REPO}"
_REVISION = r"(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+)"
_H = _Handler
_ROUTES = [
    (("GET", "HEAD"), rf"/(?:(?P<kind>datasets|spaces)/)?{_REPO}/resolve/{_REVISION}/(?P<path>.+)", _H._resolve),
    (("GET", "HEAD"), r"/-/content/(?P<sha>[0-9a-f]{64})", _H._content),
    (("PUT",), r"/-/content/(?P<sha>[0-9a-f]{64})", _H._store),
    (("GET",), r"/-/requests", _H._count),
    (("GET",), r"/api/whoami-v2", _H._whoami),
    (("GET",), r"/api/agent-harnesses", _H._no_agents),
    (("POST",), r"/api/repos/create", _H._create),
    (("POST",), r"/api/validate-yaml", _H._validate_yaml),
    (("GET",), rf"{_API}/revision/{_REVISION}", _H._info),
    (("GET",), rf"{_API}/tree/{_REVISION}(?:/(?P<folder>.+))?", _H._tree),
    (("GET",), rf"{_API}/refs", _H._refs),
    (("GET",), rf"{_API}/commits/{_REVISION}", _H._commits),
    (("POST",), rf"{_API}/paths-info/{_REVISION}", _H._paths_info),
    (("POST",), rf"{_API}/preupload/{_REVISION}", _H._preupload),
    (("POST",), rf"{_API}/commit/{_REVISION}", _H._commit),
    (("POST",), rf"{_API}/(?:branch|tag)/(?P<ref>.+)", _H._ref),
    (("POST",), rf"/(?:(?P<kind>datasets|spaces)/)?{_REPO}\.git/info/lfs/objects/batch", _H._lfs_batch),
    (("GET",), _API, _H._info),
]


def _folders(path: str) -> Iterator[str]:
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])
