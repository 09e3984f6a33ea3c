"""Does a language model use more than the last words? Ask it after its training, as it is.

    python word_model.py

In this language every sentence ends with the word that it began with, eleven words later. The model has an
embedding, two LSTM layers with dropout, and an embedding that the read-out shares.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cellbench.harness.gradients import diagnose, record

WORDS, LENGTH = 12, 12


class WordModel(nn.Module):
    """Takes words (T, B) and a state, and returns scores (T * B, words) with the new state."""

    def __init__(self, width=32, layers=2):
        super().__init__()
        self.width, self.layers = width, layers
        self.drop = nn.Dropout(0.1)
        self.embedding = nn.Embedding(WORDS, width)
        self.lstm = nn.LSTM(width, width, layers, dropout=0.1)
        self.read_out = nn.Linear(width, WORDS)
        self.read_out.weight = self.embedding.weight

    def forward(self, words, hidden):
        output, hidden = self.lstm(self.drop(self.embedding(words)), hidden)
        return self.read_out(self.drop(output)).view(-1, WORDS), hidden

    def init_hidden(self, batch):
        return tuple(torch.zeros(self.layers, batch, self.width) for _ in range(2))


def batch(size=32):
    """Words (T, B), and the word that follows each, flat as the loss takes it."""
    sentence = torch.randint(WORDS, (LENGTH, size))
    sentence = torch.cat([sentence, sentence[:1]])
    return sentence[:-1], sentence[1:].reshape(-1)


def train(model, updates):
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    with record(model) as gradients:
        for _ in range(updates):
            words, following = batch()
            output, _ = model(words, model.init_hidden(words.shape[1]))
            optimiser.zero_grad()
            cross_entropy(output, following).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimiser.step()
    return gradients


def main(updates=60):
    """What clipping did, and the diagnosis."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = WordModel()
    gradients = train(model, updates)
    print(gradients)
    diagnosis = diagnose(model, cross_entropy, [batch() for _ in range(8)])
    print(diagnosis)
    return gradients, diagnosis


if __name__ == "__main__":
    main()
