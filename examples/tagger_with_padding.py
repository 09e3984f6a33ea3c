"""A tagger of sentences of different length: is padding in the way, and how far does each direction see?

    python tagger_with_padding.py

The tag of a word says whether the word before it, and the word after it, are the same. Batches are the dicts
that a collate function makes; targets of padded places are -100, which the loss ignores.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cellbench.harness.gradients import diagnose

WORDS, PADDING = 4, -100


class Tagger(nn.Module):
    """Scores (B, T, 2) from words (B, T) and their lengths."""

    def __init__(self, width=16):
        super().__init__()
        self.embedding = nn.Embedding(WORDS + 1, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.read_out = nn.Linear(2 * width, 2)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embedding(words), lengths, batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.read_out(output)


def loss(scores, labels):
    return cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=PADDING)


def batch(size=32, longest=14):
    lengths = torch.randint(3, longest + 1, (size,))
    inside = torch.arange(int(lengths.max())) < lengths[:, None]
    words = torch.randint(1, WORDS + 1, inside.shape) * inside
    same = torch.zeros_like(words)
    same[:, 1:-1] = (words[:, :-2] == words[:, 2:]).long()
    return {"words": words, "lengths": lengths, "labels": same.where(inside, PADDING)}


def train(model, updates):
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(updates):
        examples = batch()
        labels = examples.pop("labels")
        optimiser.zero_grad()
        loss(model(**examples), labels).backward()
        optimiser.step()


def main(updates=60):
    """The diagnosis after the training."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Tagger()
    train(model, updates)
    diagnosis = diagnose(model, loss, [batch() for _ in range(8)])
    print(diagnosis)
    return diagnosis


if __name__ == "__main__":
    main()
