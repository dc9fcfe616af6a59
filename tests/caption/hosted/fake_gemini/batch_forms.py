"""Wire forms of batch jobs by name: of the operation that describes a job, and of its result file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Operation = dict[str, Any]


def _rewritten(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[bytes], bytes]:
    """A result file with every line changed."""
    return lambda data: b"".join(json.dumps(change(json.loads(line))).encode() + b"\n" for line in data.splitlines())


def _under_metadata(line: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"key": line.pop("key"), "labels": None}, **line}


FILES: dict[str, Callable[[bytes], bytes]] = {
    "bom": lambda data: b"\xef\xbb\xbf" + data,
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "blank_lines": lambda data: b"\n \n" + data.replace(b"\n", b"\n\n\t\n"),
    "garbage": lambda data: b"\xff\xfe\n[1]\nnull\n7\n" + b"[" * 100_000 + b'\n{"key": null}\n{"key": ["x"]}\n' + data,
    "doubled": lambda data: data + data,
    "no_final_newline": lambda data: data.rstrip(b"\n"),
    "huge_line": lambda data: b'{"key": "' + b"x" * 34_000_000 + b'"}\n' + data,
    "key_in_metadata": _rewritten(_under_metadata),
    "error_null": _rewritten(lambda line: line | {"error": None, "status": {}, "x": [1]}),
    "response_first": _rewritten(lambda line: dict(reversed(line.items()))),
    "cut": lambda data: data[:-200],
}
"""By name: the bytes of a result file on the wire. In `cut` the last line is incomplete."""


def _done(change: Callable[[Operation], None]) -> Callable[[Operation], Operation]:
    def form(operation: Operation) -> Operation:
        if operation["done"]:
            change(operation)
        return operation

    return form


def _file_in_response(operation: Operation) -> None:
    operation["response"] = operation["metadata"].pop("output", {})


def _other_prefix(operation: Operation) -> Operation:
    operation["metadata"]["state"] = operation["metadata"]["state"].replace("BATCH_STATE_", "JOB_STATE_")
    return operation


def _without_stats(operation: Operation) -> Operation:
    operation["metadata"] |= {"batchStats": None, "model": None, "endTime": 7, "new": {"a": None}}
    return operation


OPERATIONS: dict[str, Callable[[Operation], Operation]] = {
    "other_prefix": _other_prefix,
    "nulls": _without_stats,
    "file_in_response": _done(_file_in_response),
    "no_state": _done(lambda operation: operation["metadata"].pop("state")),
    "new_state": _done(lambda operation: operation["metadata"].update(state="BATCH_STATE_ARCHIVED")),
    "partially": _done(lambda operation: operation["metadata"].update(state="JOB_STATE_PARTIALLY_SUCCEEDED")),
    "lower_case": _done(lambda operation: operation["metadata"].update(state="succeeded")),
    "done_missing": lambda operation: {name: value for name, value in operation.items() if name != "done"},
    "error_null": lambda operation: operation | {"error": None},
}
"""By name: a job's operation on the wire."""
