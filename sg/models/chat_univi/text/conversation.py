"""Token ids and labels of conversations, equal to the reference with any version of transformers.

See `docs/reference/chat_univi.md`, sections 10 and 11.

SentencePiece encodes each segment of text between special tokens separately, always with a dummy leading space. The
tokenizer classes of newer transformers omit that space after `</s>`, which would mask all multi-turn samples.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.dialogs import IMAGE, VIDEO
from sg.core.errors import MissingInputError, ModelError
from sg.core.files import write_json
from sg.models.chat_univi.text.special_ids import BOS_ID, EOS_ID, PAD_ID, PLACEHOLDER_ID
from sg.models.chat_univi.text.template import (
    END,
    VICUNA_SYSTEM_PROMPT,
    Conversations,
    ConversationTemplate,
    alternating_messages,
    as_text,
    rewrite_placeholders,
    vicuna_v1,
    without_marks,
)
from sg.models.student import IGNORED_LABEL

LLAMA_TOKENIZER = {
    "tokenizer_class": "LlamaTokenizer",
    "legacy": True,
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "eos_token": END,
    "unk_token": "<unk>",
    "pad_token": "<unk>",
}
"""Settings with which transformers comes closest to these ids; without `legacy` it omits the space after `</s>`."""

SPECIAL_IDS = {"<unk>": 0, "<s>": BOS_ID, END: EOS_ID}


@dataclass(frozen=True, slots=True)
class EncodedDialog:
    """Ids of a dialog (-200 = one frame) and its labels (-100 = not supervised), of equal length.

    `problem` is the reason why the reference masks the whole sample (all labels are -100), or None for a valid dialog.
    `masked_id` is an id in the text that attention masks: Llama's unk, which is also its pad. `num_cut` ids were cut
    off at its end.
    """

    input_ids: list[int]
    labels: list[int]
    problem: str | None = None
    masked_id: int = PAD_ID
    num_cut: int = 0

    @property
    def frame_counts(self) -> list[int]:
        """Length of each run of placeholders, one run per clip of the sample."""
        return run_lengths(self.input_ids)


def run_lengths(ids: Sequence[int]) -> list[int]:
    """Length of each maximal run of placeholders in `ids`."""
    counts: list[int] = []
    previous = None
    for token in ids:
        if token == PLACEHOLDER_ID:
            if previous == PLACEHOLDER_ID:
                counts[-1] += 1
            else:
                counts.append(1)
        previous = token
    return counts


class DialogEncoder:
    """Encodes dialogs for training and prompts for generation; the default template is Vicuna v1.

    Args:
        tokenizer_model_path: a SentencePiece model (`tokenizer.model`) with ids 0/1/2 for unk/bos/eos.
        system_prompt: text in front of every conversation; may be empty.
        max_length: limit of text-only dialogs. Dialogs with media are cut when they are collated.
    """

    eos_id = EOS_ID

    def __init__(
        self,
        tokenizer_model_path: Path | str,
        system_prompt: str = VICUNA_SYSTEM_PROMPT,
        max_length: int = 2048,
        template: ConversationTemplate | None = None,
    ) -> None:
        from sentencepiece import SentencePieceProcessor

        path = Path(tokenizer_model_path)
        if not path.is_file():
            raise MissingInputError(
                f"There is no tokenizer {path}: set model.tokenizer to a SentencePiece tokenizer.model."
            )
        try:
            self._pieces = SentencePieceProcessor(model_file=str(path))
        except RuntimeError as error:
            raise ModelError(
                f"{path} is not a SentencePiece model; set model.tokenizer to a tokenizer.model."
            ) from error
        special = (self._pieces.unk_id(), self._pieces.bos_id(), self._pieces.eos_id())
        if special != (0, BOS_ID, EOS_ID):
            raise ModelError(f"{path} has unk, bos, eos = {special}; a Llama tokenizer with 0, 1, 2 was expected.")
        self.template = template or vicuna_v1(system_prompt)
        self.max_length = max_length

    def __len__(self) -> int:
        return int(self._pieces.get_piece_size())

    def save_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer files for `build_encoder` and transformers' `AutoTokenizer` into a model's folder."""
        (folder / "tokenizer.model").write_bytes(self._pieces.serialized_model_proto())
        write_json(folder / "tokenizer_config.json", LLAMA_TOKENIZER)

    def encode_text(self, text: str, with_placeholders: bool = True) -> list[int]:
        """Ids of `text` without bos; `<s>`, `</s>`, `<unk>` and (if wanted) `<image>` become their ids.

        Tokens that `as_text` marked are text.
        """
        specials = SPECIAL_IDS | {IMAGE: PLACEHOLDER_ID} if with_placeholders else SPECIAL_IDS
        ids: list[int] = []
        for segment in re.split("(" + "|".join(map(re.escape, specials)) + ")", text):
            if segment in specials:
                ids.append(specials[segment])
            elif segment:
                ids.extend(self._pieces.encode(without_marks(segment)))
        return ids

    def encode_dialog(
        self, conversations: Conversations, frame_count: int = 0, max_length: int | None = None
    ) -> EncodedDialog:
        """Ids and labels of a training dialog about a clip of `frame_count` frames; 0 means text only.

        The answers and the `</s>` that close them are supervised. An invalid dialog (an empty answer, an answer with a
        role name or `<unk>`, a last turn of the human) has no supervised token, and `problem` explains why.
        `max_length` replaces that of the encoder.

        Raises:
            DataError: the turns do not alternate.
        """
        messages = alternating_messages(conversations)
        if frame_count:
            messages = [rewrite_placeholders(message, frame_count) for message in messages]
        rounds = self.template.text(messages).split(END)
        has_media = frame_count > 0
        encoded = [self.encode_text(text, has_media) for text in rounds]
        ids = [BOS_ID, *encoded[0], *(token for one in encoded[1:] for token in (EOS_ID, *one))]
        limit = max_length or self.max_length
        num_cut = 0 if has_media else max(0, len(ids) - limit)
        ids = ids[: len(ids) - num_cut]
        # The reference finds the answers by counting the ids of each round, and masks the whole sample when the counts
        # do not add up. The same samples must be masked here, so the same counting is used.
        supervised, counted = self._supervised_spans(rounds, encoded, has_media)
        num_real = len(ids) - ids.count(PAD_ID)
        labels = [IGNORED_LABEL] * len(ids)
        if counted < limit and counted != num_real:
            return EncodedDialog(ids, labels, _problem(rounds, ids), num_cut=num_cut)
        for start, end in supervised:
            labels[start:end] = ids[start:end]
        return EncodedDialog(ids, labels, num_cut=num_cut)

    def _supervised_spans(
        self, rounds: Sequence[str], encoded: Sequence[list[int]], has_media: bool
    ) -> tuple[list[tuple[int, int]], int]:
        """The spans of the answers, and the number of ids in all rounds, counted as in the reference.

        The text of a round up to and including `ASSISTANT: ` has one id more alone than within the round, for its last
        space. Each round is counted with one more id: bos in the reference, here its closing `</s>`.
        """
        answer_mark = f"{self.template.after_turn[0]}{self.template.roles[1]}: "
        spans: list[tuple[int, int]] = []
        counted = 1
        for text, ids in zip(rounds, encoded, strict=True):
            parts = text.split(answer_mark)
            if not text or len(parts) != 2:
                break
            instruction = len(self.encode_text(parts[0] + answer_mark, has_media)) - 1
            spans.append((counted + instruction, counted + len(ids) + 1))
            counted += len(ids) + 1
        return spans, counted

    def encode_prompt(self, text: str, frame_count: int = 0, reply: str = "") -> list[int]:
        """Ids of a prompt with the question `text` about a clip of `frame_count` frames, up to the answer.

        `reply` is the beginning of the answer, which the model continues.

        The frames replace `<video>` or `<image>` in `text`; without these they come first, followed by a newline.
        Without frames, `<image>` and `<video>` are text.
        """
        frames = IMAGE * frame_count
        if not frame_count and IMAGE in text:
            text = text.replace(IMAGE, as_text(IMAGE))
        if frame_count and VIDEO in text:
            text = text.replace(VIDEO, frames, 1)
        elif frame_count and IMAGE not in text:
            text = f"{frames}\n{text}"
        return self.encode_messages([text, None], reply)

    def encode_messages(self, messages: Sequence[str | None], reply: str = "") -> list[int]:
        """Ids of a conversation of several turns; None as the last message opens the answer, which `reply` begins."""
        return [BOS_ID, *self.encode_text(self.template.text(messages) + (f" {reply}" if reply else ""))]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids up to the first `</s>`, stripped, without special tokens."""
        tokens = list(ids)
        if EOS_ID in tokens:
            tokens = tokens[: tokens.index(EOS_ID)]
        text: str = self._pieces.decode([token for token in tokens if token > EOS_ID])
        return text.strip()


def _problem(rounds: Sequence[str], ids: Sequence[int]) -> str:
    """The reason why a dialog is invalid."""
    if PAD_ID in ids:
        return "holds the literal <unk>"
    if rounds[-1].endswith(":"):
        return "has an empty message"
    if rounds[-1]:
        return "ends on a turn of the human, or holds the name of a role"
    return "holds the name of a role or a special token in its text"
