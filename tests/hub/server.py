"""A server on loopback that speaks the part of the hub's protocol that `sg push`, `sg pull` and `hf://` use."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

LARGE = 1000
"""Files of more bytes are stored as large objects."""


class Hub:
    """Repositories in memory: {type/name: {file: bytes}}. `fails_after` breaks the connection after so many commits.

    `sent` counts the bytes of files that were sent.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.commits: list[list[str]] = []
        self.fails_after: int | None = None
        self.sent = 0
        self.url = ""

    def file(self, repo: str, name: str) -> dict[str, Any]:
        data = self.repos[repo][name]
        blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": blob}
        if len(data) > LARGE:
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
        return entry

    def entries(self, repo: str, name: str) -> list[dict[str, Any]]:
        """The file or the folder of this name; nothing if there is none."""
        if name in self.repos[repo]:
            return [self.file(repo, name)]
        is_folder = any(other.startswith(f"{name}/") for other in self.repos[repo])
        return [{"type": "directory", "path": name, "oid": "d" * 40}] if is_folder else []


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for key, text in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_POST(self) -> None:
        path, body, hub = self.path.split("?")[0], self.body(), self.hub
        if path == "/api/repos/create":
            wanted = json.loads(body)
            repo = f"{wanted.get('type', 'model')}s/{wanted.get('organization') or 'lab'}/{wanted['name']}"
            exists = repo in hub.repos
            hub.repos.setdefault(repo, {})
            url = f"{hub.url}/{repo.removeprefix('models/')}"
            self.answer({"url": url, "name": repo.partition("/")[2]}, 409 if exists else 200)
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)/preupload/main", path):
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "lfs" if f["size"] > LARGE else "regular"} for f in files]
            self.answer({"files": [{**mode, "shouldIgnore": False, "oid": None} for mode in modes]})
        elif found := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)/paths-info/[^/]+", path):
            wanted = parse_qs(body.decode())["paths"]
            self.answer([entry for name in wanted for entry in hub.entries(found[1], name)])
        elif path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            upload = [
                {**item, "actions": {"upload": {"href": f"{hub.url}/object/{item['oid']}"}}}
                if item["oid"] not in hub.objects
                else item
                for item in objects
            ]
            self.answer({"transfer": "basic", "objects": upload})
        elif found := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)/commit/main", path):
            if hub.fails_after is not None and len(hub.commits) >= hub.fails_after:
                self.close_connection = True
                self.connection.close()
                return
            names = []
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    hub.repos[found[1]][value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.repos[found[1]][value["path"]] = hub.objects[value["oid"]]
                names += [value["path"]] if "path" in value else []
            hub.commits.append(names)
            url = f"{hub.url}/{found[1].removeprefix('models/')}/commit/{'c' * 40}"
            self.answer({"success": True, "commitOid": "c" * 40, "commitUrl": url})
        else:
            self.answer({"error": f"unknown {path}"}, 404)

    def do_PUT(self) -> None:
        self.hub.objects[self.path.rpartition("/")[2]] = self.body()
        self.answer({}, headers={"ETag": "x"})

    def do_GET(self) -> None:
        path, hub = self.path.split("?")[0], self.hub
        if found := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)(?:/tree/([^/]+)(?:/(.+))?|/revision/([^/]+))?", path):
            if found[1] not in hub.repos:
                self.answer({"error": "none"}, 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "none"})
            elif found[2]:
                below = f"{unquote(found[3])}/" if found[3] else ""
                names = sorted(name for name in hub.repos[found[1]] if name.startswith(below))
                self.answer([hub.file(found[1], name) for name in names])
            else:
                siblings = [{"rfilename": name} for name in sorted(hub.repos[found[1]])]
                self.answer({"id": found[1].partition("/")[2], "sha": "c" * 40, "siblings": siblings, "private": True})
        elif found := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            repo = found[1] if found[1].startswith("datasets/") else f"models/{found[1]}"
            name = unquote(found[2])
            data, entry = hub.repos[repo][name], hub.file(repo, name)
            tag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
            part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
            if part:
                data = data[int(part[1]) : int(part[2]) + 1]
            hub.sent += len(data)
            self.answer(data, 206 if part else 200, {"ETag": f'"{tag}"', "X-Repo-Commit": "c" * 40})
        else:
            self.answer({"error": f"unknown {path}"}, 404)

    do_HEAD = do_GET


@contextmanager
def running() -> Iterator[Hub]:
    """A running hub without repositories."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
