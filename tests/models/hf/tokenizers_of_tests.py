"""Tiny byte-level tokenizers, made here without a download."""

from functools import lru_cache

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

WORDS = (
    "A red circle moves to the left and then it stops. The blue square is below the green triangle. What happens "
    "first? Describe the video. Answer with the letter of the best option. user assistant system You are helpful. "
    "Frame 1 seconds Time User: Assistant: one two three four frames from video 0.5 1.0 12:34 "
)


@lru_cache
def _backend(specials: tuple[str, ...]) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=360, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([WORDS], trainer)
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in specials])
    return tokenizer.to_str()


def tiny_tokenizer(
    specials: tuple[str, ...], eos: str, pad: str, bos: str | None = None, **named: str
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of about 360 tokens and `specials`; `named` gives some of them attributes."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_backend(specials)),
        eos_token=eos,
        pad_token=pad,
        bos_token=bos,
        extra_special_tokens=named or None,
    )
