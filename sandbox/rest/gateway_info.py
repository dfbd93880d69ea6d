"""What belongs to no resource: where the gateway is, fresh attachment links."""

from sandbox.gateway import gateway_url
from sandbox.rest.request import RestRequest, Route
from sandbox.validate import Problems
from sandbox.value_types import Json, Reply


def gateway(request: RestRequest) -> Reply:
    return Reply(data={"url": gateway_url(request.world.base)})


def gateway_bot(request: RestRequest) -> Reply:
    start: Json = {"total": 1000, "remaining": 1000, "reset_after": 86_400_000, "max_concurrency": 1}
    return Reply(data={"url": gateway_url(request.world.base), "shards": 1, "session_start_limit": start})


def refresh_urls(request: RestRequest) -> Reply:
    """The sandbox's links do not expire, so a fresh one is the same one."""
    urls = request.json.get("attachment_urls")
    problems = Problems()
    if problems.count(("attachment_urls",), urls, 50, least=1):
        problems.raise_if_any()
    problems.raise_if_any()
    return Reply(data={"refreshed_urls": [{"original": url, "refreshed": url} for url in urls or []]})


ROUTES: list[Route] = [
    ("GET", "/gateway", gateway),
    ("GET", "/gateway/bot", gateway_bot),
    ("POST", "/attachments/refresh-urls", refresh_urls),
]
