"""Chat formats: how language models mark the turns of a conversation.

A format is the text between the messages. Its special tokens (`<|im_end|>`) are encoded as such. The same characters in
a message are plain text, so no caption or question can end its turn.
"""

from dataclasses import dataclass

VICUNA_V1 = "vicuna_v1"
"""Chat-UniVi's template: equal to the reference with a SentencePiece tokenizer; others end answers with their eos."""

EOS = "{eos}"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """The text before and after the messages of each side.

    Attributes:
        opening: text before an answer, which also ends a prompt.
        end: token that ends an answer and is supervised with it; `{eos}` is the end-of-text token of the tokenizer.
        before_answer: supervised text at the beginning of an answer.
    """

    system: tuple[str, str]
    human: tuple[str, str]
    opening: str
    end: str
    after_answer: str = ""
    before_answer: str = ""


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
