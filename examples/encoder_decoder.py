"""Sequence to sequence: how far back does the gradient reach, in the encoder and in the decoder?

    python encoder_decoder.py

The model reads twelve numbers and writes them backwards. What it writes last, it read first.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cellbench.harness.gradients import diagnose

NUMBERS, LENGTH = 6, 12


class EncoderDecoder(nn.Module):
    """Scores (B, T, numbers) from the source (B, T), and the target one place to the right (B, T)."""

    def __init__(self, width=32):
        super().__init__()
        self.embedding = nn.Embedding(NUMBERS + 1, width)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.decoder = nn.GRU(width, width, batch_first=True)
        self.read_out = nn.Linear(width, NUMBERS)

    def forward(self, source, before):
        _, thought = self.encoder(self.embedding(source))
        output, _ = self.decoder(self.embedding(before), thought)
        return self.read_out(output)


def loss(scores, target):
    return cross_entropy(scores.transpose(1, 2), target)


def batch(size=32):
    source = torch.randint(NUMBERS, (size, LENGTH))
    target = source.flip(1)
    start = torch.full((size, 1), NUMBERS)
    return (source, torch.cat([start, target[:, :-1]], 1)), target


def train(model, updates):
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(updates):
        inputs, target = batch()
        optimiser.zero_grad()
        loss(model(*inputs), target).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()


def main(updates=60):
    """The diagnosis after the training."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = EncoderDecoder()
    train(model, updates)
    diagnosis = diagnose(model, loss, [batch() for _ in range(8)])
    print(diagnosis)
    return diagnosis


if __name__ == "__main__":
    main()
