"""A server on this machine that speaks the language of the Hugging Face hub, for tests that download."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1, no log, every request remembered."""

    protocol_version = "HTTP/1.1"
    state: Any

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def remember(self) -> None:
        """Note the request in the server's state."""
        self.state.requests.append((self.command, self.path, dict(self.headers)))

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a complete response; underscores in names of headers become hyphens."""
        self.send_response(status)
        # A connection for each request: kept ones got out of step now and then on a busy machine.
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """One that is not troubled when a client goes."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """As there, but silent about connections that were cut."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def served(handler: type[Handler], state: Any) -> Iterator[str]:
    """The address of a server that runs in a thread for a while."""
    server = Server(("127.0.0.1", 0), type("Bound", (handler,), {"state": state}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Hub:
    """Repositories by name: `commits` as (id, {file: content}), oldest first, and who may read them."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, Any]] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.is_down = False
        self.needs_token = False

    def add(self, repo: str, files: dict[str, bytes], private: bool = False, gated: bool = False) -> str:
        """Commit files to a repository, made if need be; the commit."""
        known = self.repos.setdefault(repo, {"commits": [], "private": private, "gated": gated})
        before = dict(known["commits"][-1][1]) if known["commits"] else {}
        commit = hashlib.sha1(f"{repo} {len(known['commits'])}".encode()).hexdigest()
        known["commits"].append((commit, before | files))
        return commit


class HubHandler(Handler):
    """The few endpoints of the hub that downloads and commits need."""

    state: Hub

    def do_HEAD(self) -> None:
        self._read()

    def do_GET(self) -> None:
        self._read()

    def _refused(self) -> bool:
        self.remember()
        if self.state.is_down:
            self.answer(503, b"down")
        return self.state.is_down

    def _read(self) -> None:
        if self._refused():
            return None
        if match := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", self.path):
            return self._file(*match.groups())
        match = re.fullmatch(
            r"/api/models/([\w.-]+/[\w.-]+)(?:/(?:revision|tree)/([^/?]+))?(?:\?.*)?", self.path
        )
        repo = self.state.repos.get(match[1]) if match else None
        if repo is None:
            return self._missing("RepoNotFound")
        commit, files = repo["commits"][-1] if repo["commits"] else ("0" * 40, {})
        if "/tree/" in self.path:
            listed = [{"type": "file", "path": f, "size": len(c), "oid": "0" * 40} for f, c in files.items()]
            return self._json(listed)
        info = {"id": match[1], "sha": commit, "private": repo["private"], "tags": []}
        return self._json(info | {"siblings": [{"rfilename": name} for name in files]})

    def _file(self, name: str, revision: str, file: str) -> None:
        repo = self.state.repos.get(name)
        if repo is None or repo["private"]:
            return self._missing("RepoNotFound")
        if repo["gated"]:
            return self._missing("GatedRepo", 403)
        commits = dict(repo["commits"])
        commit = repo["commits"][-1][0] if revision == "main" else revision
        if commit not in commits:
            return self._missing("RevisionNotFound")
        if file not in commits[commit]:
            return self._missing("EntryNotFound", X_Repo_Commit=commit)
        content = commits[commit][file]
        is_large = file.endswith((".safetensors", ".pth"))
        tag = (hashlib.sha256 if is_large else hashlib.sha1)(content).hexdigest()
        return self.answer(200, content, ETag=f'"{tag}"', X_Repo_Commit=commit)

    def do_PUT(self) -> None:
        if self._refused():
            return
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.state.large[hashlib.sha256(content).hexdigest()] = content
        self.answer(200)

    def do_POST(self) -> None:
        if self._refused():
            return None
        body = self._body()
        if self.state.needs_token and "authorization" not in {name.lower() for name in self.headers}:
            return self.answer(401, b"{}", X_Error_Message="Invalid username or password.")
        if self.path == "/api/repos/create":
            said = json.loads(body)
            name = f"{said['organization']}/{said['name']}"
            if name in self.state.repos:
                return self._json({"url": f"{self._own_address()}/{name}"}, 409)
            is_private = said.get("private") or said.get("visibility") == "private"
            self.state.repos[name] = {"commits": [], "private": bool(is_private), "gated": False}
            return self._json({"url": f"{self._own_address()}/{name}"})
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/preupload/main", self.path):
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": modes})
        if self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{self._own_address()}/upload/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/commit/main", self.path):
            commit = self.state.add(match[1], self._committed(body))
            url = f"{self._own_address()}/{match[1]}/commit/{commit}"
            return self._json({"success": True, "commitOid": commit, "commitUrl": url})
        return self._missing("RepoNotFound")

    def _committed(self, body: bytes) -> dict[str, bytes]:
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.large[value["oid"]]
        return files

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _own_address(self) -> str:
        return f"http://{self.headers['Host']}"

    def _json(self, value: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def _missing(self, code: str, status: int = 404, **headers: str) -> None:
        self.answer(status, b"{}", X_Error_Code=code, **headers)
