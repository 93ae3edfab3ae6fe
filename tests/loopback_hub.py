"""A hub on loopback for the tests: the few requests of huggingface_hub that list a repository and get its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from served_models import listening

from forgekit.models import weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def use_hub(patch: Any, address: str, home: Path, *, offline: bool = False) -> None:
    """Have huggingface_hub ask the hub at `address`, with an empty cache; it reads its environment once, as it is imported."""
    patch.setattr("huggingface_hub.constants.ENDPOINT", address)
    patch.setattr("huggingface_hub.hf_api.api.endpoint", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    weights._absent.clear()


@contextmanager
def hub(folder: Path, *, gated: tuple[str, ...] = (), asked: list[str] | None = None) -> Iterator[str]:
    """Serve the folders owner/name below `folder` as repositories; files of `gated` ones are refused (403)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            if asked is not None:
                asked.append(f"{self.command} {self.path}")
            if parts[0] == "api":
                self._say(*_told(folder, "/".join(parts[2:4]), parts[4:5] == ["tree"], gated))
            elif "/".join(parts[:2]) in gated:
                self._say(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "accept the licence"})
            elif (file := folder.joinpath(*parts[:2], *parts[4:])).is_file():
                etag = hashlib.sha256(file.read_bytes()).hexdigest()
                self._say(200, file.read_bytes(), {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
            else:
                self._say(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})

        do_HEAD = do_GET  # noqa: N815

        def _say(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            with suppress(OSError):
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as address:
        yield address


def _told(folder: Path, repo: str, tree: bool, gated: tuple[str, ...]) -> tuple[int, bytes, dict[str, str]]:
    """Return what the hub says of a repository: its description, or its files."""
    files = sorted(path for path in (folder / repo).rglob("*") if path.is_file())
    if not files:
        return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
    names = [(path.relative_to(folder / repo).as_posix(), path.stat().st_size) for path in files]
    if tree:
        answer: Any = [{"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in names]
    else:
        siblings = [{"rfilename": name, "size": size, "blobId": "0" * 40} for name, size in names]
        answer = {"id": repo, "sha": COMMIT, "siblings": siblings, "tags": ["license:apache-2.0"]}
        answer |= {"gated": "auto" if repo in gated else False, "private": False, "downloads": 0, "likes": 0}
    return 200, json.dumps(answer).encode(), {"Content-Type": "application/json"}
