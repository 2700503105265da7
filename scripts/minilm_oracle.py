#!/usr/bin/env python3
"""minilm_oracle - a BERT encoder's forward pass, written apart from lib/, for golden vectors

usage: scripts/minilm_oracle.py FOLDER < texts > golden.jsonl       (one text a line; needs numpy)

WordPiece, the encoder, mean pooling and normalisation straight from the definitions, in float64 over the file's f32
weights.  tests/golden/minilm.jsonl is its output for tests/golden/minilm.txt.
"""
import json, math, os, sys, unicodedata
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import modelfiles


class WordPiece:
    def __init__(self, folder):
        self.vocab = json.load(open(f"{folder}/tokenizer.json"))["model"]["vocab"]

    @staticmethod
    def punctuation(c):
        return c.isascii() and not c.isalnum() and c.isprintable() and c != " " or unicodedata.category(c)[0] == "P"

    @staticmethod
    def chinese(c):
        ranges = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
                  (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
        return any(a <= ord(c) <= b for a, b in ranges)

    def words(self, text):
        clean = ""
        for c in text:
            if c in "\t\n\r" or unicodedata.category(c) == "Zs":
                clean += " "
            elif unicodedata.category(c)[0] != "C" and c != "\ufffd":
                clean += f" {c} " if self.chinese(c) else c
        clean = "".join(c for c in unicodedata.normalize("NFD", clean.lower()) if unicodedata.category(c) != "Mn")
        for word in clean.split():
            part = ""
            for c in word:
                if self.punctuation(c):
                    if part:
                        yield part
                    yield c
                    part = ""
                else:
                    part += c
            if part:
                yield part

    def ids(self, text):
        out = [self.vocab["[CLS]"]]
        for word in self.words(text):
            pieces, start = [], 0
            while start < len(word):
                for end in range(len(word), start, -1):
                    piece = ("##" if start else "") + word[start:end]
                    if piece in self.vocab:
                        break
                else:
                    pieces = None
                    break
                pieces.append(self.vocab[piece])
                start = end
            out += pieces if pieces is not None and len(word) <= 100 else [self.vocab["[UNK]"]]
        return out + [self.vocab["[SEP]"]]


class Encoder:
    def __init__(self, folder):
        self.config = json.load(open(f"{folder}/config.json"))
        self.w = {name: np.frombuffer(raw, np.float32).reshape(shape).astype(np.float64)
                  for name, (dtype, shape, raw) in modelfiles.read_safetensors(f"{folder}/model.safetensors").items()
                  if dtype == "F32"}

    def linear(self, x, name):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def norm(self, x, name):
        d = x - x.mean(-1, keepdims=True)
        y = d / np.sqrt((d * d).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return y * self.w[name + ".weight"] + self.w[name + ".bias"]

    def __call__(self, ids):
        heads = self.config["num_attention_heads"]
        e = "embeddings."
        x = self.w[e + "word_embeddings.weight"][ids] + self.w[e + "token_type_embeddings.weight"][0]
        x = self.norm(x + self.w[e + "position_embeddings.weight"][:len(ids)], e + "LayerNorm")
        for layer in range(self.config["num_hidden_layers"]):
            p = f"encoder.layer.{layer}."
            q, k, v = (self.linear(x, p + "attention.self." + n).reshape(len(ids), heads, -1).swapaxes(0, 1)
                       for n in ("query", "key", "value"))
            s = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
            s = np.exp(s - s.max(-1, keepdims=True))
            y = (s / s.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), -1)
            x = self.norm(x + self.linear(y, p + "attention.output.dense"), p + "attention.output.LayerNorm")
            h = self.linear(x, p + "intermediate.dense")
            h = 0.5 * h * (1 + np.vectorize(math.erf)(h / math.sqrt(2)))
            x = self.norm(x + self.linear(h, p + "output.dense"), p + "output.LayerNorm")
        y = x.mean(0)
        return y / np.linalg.norm(y)


def main():
    tokenizer, encoder = WordPiece(sys.argv[1]), Encoder(sys.argv[1])
    for line in sys.stdin:
        text = line.rstrip("\n")
        ids = tokenizer.ids(text)
        print(json.dumps({"text": text, "ids": ids, "embedding": [round(float(v), 7) for v in encoder(ids)]}, ensure_ascii=False))


if __name__ == "__main__":
    main()
