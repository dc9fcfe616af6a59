"""Untrusted names: ids that become file names, and paths that must stay inside a folder.

Ids and paths come from CSV and JSON files of other people. `safe_video_id` makes an id safe by percent-encoding.
`check_relative_path` and `resolve_inside` refuse a path that could leave its folder. The vectorised checks of the
manifest use the same patterns.
"""

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote

from sg.core.errors import DataError

MAX_ID_BYTES = 200
MAX_NAME_BYTES = 255
ID_PATTERN = r"^[A-Za-z0-9_@%+-][A-Za-z0-9_.@%+-]*$"
RESERVED_PATTERN = r"(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$"
"""Device names of Windows: a file `con.mp4` cannot be copied there."""
UNSAFE_PATH_PATTERN = r"(^|/)\.\.?(/|$)|^/|//|/$|\\|[\x00-\x1f\x7f]|^[A-Za-z]:|^[A-Za-z][A-Za-z0-9+.-]*:/"
"""`.` and `..` parts, absolute paths, empty parts, backslashes, control characters, drive letters, URLs."""
_UNSAFE_PATH, _SURROGATE = re.compile(UNSAFE_PATH_PATTERN), re.compile("[\ud800-\udfff]")
_ID, _RESERVED = re.compile(ID_PATTERN), re.compile(RESERVED_PATTERN)


class _PercentEncoded(dict[int, str]):
    """The characters of an id by their number, percent-encoded where they are not safe."""

    def __missing__(self, number: int) -> str:
        sign = chr(number)
        encoded = "".join(f"%{byte:02X}" for byte in sign.encode("utf-8", "surrogatepass"))
        self[number] = sign if re.fullmatch("[A-Za-z0-9_@+.-]", sign) else encoded
        return self[number]


_PERCENT = _PercentEncoded()


def check_video_id(video_id: str) -> str:
    """Return `video_id` if it is safe as a file name on all systems; DataError if it is not."""
    if (
        not _ID.match(video_id)
        or video_id.endswith((".", "\n"))
        or _RESERVED.match(video_id)
        or len(video_id) > MAX_ID_BYTES
    ):
        raise DataError(
            f"video id {video_id[:80]!r} is not safe as a file name: expected 1-{MAX_ID_BYTES} characters of "
            "A-Z a-z 0-9 _ . @ % + - (sg.artefacts.names.safe_video_id encodes any text)"
        )
    return video_id


def safe_video_id(text: str) -> str:
    """Encode any text as a safe video id, by percent-encoding, so that different texts have different ids.

    An id that would exceed 200 characters is cut and gets a hash of the whole text.

    Raises:
        DataError: `text` is empty.
    """
    encoded = text.translate(_PERCENT)
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if encoded.endswith("."):
        encoded = encoded[:-1] + "%2E"
    if _RESERVED.match(encoded):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    if len(encoded) > MAX_ID_BYTES:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        encoded = f"{re.sub('%.?$', '', encoded[:160])}@{digest}"
    if not encoded:
        raise DataError("a video id is empty: expected at least one character (check the id column of the data)")
    return encoded


def shown_id(video_id: str) -> str:
    """Return an id for people to read: `my%20clip` is `my clip`. Characters that cannot be printed are replaced."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in unquote(video_id))


def check_relative_path(path: str) -> str:
    """Return `path` (relative, `/` between parts) if its text cannot lead out of its folder; DataError if it can."""
    if not path or _UNSAFE_PATH.search(path):
        raise DataError(
            f"path {path[:120]!r} is not a plain relative path: expected parts joined by '/' without '..', "
            "backslash, drive letter or control character, inside the videos folder"
        )
    is_short = path.isascii() and len(path) <= MAX_NAME_BYTES  # nearly all are, and the next check takes a while
    if not is_short and (_SURROGATE.search(path) or _longest_part(path) > MAX_NAME_BYTES):
        raise DataError(
            f"path {path[:120]!r} cannot be the name of a file: expected UTF-8 text with at most {MAX_NAME_BYTES} "
            "bytes between two '/'"
        )
    return path


def _longest_part(path: str) -> int:
    return max(map(len, path.encode(errors="replace").split(b"/")))


def resolve_inside(root: Path, relative: str) -> Path:
    """Join `relative` to `root` and follow links.

    Raises:
        DataError: the result lies outside `root`, or outside the hub's cache of which `root` is a part.
    """
    base = root.resolve()
    full = (base / check_relative_path(relative)).resolve()
    if not full.is_relative_to(base) and not full.is_relative_to(_hub_folder(base) or base):
        raise DataError(
            f"{relative[:120]!r} is a link that leads out of {root}, to {full}: copy the file, or link to a file inside"
        )
    return full


def _hub_folder(folder: Path) -> Path | None:
    """The folder of a data set in the hub's cache, whose snapshots consist of links to its `blobs`; None elsewhere."""
    around = (folder, *folder.parents)
    return next((one.parent for one in around if one.name == "snapshots" and (one.parent / "blobs").is_dir()), None)
