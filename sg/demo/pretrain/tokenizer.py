"""The demo's tokenizer: SentencePiece BPE as in Llama, in which every word of the demo language is one token."""

import random
from collections.abc import Iterator
from pathlib import Path

from sg.demo.language import (
    ALT_TEXT_REQUEST,
    ANSWER_REQUEST,
    CAPTION_REQUEST,
    KINDS,
    LETTERS,
    QUESTION_WORDS,
    SUBTITLE_HEADER,
    SUBTITLE_MARK,
    actor_phrase,
    alt_text,
    ask,
    caption,
)
from sg.demo.world import UNIFORM, VALUES, draw_video

VOCABULARY_SIZE = 640
# Text after a newline has no leading-space mark, and the roles of the conversation template end in a colon. Without
# entries of their own, these would be split into letters.
WHOLE_PIECES = [
    *(f"{letter}." for letter in LETTERS),
    ANSWER_REQUEST,
    SUBTITLE_HEADER,
    CAPTION_REQUEST,
    ALT_TEXT_REQUEST,
]
ROLES = ("USER:", "ASSISTANT:")


def _sentences(seed: int, videos: int) -> Iterator[str]:
    rng = random.Random(seed)
    for _ in range(videos):
        spec = draw_video(rng, UNIFORM, rng.choice(("short", "medium", "long")))
        yield caption(spec)
        yield alt_text(spec)
        yield f"{SUBTITLE_MARK} {spec.scenes[0].background} {actor_phrase(spec.actors[0])}"
        for kind in KINDS:
            question = ask(rng, UNIFORM, spec, kind)
            yield question.text
            yield " ".join([ROLES[1], question.response, ROLES[0], *question.options])
    # Repeat every word often enough to become one token, also a word that is rare in the sentences above.
    for values in VALUES.values():
        yield from (" ".join([value] * 8) for value in values for _ in range(40))
    # With these characters, any other English word is split into letters and not into bytes.
    yield "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 . , : ; ? ! ' ( ) - > / %"


def demo_words() -> list[str]:
    """All words of the demo language, as they are written after a space."""
    return sorted({*QUESTION_WORDS, *ROLES, *LETTERS, *(word for values in VALUES.values() for word in values)})


def train_tokenizer(path: Path, seed: int = 0) -> None:
    """Train the tokenizer and write it to `path` (a SentencePiece model)."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_sentences(seed, videos=400),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY_SIZE,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        byte_fallback=True,
        split_by_unicode_script=False,
        character_coverage=1.0,
        user_defined_symbols=WHOLE_PIECES,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
