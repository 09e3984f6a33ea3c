"""A speech model with a CTC loss, whose gradient is all that there is: it has no second derivative.

    python speech_with_ctc.py

A frame shows a sound, or silence; a sound lasts for three frames. The model writes down the sounds in order.
CTC (Graves et al. 2006) needs no alignment of the two.
"""

import torch
from torch import nn

from cellbench.harness.gradients import diagnose, record

SOUNDS, FRAMES, SAID = 4, 24, 4
ctc = nn.CTCLoss(zero_infinity=True)


class Listener(nn.Module):
    """Log-probabilities (T, B, sounds and the blank) from frames (B, T, features)."""

    def __init__(self, width=24):
        super().__init__()
        self.norm = nn.LayerNorm(SOUNDS)
        self.gru = nn.GRU(SOUNDS, width, batch_first=True, bidirectional=True)
        self.read_out = nn.Linear(2 * width, SOUNDS + 1)

    def forward(self, frames):
        output, _ = self.gru(self.norm(frames))
        return self.read_out(output).log_softmax(-1).transpose(0, 1)


def loss(log_probabilities, sounds):
    steps, batch, _ = log_probabilities.shape
    said = torch.full((batch,), sounds.shape[1])
    return ctc(log_probabilities, sounds, torch.full((batch,), steps), said)


def batch(size=32):
    """Frames (B, T, features), and the sounds (B, 4) in them, counted from 1: 0 is CTC's blank."""
    sounds = torch.randint(1, SOUNDS + 1, (size, SAID))
    frames = 0.3 * torch.randn(size, FRAMES, SOUNDS)
    for k in range(SAID):
        at = 6 * k + torch.randint(3, (size, 1)) + torch.arange(3)
        frames[torch.arange(size)[:, None], at, sounds[:, k, None] - 1] += 2
    return frames, sounds


def train(model, updates):
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    with record(model) as gradients:
        for _ in range(updates):
            frames, sounds = batch()
            optimiser.zero_grad()
            loss(model(frames), sounds).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
    return gradients


def main(updates=60):
    """What clipping did, and the diagnosis."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Listener()
    gradients = train(model, updates)
    print(gradients)
    diagnosis = diagnose(model, loss, [batch() for _ in range(4)])
    print(diagnosis)
    return gradients, diagnosis


if __name__ == "__main__":
    main()
