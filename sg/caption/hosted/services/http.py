"""HTTP sessions that follow no redirect, show no key to a proxy, and read no more than an answer can need."""

from collections.abc import Mapping
from typing import Any

import aiohttp

from sg.caption.hosted.services import wire
from sg.caption.hosted.services.failures import RedirectError, TooLargeError

MAX_ANSWER_BYTES = 2**25
"""A caption has a few thousand bytes. A larger document, also after decompression, is not read to its end."""


class _BoundedResponse(aiohttp.ClientResponse):
    """A response whose body has a largest size; downloads to files read their stream instead."""

    async def read(self) -> bytes:
        if self._body is None:
            parts, size = [], 0
            try:
                async for part in self.content.iter_any():
                    parts.append(part)
                    size += len(part)
                    if size > MAX_ANSWER_BYTES:
                        raise TooLargeError(f"the answer has more than {MAX_ANSWER_BYTES:,} bytes")
            except BaseException:  # a connection with the rest of an answer in it is of no use to another request
                self.close()
                raise
            self._body = b"".join(parts)
        return await super().read()

    def get_encoding(self) -> str:
        """JSON is UTF-8 whatever a relay's content type says; with another encoding its texts would be garbled."""
        return "utf-8"

    async def json(self, **options: Any) -> Any:
        """The document of an error; its text where it is HTML or damaged, whatever its content type says.

        The SDK reads errors with this, and an exception here would hide their status.
        """
        data = await self.read()
        try:
            return wire.document(data)
        except ValueError:
            return {"message": data[:2000].decode("utf-8", "replace")}


async def _refuse_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise instead of sending the key and the video to another address."""
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise RedirectError(
            f"{request.url.host} redirects (HTTP {response.status}) to {response.headers.get('Location', '?')[:100]}: "
            "keys and videos follow no redirect, set captioner.base_url to the final address"
        )
    return response


def open_session(
    url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float | None = None
) -> aiohttp.ClientSession:
    """A session for the service at `url`.

    Proxies of the environment are used for https only, where they see the host and nothing else.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        trust_env=url.startswith("https:"),
        middlewares=(_refuse_redirect,),
        response_class=_BoundedResponse,
    )
