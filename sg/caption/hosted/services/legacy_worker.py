"""A process that drives `google-generativeai`: it reads one JSON request per line and writes one JSON answer per line.

The Python of `captioner.python` runs it as a file. That is often another environment, because the legacy SDK needs
protobuf below 6, so nothing of `sg` is imported here. The key arrives in an environment variable, which is removed at
once. Errors are written as plain fields, never as the SDK's objects.
"""

import base64
import json
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MAX_ANSWER_BYTES = 2**25
FIELDS = ("max_output_tokens", "temperature", "top_p", "top_k", "response_mime_type", "stop_sequences")


def main() -> None:
    """Serve requests until standard input ends."""
    warnings.simplefilter("ignore")
    settings = json.loads(sys.argv[1])
    import google.generativeai as genai
    import requests
    from google.api_core import exceptions

    # The key is in a header that `requests` would send to the address of a redirect, and to a proxy of plain http.
    requests.Session.get_redirect_target = lambda self, response: None  # type: ignore[method-assign, assignment]
    exceptions.from_http_response = readable(exceptions)
    requests.Response.iter_content = bounded(requests)  # type: ignore[method-assign]
    if (settings["base_url"] or "").startswith("http:"):
        os.environ["NO_PROXY"] = "*"
    options = {"api_endpoint": settings["base_url"]} if settings["base_url"] else None
    genai.configure(api_key=os.environ.pop("SG_LEGACY_KEY"), transport="rest", client_options=options)
    lock = threading.Lock()

    def write(values: dict[str, Any]) -> None:
        with lock:
            sys.stdout.write(json.dumps(values) + "\n")
            sys.stdout.flush()

    def serve(line: str) -> None:
        write(answered(genai, json.loads(line), settings["timeout_s"]))

    write({"sdk_version": genai.__version__})
    with ThreadPoolExecutor(settings["threads"]) as pool:
        for line in sys.stdin:
            pool.submit(serve, line)


def readable(exceptions: Any) -> Any:
    """The SDK's reader of error documents; where a document has another form, its status and its text count."""
    strict = exceptions.from_http_response

    def from_http_response(response: Any) -> Any:
        try:
            return strict(response)
        except Exception:  # noqa: BLE001 - the reader raises many types, and the status is what matters
            return exceptions.from_http_status(response.status_code, response.text[:500])

    return from_http_response


def bounded(requests: Any) -> Any:
    """`Response.iter_content`, through which `requests` reads every answer, with a largest size when unpacked."""
    whole = requests.Response.iter_content

    def iter_content(self: Any, *arguments: Any, **options: Any) -> Iterator[bytes]:
        size = 0
        if self.is_redirect:
            raise requests.exceptions.TooManyRedirects(f"the service redirects to {self.headers['location'][:100]}")
        for part in whole(self, *arguments, **options):
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                self.close()
                raise requests.exceptions.ContentDecodingError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
            yield part

    return iter_content


def answered(genai: Any, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """The answer or the error of one request, as plain values."""
    try:
        model = genai.GenerativeModel(request["model"], system_instruction=request["system"])
        media = request["media"] and {
            "mime_type": request["media"]["mime_type"],
            "data": base64.b64decode(request["media"]["data"]),
        }
        known = {name: value for name, value in request["generation"].items() if name in FIELDS}
        response = model.generate_content(
            [media, request["user"]] if media else [request["user"]],
            generation_config=known,
            request_options={"timeout": timeout_s, "retry": None},
        )
        return {"id": request["id"], "answer": plain(type(response._result).to_dict(response._result))}
    except Exception as error:  # noqa: BLE001 - its fields go to the engine, which classifies it
        return {"id": request["id"], "error": described(error)}


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of an answer that the engine reads; enums stay numbers, as in the SDK."""
    candidates = body.get("candidates") or []
    first = candidates[0] if candidates else {}
    counts = body.get("usage_metadata") or {}
    read, written = counts.get("prompt_token_count", 0), counts.get("candidates_token_count", 0)
    return {
        "text": "".join(part.get("text", "") for part in (first.get("content") or {}).get("parts") or []),
        "finish_reason": first.get("finish_reason") if candidates else None,
        "block_reason": (body.get("prompt_feedback") or {}).get("block_reason") or 0,
        "input": read,
        "output": written,
        # The SDK has no field for thinking tokens: they are the rest of the total.
        "thinking": max(counts.get("total_token_count", 0) - read - written, 0),
        "cached": counts.get("cached_content_token_count", 0),
        "model_version": body.get("model_version", ""),
    }


def described(error: Any) -> dict[str, Any]:
    """Code, status, message and details of an SDK error, or its name."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        details = [detail for detail in getattr(error, "details", None) or [] if isinstance(detail, dict)]
        message = str(getattr(error, "message", error)).split(": ", 1)[-1]
        return {"code": int(code), "message": message[:500], "details": details}
    return {"code": 0, "name": type(error).__name__, "message": str(error)[:500]}


if __name__ == "__main__":
    main()
