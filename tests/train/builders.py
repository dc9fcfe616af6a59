"""A tiny random model, dialogs and clips to train on."""

from pathlib import Path

import torch

from sg.artefacts.dialogs import Dialog, Turn
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.core.fingerprints import text_seed
from sg.core.identity import identity
from sg.models.chat_univi.config import ChatUniViConfig
from sg.models.chat_univi.inputs import ChatUniViInputs
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.processor import ChatUniViProcessor
from sg.models.chat_univi.student import ChatUniViStudent
from sg.models.chat_univi.text.conversation import DialogEncoder
from sg.train.config import StageConfig, TrainerConfig
from sg.train.data.samples import Clip, TrainingItem
from sg.train.stage import StageJob

TOKENIZER = Path(__file__).parents[1] / "goldens/chat_univi/text/tokenizer/tokenizer.model"
WIDTH = 32


def encoder() -> DialogEncoder:
    return DialogEncoder(TOKENIZER, system_prompt="")


def inputs() -> ChatUniViInputs:
    return ChatUniViInputs(encoder(), ChatUniViProcessor(64))


def tiny_model(seed: int = 0, key_value_heads: int = 2) -> ChatUniViForConditionalGeneration:
    torch.manual_seed(seed)
    text = {"model_type": "llama", "vocab_size": 700, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": key_value_heads,
            "max_position_embeddings": 512}  # fmt: skip
    vision = {"model_type": "clip_vision_model", "hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 3,
              "num_attention_heads": 2, "image_size": 64, "patch_size": 16}  # fmt: skip
    config = ChatUniViConfig(
        text_config=text, vision_config=vision, spatial_clusters=[8, 4, 2], temporal_cluster_rate=0.125
    )
    return ChatUniViForConditionalGeneration(config)


def tiny_student() -> ChatUniViStudent:
    return ChatUniViStudent(tiny_model())


class RandomClips:
    """Clips of eight frames as 14 random visual tokens, seeded by their key."""

    def facts(self, clip: Clip) -> ClipFacts:
        return ClipFacts(range(8), 1.0, 8, 64, 64)

    def read(self, clip: Clip) -> ClipTensors:
        tokens = torch.randn(14, WIDTH, generator=torch.Generator().manual_seed(text_seed(clip.key)))
        return ClipTensors(clip.key, self.facts(clip), {"tokens": tokens}, are_features=True)


def items(count: int) -> list[TrainingItem]:
    words = ["red", "green", "blue", "ball", "box", "tent", "spins", "rests", "slides"]
    made = []
    for number in range(count):
        text = " ".join(words[text_seed(number, place) % len(words)] for place in range(2 + number % 5))
        turns = (Turn("human", "<video>\nWhat is it?"), Turn("gpt", text))
        name = f"{number}.mp4"
        made.append(TrainingItem(Dialog(str(number), "video", name, turns), Clip(name, Path(name))))
    return made


def stage_job(folder: Path, count: int = 40, **settings: object) -> StageJob:
    values = {"name": "caption", "trains": ["connector", "language_model"], "samples": "captions", "requests": ["?"],
              "learning_rate": 1e-3, "batch_size": 4, "group_by_length": True} | settings  # fmt: skip
    stage = StageConfig(**values)  # type: ignore[arg-type]
    work = identity("stage", settings=stage, version=1)
    return StageJob(stage, items(count), count * stage.epochs, seed=0, identity=work, parent=None, folder=folder)


def trainer_config(**settings: object) -> TrainerConfig:
    return TrainerConfig(**({"checkpoint_every_steps": 4} | settings))  # type: ignore[arg-type]
