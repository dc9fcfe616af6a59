"""How newer language models mark the turns of a conversation, and the name of the published way.

A format is the text between the messages. What it says in special tokens (`<|im_end|>`) is read as such; the same
characters inside a message are not, so no caption or question can end its turn.
"""

from __future__ import annotations

from dataclasses import dataclass

VICUNA_V1 = "vicuna_v1"
"""Chat-UniVi's own template, with a SentencePiece tokenizer exact to the reference; with others closed by their eos."""

EOS = "{eos}"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """The text before and after the messages of each side; `end` closes an answer and is supervised with it.

    `opening` stands before an answer and ends a prompt; `{eos}` stands for the tokenizer's own end of text.
    """

    system: tuple[str, str]
    human: tuple[str, str]
    opening: str
    end: str
    after_answer: str = ""
    before_answer: str = ""  # text in front of an answer that is supervised with it


CHAT_FORMATS = {
    VICUNA_V1: ChatFormat(("", " "), ("USER: ", " "), "ASSISTANT:", EOS, before_answer=" "),
    "chatml": ChatFormat(  # Qwen
        ("<|im_start|>system\n", "<|im_end|>\n"),
        ("<|im_start|>user\n", "<|im_end|>\n"),
        "<|im_start|>assistant\n",
        "<|im_end|>",
        "\n",
    ),
    "llama_3": ChatFormat(
        ("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
        ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
}
