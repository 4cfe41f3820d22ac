"""A server on this machine that speaks as much of the Hugging Face hub's protocol as huggingface_hub asks for.

It has one repository, ``someone/model``, which may be missing; see huggingface_hub 2.4, ``hf_api.py``, ``_commit_api.py`` and
``lfs.py``, for what is asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

OLD, NEW = "a" * 40, "b" * 40
TOKEN = "hf_test"


class Hub:
    """Repositories by name, their revisions, and what was asked for."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.names: dict[str, str] = {"main": NEW}
        self.asked: list[str] = []
        self.lie_about: dict[str, bytes] = {}
        self.bodies: list[bytes] = []
        """What was sent, request by request."""
        self.created: dict[str, object] = {}
        self.ignored: set[str] = set()
        """Names that a .gitignore of the repository has."""
        self.stored: dict[str, bytes] = {}
        """Large files by digest."""

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = self.names.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".model", ".pt"))


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(path)
        if "/tree/" in path:
            return self.tree(path.partition("/tree/")[2])
        if path.startswith("/api/models/someone/model"):
            return self.model(path.partition("/revision/")[2] or "main")
        prefix = "/someone/model/resolve/"
        if path.startswith(prefix):
            revision, _, name = path.removeprefix(prefix).partition("/")
            return self.file(revision, name)
        return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound", "Content-Type": "application/json"})

    def model(self, revision: str) -> None:
        found = self.hub.files(revision)
        if found is None:
            code = "RevisionNotFound" if self.hub.commits else "RepoNotFound"
            return self.answer(404, b"{}", {"X-Error-Code": code, "Content-Type": "application/json"})
        commit, files = found
        siblings = []
        for name, content in files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if is_large(name):
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        answer = {"_id": "1", "id": "someone/model", "sha": commit, "private": False, "tags": [], "siblings": siblings}
        return self.answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def tree(self, revision: str) -> None:
        _, files = self.hub.files(revision)
        entries = []
        for name, content in files.items():
            entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            if is_large(name):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        return self.answer(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})

    def file(self, revision: str, name: str) -> None:
        found = self.hub.files(revision)
        if found is None or name not in found[1]:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = self.hub.lie_about.get(name, found[1][name])
        digest = hashlib.sha256(found[1][name]).hexdigest()
        return self.answer(200, content, {"ETag": f'"{digest}"', "X-Repo-Commit": found[0]})

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.asked.append(path)
        self.hub.bodies.append(body)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, b"{}", {"Content-Type": "application/json"})
        for begin, reply in (
            ("/api/repos/create", self.create),
            ("/api/validate-yaml", lambda _: {"errors": [], "warnings": []}),
            ("/api/models/someone/model/branch/", self.branch),
            ("/api/models/someone/model/preupload/", self.preupload),
            ("/someone/model.git/info/lfs/objects/batch", self.batch),
            ("/api/models/someone/model/commit/", self.commit),
        ):
            if path.startswith(begin):
                return self.answer(200, json.dumps(reply(body)).encode(), {"Content-Type": "application/json"})
        return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound", "Content-Type": "application/json"})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.bodies.append(body)
        digest = self.path.removeprefix("/upload/")
        if hashlib.sha256(body).hexdigest() != digest:
            return self.answer(400, b"", {})
        self.hub.stored[digest] = body
        return self.answer(200, b"", {})

    def create(self, body: bytes) -> object:
        self.hub.created = json.loads(body)
        self.hub.commits, self.hub.names = {OLD: {".gitattributes": b""}}, {"main": OLD}
        return {"url": f"http://{self.headers['Host']}/someone/model", "name": "someone/model", "id": "1"}

    def branch(self, _body: bytes) -> object:
        self.hub.names.setdefault(self.path.rpartition("/")[2], self.hub.names["main"])
        return {}

    def preupload(self, body: bytes) -> object:
        names = [file["path"] for file in json.loads(body)["files"]]
        modes = [{"path": name, "uploadMode": "lfs" if is_large(name) else "regular",
                  "shouldIgnore": name in self.hub.ignored, "oid": None} for name in names]  # fmt: skip
        return {"files": modes}

    def batch(self, body: bytes) -> object:
        host = f"http://{self.headers['Host']}"
        objects = [
            file | {"actions": {"upload": {"href": f"{host}/upload/{file['oid']}"}}}
            for file in json.loads(body)["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def commit(self, body: bytes) -> object:
        branch = self.path.rpartition("/")[2].partition("?")[0]
        header, *changes = map(json.loads, body.splitlines())
        assert header["value"]["parentCommit"] == self.hub.names[branch]
        files = dict(self.hub.commits[self.hub.names[branch]])
        for change in changes:
            value = change["value"]
            if change["key"] == "deletedFile":
                del files[value["path"]]
            elif change["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        sha = hashlib.sha1(body).hexdigest()
        self.hub.commits[sha], self.hub.names[branch] = files, sha
        return {"commitUrl": f"http://{self.headers['Host']}/someone/model/commit/{sha}", "commitOid": sha}


@contextmanager
def serving(monkeypatch, cache):
    """Run a hub for the length of a block; huggingface_hub asks it and no other."""
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": state}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
