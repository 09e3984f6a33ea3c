"""Ten models as people write them in PyTorch: classifiers, taggers, language models and forecasters.

Each is written as the best-known tutorials and repositories write it, not as this project would like it.
`WAYS` has a function a model, which returns the model, its loss and the batches of its training loop.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

WORDS, TAGS = 20, 5


@dataclass
class Way:
    """A model, its loss(output, target), its batches, and the cell that its recurrence is."""

    model: nn.Module
    loss: Callable
    batches: list
    cell: str


class RowClassifier(nn.Module):
    """An image row by row, with zeros made for the first state."""

    def __init__(self, input_size=8, hidden_size=12, num_layers=2, num_classes=TAGS):
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, x):
        h0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size).to(x.device)
        c0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size).to(x.device)
        out, _ = self.lstm(x, (h0, c0))
        return self.fc(out[:, -1, :])


class SentimentClassifier(nn.Module):
    """Two layers in both directions over packed words; the last hidden states are read."""

    def __init__(self, vocab_size=WORDS, embedding_dim=6, hidden_dim=8, n_layers=2, dropout=0.5):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.rnn = nn.LSTM(
            embedding_dim, hidden_dim, num_layers=n_layers, bidirectional=True, dropout=dropout
        )
        self.fc = nn.Linear(hidden_dim * 2, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text, text_lengths):
        embedded = self.dropout(self.embedding(text))
        packed = pack_padded_sequence(embedded, text_lengths.to("cpu"), enforce_sorted=False)
        _, (hidden, _) = self.rnn(packed)
        hidden = self.dropout(torch.cat((hidden[-2, :, :], hidden[-1, :, :]), dim=1))
        return self.fc(hidden)


class SentenceTagger(nn.Module):
    """One sentence at a time, without an axis for the batch."""

    def __init__(self, embedding_dim=6, hidden_dim=6, vocab_size=WORDS, tagset_size=TAGS):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim)
        self.hidden2tag = nn.Linear(hidden_dim, tagset_size)

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        lstm_out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
        tag_space = self.hidden2tag(lstm_out.view(len(sentence), -1))
        return F.log_softmax(tag_space, dim=1)


class PaddedTagger(nn.Module):
    """A dict of padded words in, scores for every step out."""

    def __init__(self, vocab=WORDS, dim=6, hidden=8, tags=TAGS):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim, padding_idx=0)
        self.encoder = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(2 * hidden, tags)

    def forward(self, input_ids, lengths):
        packed = pack_padded_sequence(
            self.embed(input_ids), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        output, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True)
        return self.classifier(output)


class WordModel(nn.Module):
    """A language model with tied weights, whose state is handed in and out."""

    def __init__(self, ntoken=WORDS, ninp=8, nhid=8, nlayers=2, dropout=0.2, tie_weights=True):
        super().__init__()
        self.ntoken, self.nhid, self.nlayers = ntoken, nhid, nlayers
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            self.decoder.weight = self.encoder.weight

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output)).view(-1, self.ntoken)
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return (
            weight.new_zeros(self.nlayers, bsz, self.nhid),
            weight.new_zeros(self.nlayers, bsz, self.nhid),
        )


class CharModel(nn.Module):
    """One character a call, through an embedding and a GRU."""

    def __init__(self, input_size=WORDS, hidden_size=8, output_size=WORDS, n_layers=1):
        super().__init__()
        self.hidden_size, self.n_layers = hidden_size, n_layers
        self.encoder = nn.Embedding(input_size, hidden_size)
        self.rnn = nn.GRU(hidden_size, hidden_size, n_layers)
        self.decoder = nn.Linear(hidden_size, output_size)

    def forward(self, input, hidden):
        batch_size = input.size(0)
        encoded = self.encoder(input)
        output, hidden = self.rnn(encoded.view(1, batch_size, -1), hidden)
        return self.decoder(output.view(batch_size, -1)), hidden

    def init_hidden(self, batch_size):
        return torch.zeros(self.n_layers, batch_size, self.hidden_size)


class NameClassifier(nn.Module):
    """A plain RNN written by hand: input and state side by side through one linear layer, a letter a call."""

    def __init__(self, input_size=6, hidden_size=8, output_size=TAGS):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)

    def forward(self, input, hidden):
        hidden = torch.tanh(self.i2h(torch.cat((input, hidden), 1)))
        return F.log_softmax(self.h2o(hidden), dim=1), hidden

    def init_hidden(self, batch_size=1):
        return torch.zeros(batch_size, self.hidden_size)


class SineForecaster(nn.Module):
    """Two cells in a loop over the steps, in float64, which go on by themselves for `future` steps."""

    def __init__(self):
        super().__init__()
        self.lstm1 = nn.LSTMCell(1, 7)
        self.lstm2 = nn.LSTMCell(7, 7)
        self.linear = nn.Linear(7, 1)

    def forward(self, input, future=0):
        outputs = []
        h_t = torch.zeros(input.size(0), 7, dtype=torch.double)
        c_t = torch.zeros(input.size(0), 7, dtype=torch.double)
        h_t2 = torch.zeros(input.size(0), 7, dtype=torch.double)
        c_t2 = torch.zeros(input.size(0), 7, dtype=torch.double)
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        for _ in range(future):
            h_t, c_t = self.lstm1(output, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        return torch.cat(outputs, dim=1)


class FlightForecaster(nn.Module):
    """A state kept in the module between calls, one window of a series at a time."""

    def __init__(self, input_size=1, hidden_layer_size=10, output_size=1):
        super().__init__()
        self.hidden_layer_size = hidden_layer_size
        self.lstm = nn.LSTM(input_size, hidden_layer_size)
        self.linear = nn.Linear(hidden_layer_size, output_size)
        self.hidden_cell = (torch.zeros(1, 1, hidden_layer_size), torch.zeros(1, 1, hidden_layer_size))

    def forward(self, input_seq):
        lstm_out, self.hidden_cell = self.lstm(input_seq.view(len(input_seq), 1, -1), self.hidden_cell)
        predictions = self.linear(lstm_out.view(len(input_seq), -1))
        return predictions[-1]


class WindowForecaster(nn.Module):
    """The last hidden state of a stacked GRU, through batch norm and a linear layer."""

    def __init__(self, features=3, hidden=8, layers=2, horizon=2):
        super().__init__()
        self.gru = nn.GRU(features, hidden, layers, batch_first=True, dropout=0.1)
        self.norm = nn.BatchNorm1d(hidden)
        self.head = nn.Linear(hidden, horizon)

    def forward(self, x):
        _, h_n = self.gru(x)
        return self.head(self.norm(h_n[-1]))


def row_classifier():
    batches = [(torch.randn(16, 10, 8), torch.randint(TAGS, (16,))) for _ in range(4)]
    return Way(RowClassifier(), nn.CrossEntropyLoss(), batches, "lstm")


def sentiment_classifier():
    def batch(steps):
        lengths = torch.randint(2, steps + 1, (16,))
        lengths[0] = steps
        text = torch.randint(1, WORDS, (steps, 16)) * (torch.arange(steps)[:, None] < lengths)
        return text, lengths, torch.randint(2, (16,)).float()

    loss = nn.BCEWithLogitsLoss()
    return Way(
        SentimentClassifier(), lambda o, y: loss(o.squeeze(1), y), [batch(t) for t in (9, 11, 8)], "lstm"
    )


def sentence_tagger():
    batches = [(torch.randint(WORDS, (t,)), torch.randint(TAGS, (t,))) for t in (5, 7, 4, 9, 6, 8) * 3]
    return Way(SentenceTagger(), nn.NLLLoss(), batches, "lstm")


def padded_tagger():
    def batch(steps):
        lengths = torch.randint(2, steps + 1, (12,))
        lengths[0] = steps
        inside = torch.arange(steps) < lengths[:, None]
        words = torch.randint(1, WORDS, (12, steps)) * inside
        labels = torch.where(inside, torch.randint(TAGS, (12, steps)), -100)
        return {"input_ids": words, "lengths": lengths, "labels": labels}

    loss = nn.CrossEntropyLoss(ignore_index=-100)
    return Way(
        PaddedTagger(),
        lambda o, y: loss(o.reshape(-1, TAGS), y.reshape(-1)),
        [batch(t) for t in (9, 7, 10)],
        "gru",
    )


def word_model():
    batches = [(torch.randint(WORDS, (12, 8)), torch.randint(WORDS, (12 * 8,))) for _ in range(4)]
    return Way(WordModel(), nn.NLLLoss(), batches, "lstm")


def char_model():
    batches = [(torch.randint(WORDS, (10, 8)), torch.randint(WORDS, (8,))) for _ in range(4)]
    return Way(CharModel(), nn.CrossEntropyLoss(), batches, "gru")


def name_classifier():
    batches = [(torch.randn(9, 8, 6), torch.randint(TAGS, (8,))) for _ in range(4)]
    return Way(NameClassifier(), nn.NLLLoss(), batches, "elman")


def sine_forecaster():
    def batch():
        t = torch.arange(21).double() / 3 + 6 * torch.rand(12, 1).double()
        return torch.sin(t[:, :-1]), torch.sin(t[:, 1:])

    return Way(SineForecaster().double(), nn.MSELoss(), [batch() for _ in range(3)], "lstm")


def flight_forecaster():
    def batch(k):
        window = torch.sin((torch.arange(13) + 5 * k) / 2)
        return window[:-1], window[-1:]

    return Way(FlightForecaster(), nn.MSELoss(), [batch(k) for k in range(24)], "lstm")


def window_forecaster():
    batches = [(torch.randn(16, 12, 3), torch.randn(16, 2)) for _ in range(4)]
    return Way(WindowForecaster(), nn.L1Loss(), batches, "gru")


WAYS = [
    row_classifier,
    sentiment_classifier,
    sentence_tagger,
    padded_tagger,
    word_model,
    char_model,
    name_classifier,
    sine_forecaster,
    flight_forecaster,
    window_forecaster,
]
