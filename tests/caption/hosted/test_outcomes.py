"""What an answer is worth: its tokens as far as its request can have them, and its form as far as it has one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sg.caption.hosted.engine.items import CaptionItem
from sg.caption.hosted.run import recipe_of
from sg.caption.hosted.services.records import Answer, Usage
from tests.caption.hosted.builder import settings

ITEM = CaptionItem("k", "v", "test", "", "v.mp4", 18.0, False, 0, None, None, "")


@pytest.mark.parametrize(
    ("usage", "believed"),
    [
        (Usage(1_250, 150, 300), Usage(1_250, 150, 300)),
        (Usage(50_000, 1_200), Usage(50_000, 1_200)),
        (Usage(60_000, 150, cached=60_000, video=50_000), Usage(0, 150)),
        (Usage(3_999_999, 150), Usage(0, 150)),
        (Usage(0, 150), Usage(0, 150)),
        (Usage(1_250, 1_201), Usage(1_250)),
        (Usage(1_250, 600, 601), Usage(1_250)),
        (Usage(1_250, 0), Usage(1_250)),
        (Usage(4_000_000, 4_000_000, 4_000_000), Usage()),
    ],
)
def test_token_counts_are_believed_as_far_as_the_request_can_have_them(usage: Usage, believed: Usage) -> None:
    """18 s of video at one frame per second, and an answer of at most 600 tokens."""
    made = recipe_of(settings("http://x")).believed(Answer("A man.", "STOP", usage=usage), ITEM, {})
    assert made.usage == believed
    assert made.is_counted == (usage == believed and usage.input > 0 and usage.output > 0)


def test_a_longer_second_try_and_more_frames_may_have_more_tokens() -> None:
    longer = Answer("A man.", "STOP", usage=Usage(1_250, 2_400))
    assert recipe_of(settings("http://x")).believed(longer, ITEM, {"longer": 1}).is_counted
    many = Answer("A man.", "STOP", usage=Usage(500_000, 150))
    assert recipe_of(settings("http://x", fps=24.0)).believed(many, ITEM, {}).is_counted
    assert recipe_of(settings("http://x")).believed(many, replace(ITEM, duration_s=0.0), {}).is_counted


@pytest.mark.parametrize(
    ("text", "caption", "refused"),
    [
        ('{"caption": " A man. ", "refused": false}', "A man.", False),
        ('{"caption": "A man.", "refused": "false", "new": null}', "A man.", False),
        ('{"caption": "", "refused": "True"}', "", True),
        *(
            (text, text, True)
            for text in (
                *('{"caption": null}', '{"caption": 7}', '{"caption": ["A man."]}', '{"text": "A man."}', "null"),
                *("[]", '"A man."', "A man.", '{"caption": "A m', "[" * 100_000),
            )
        ),
    ],
)
def test_a_form_is_a_caption_only_with_a_text_in_it(text: str, caption: str, refused: bool) -> None:
    recipe = recipe_of(settings("http://x", prompt="dense_en_structured"))
    found, form = recipe._caption(Answer(text, "STOP"))
    assert found == caption
    assert form is not None and (str(form.get("refused")).lower() == "true") == refused
