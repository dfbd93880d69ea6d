"""Serves attachments and the page. Knows nothing of the API."""

from pathlib import Path

from aiohttp import web

from sandbox.attachment_store import type_of
from sandbox.sandbox import Sandbox

PAGE = Path(__file__).parent / "page"
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'",
}
# What a browser may show in place; anything else is a download, so that an upload cannot script the page.
SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/avif", "video/mp4", "video/webm")


def add_files(app: web.Application, sandbox: Sandbox) -> None:
    """GET /attachments/…, / and /page/…"""

    async def attachment(request: web.Request) -> web.StreamResponse:
        info = request.match_info
        path = sandbox.attachments.find(info["channel"], info["key"], info["name"])
        if path is None:
            raise web.HTTPNotFound(text="This content is no longer available.")
        kind = type_of(path.name, "")
        headers = {"Content-Type": kind, "X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "*"}
        headers["Cache-Control"] = "private, max-age=31536000, immutable"
        if kind not in SHOWN:
            headers["Content-Disposition"] = "attachment"
        return web.FileResponse(path, headers=headers)

    async def page(request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("name") or "index.html"
        path = (PAGE / name).resolve()
        if not path.is_relative_to(PAGE.resolve()) or not path.is_file():
            raise web.HTTPNotFound(text="There is no such page.")
        return web.FileResponse(path, headers=PAGE_HEADERS)

    app.router.add_get("/attachments/{channel}/{key}/{name}", attachment)
    app.router.add_get("/", page)
    app.router.add_get("/page/{name:.+}", page)
