import pytest
import torch

from sg.models.chat_univi.collate import collate
from sg.train.data.loading import SampleSet
from sg.train.held_out import sample_losses
from tests.train.builders import RandomClips, encoder, items, tiny_model


def test_the_losses_of_the_samples_add_up_to_the_loss_of_their_batch() -> None:
    model, samples = tiny_model().eval(), items(6)
    nats, tokens = sample_losses(model, samples, encoder(), RandomClips(), max_length=512)
    assert (tokens > 0).all()
    together = SampleSet(samples, encoder(), RandomClips(), 512)
    with torch.no_grad():
        batch = model(**collate([together[index] for index in range(6)], 512))
    assert int(batch.num_supervised) == tokens.sum()
    assert nats.sum() / tokens.sum() == pytest.approx(float(batch.loss), rel=1e-5)
    alone, _ = sample_losses(model, samples[3:4], encoder(), RandomClips(), max_length=512)
    assert alone[0] == pytest.approx(nats[3], rel=1e-6)
