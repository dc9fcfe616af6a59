import pytest
import torch

from sg.train.data.loading import SampleSet
from sg.train.held_out import sample_losses
from tests.train.builders import RandomClips, inputs, items, tiny_student


def test_the_losses_of_the_samples_add_up_to_the_loss_of_their_batch() -> None:
    student, samples = tiny_student(), items(6)
    nats, tokens = sample_losses(student, samples, inputs(), RandomClips(), max_length=512)
    assert (tokens > 0).all()
    together = SampleSet(samples, inputs(), RandomClips(), 512)
    with torch.no_grad():
        loss, count = student.loss(inputs().collate([together[index] for index in range(6)], 512))
    assert int(count) == tokens.sum()
    assert nats.sum() / tokens.sum() == pytest.approx(float(loss), rel=1e-5)
    alone, _ = sample_losses(student, samples[3:4], inputs(), RandomClips(), max_length=512)
    assert alone[0] == pytest.approx(nats[3], rel=1e-6)
