"""From a video or image file to what a student takes: facts, and pixel values of the sampled frames."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.core.places.ranges import opened
from sg.models.student import TEXT, StudentProcessor
from sg.video.frames import UNREADABLE, UnreadableVideoError
from sg.video.reader import probe, read_frames
from sg.video.sampling import FramePolicy, Timeline

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def is_image(path: Path) -> bool:
    """True if the file at `path` is an image, by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> NDArray[np.uint8]:
    """The image at `path` as uint8 [H, W, 3], read by PIL as in the reference.

    Raises:
        UnreadableVideoError: it cannot be read.
    """
    try:
        with opened(path) as stream, Image.open(stream) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableVideoError(UNREADABLE, f"{path.name}: not a readable image ({error})") from error


def clip_facts(path: Path, processor: StudentProcessor, sampling: FramePolicy | None = None) -> ClipFacts:
    """What the student must know of the clip at `path` to encode a dialog; its frames are decoded only if they count.

    `sampling` replaces that of the student.

    Raises:
        UnreadableVideoError: it cannot be read.
    """
    if is_image(path):
        return _image_facts(read_image(path))
    if processor.needs_frames:
        return decode_clip("", path, processor, sampling).facts
    info = probe(path)
    indices = tuple((sampling or processor.frames)(Timeline(info.num_frames, info.fps)))
    return ClipFacts(indices, info.fps, info.num_frames, info.width, info.height)


def _image_facts(image: NDArray[np.uint8]) -> ClipFacts:
    return ClipFacts((0,), 0.0, 1, image.shape[1], image.shape[0])


def decode_clip(key: str, path: Path, processor: StudentProcessor, sampling: FramePolicy | None = None) -> ClipTensors:
    """The sampled frames of the video or image at `path` as the student takes them; `key` names the clip.

    `sampling` replaces that of the student.

    Raises:
        UnreadableVideoError: it cannot be read.
    """
    if is_image(path):
        image = read_image(path)
        frames, facts = image[None], _image_facts(image)
    else:
        found = read_frames(path, sampling or processor.frames)
        frames = found.frames
        facts = ClipFacts(tuple(found.indices), found.fps, found.num_frames, found.width, found.height)
    tensors = processor.pixels(frames, facts)
    if TEXT in tensors:
        facts = replace(facts, text=bytes(tensors.pop(TEXT).tolist()).decode())
    return ClipTensors(key, facts, tensors, are_features=False)


def packed_clip(key: str, path: Path, processor: StudentProcessor, sampling: FramePolicy | None = None) -> bytes:
    """`decode_clip`, pickled. A process that reads sends tensors as bytes: shared memory is small in containers."""
    return pickle.dumps(decode_clip(key, path, processor, sampling), protocol=pickle.HIGHEST_PROTOCOL)


def unpacked_clip(data: bytes) -> ClipTensors:
    """The clip that a process of this program has read."""
    clip: ClipTensors = pickle.loads(data)
    return clip


def reading_processes(wanted: int) -> int | None:
    """Number of processes that read clips (of a `VideoMap`), or None to read them in this process, beside the model.

    A single process is not worth its start, which takes seconds because it imports PyTorch.
    """
    return wanted if wanted > 1 else None
