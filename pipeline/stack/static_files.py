"""Files of one folder over HTTP: a list of each folder for people, and no way out of it."""

import os
import stat
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STYLE = "body{font:15px/1.6 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}td{padding-right:2rem}"
LISTED = 2000  # entries of a folder that are shown


class Reports(StaticFiles):
    """Serves a folder; `index.html` stands for its folder, and what begins with a dot is not there.

    Links are followed nowhere: starlette compares the real path with the folder's.

    Args:
        folder: What is served.
        policy: The Content-Security-Policy of every answer.
    """

    def __init__(self, folder: Path, policy: str) -> None:
        super().__init__(directory=folder, html=True, follow_symlink=False)
        self._folder = Path(os.path.realpath(folder))
        self._policy = policy

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The answer to a request.

        Raises:
            HTTPException: There is no such file, or the method is another than GET and HEAD.
        """
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        if any(part.startswith(".") and part != "." for part in Path(path).parts) or "\0" in path:
            raise HTTPException(404)
        answer = self._list(path, scope["path"]) or await super().get_response(path, scope)
        answer.headers.update(
            {
                "Content-Security-Policy": self._policy,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Cache-Control": "no-cache",
            }
        )
        return answer

    def _list(self, path: str, address: str) -> Response | None:
        """The list of a folder that has no page of its own; None for anything else."""
        found, status = self.lookup_path(path)
        if status is None or not stat.S_ISDIR(status.st_mode) or (Path(found) / "index.html").is_file():
            return None
        if not address.endswith("/"):
            return RedirectResponse(quote(address.rsplit("/", 1)[-1]) + "/")
        return HTMLResponse(_page(Path(found), self._folder))


def _page(folder: Path, root: Path) -> str:
    name = "reports" if folder == root else str(folder.relative_to(root))
    entries = sorted((each for each in os.scandir(folder) if _shown(each)), key=lambda each: each.name)
    up = "" if folder == root else '<tr><td><a href="../">..</a></td><td></td></tr>'
    rows = "".join(_row(each) for each in entries[:LISTED])
    more = f"<p>{len(entries) - LISTED} more are not shown.</p>" if len(entries) > LISTED else ""
    empty = "" if entries else "<p>There is nothing here yet: runs put their reports here.</p>"
    head = f'<head><meta charset="utf-8"><title>{escape(name)}</title><style>{STYLE}</style></head>'
    body = f"<h1>{escape(name)}</h1><table>{up}{rows}</table>{more}{empty}"
    return f'<!DOCTYPE html>\n<html lang="en">{head}<body>{body}</body></html>\n'


def _shown(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and not entry.is_symlink()


def _row(entry: os.DirEntry[str]) -> str:
    slash = "/" if entry.is_dir() else ""
    when = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
    # A name such as `javascript:x` is no address of its own behind the dot and the slash.
    link = f'<a href="./{escape(quote(entry.name))}{slash}">{escape(entry.name)}{slash}</a>'
    return f"<tr><td>{link}</td><td>{when:%Y-%m-%d %H:%M} UTC</td></tr>"
