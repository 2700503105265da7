"""modelfiles - model files for scripts and tests: safetensors in and out, GGUF out; no packages

An array is (type, shape, bytes); shapes as in safetensors, the last dimension contiguous.  Types: F32 F16 I8 Q8_0 ...
"""
import json, struct

GGML = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "I8": 24,
        "BF16": 30}
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def read_safetensors(path):
    with open(path, "rb") as f:
        n, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
        data = f.read()
    header.pop("__metadata__", None)
    return {name: (e["dtype"], e["shape"], data[e["data_offsets"][0]:e["data_offsets"][1]]) for name, e in header.items()}


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def string(s):
    raw = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(raw)) + raw


def value(kind, v):
    if isinstance(kind, tuple):  # (ARRAY, kind of the items)
        return struct.pack("<IQ", kind[1], len(v)) + b"".join(value(kind[1], x) for x in v)
    if kind == STRING:
        return string(v)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<B"}[kind], v)


def write_gguf(path, settings, tensors, alignment=32):
    """settings: [(key, kind, value)], tensors: {name: (type, shape, bytes)}"""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(settings))
    for key, kind, v in settings:
        head += string(key) + struct.pack("<I", kind[0] if isinstance(kind, tuple) else kind) + value(kind, v)
    offset = 0
    for name, (dtype, shape, raw) in tensors.items():
        head += string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in reversed(shape))
        head += struct.pack("<IQ", GGML.get(dtype, dtype), offset)
        offset += len(raw) + -len(raw) % alignment
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % alignment))
        for _, _, raw in tensors.values():
            f.write(raw + b"\0" * (-len(raw) % alignment))


BERT_PARTS = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
              "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
              "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
BERT_EMBEDDINGS = {"word_embeddings.weight": "token_embd.weight", "position_embeddings.weight": "position_embd.weight",
                   "token_type_embeddings.weight": "token_types.weight", "LayerNorm.weight": "token_embd_norm.weight",
                   "LayerNorm.bias": "token_embd_norm.bias"}


def bert_gguf_name(name):
    """llama.cpp's name of a tensor of a Hugging Face BERT; None for those that embedding does not need"""
    name = name.removeprefix("bert.")
    if name.startswith("embeddings."):
        return BERT_EMBEDDINGS.get(name.removeprefix("embeddings."))
    if not name.startswith("encoder.layer."):
        return None
    layer, rest = name.removeprefix("encoder.layer.").split(".", 1)
    part, which = rest.rsplit(".", 1)
    return f"blk.{layer}.{BERT_PARTS[part]}.{which}"


def bert_settings(config, tokens, pooling=1):
    """GGUF settings from config.json and the lines of vocab.txt, as llama.cpp writes them"""
    special = [t.startswith("[") and t.endswith("]") and len(t) > 2 for t in tokens]
    text = [t if s else t[2:] if t.startswith("##") else "\u2581" + t for t, s in zip(tokens, special)]
    at = {t: i for i, t in enumerate(tokens)}
    return [
        ("general.architecture", STRING, "bert"),
        ("bert.block_count", U32, config["num_hidden_layers"]),
        ("bert.context_length", U32, config["max_position_embeddings"]),
        ("bert.embedding_length", U32, config["hidden_size"]),
        ("bert.feed_forward_length", U32, config["intermediate_size"]),
        ("bert.attention.head_count", U32, config["num_attention_heads"]),
        ("bert.attention.layer_norm_epsilon", F32, config["layer_norm_eps"]),
        ("bert.attention.causal", BOOL, 0),
        ("bert.pooling_type", U32, pooling),
        ("tokenizer.ggml.model", STRING, "bert"),
        ("tokenizer.ggml.pre", STRING, "jina-v2-en"),
        ("tokenizer.ggml.token_type_count", U32, config["type_vocab_size"]),
        ("tokenizer.ggml.tokens", (ARRAY, STRING), text),
        ("tokenizer.ggml.token_type", (ARRAY, I32), [3 if s else 1 for s in special]),
        ("tokenizer.ggml.unknown_token_id", U32, at["[UNK]"]),
        ("tokenizer.ggml.seperator_token_id", U32, at["[SEP]"]),
        ("tokenizer.ggml.padding_token_id", U32, at["[PAD]"]),
        ("tokenizer.ggml.cls_token_id", U32, at["[CLS]"]),
        ("tokenizer.ggml.mask_token_id", U32, at["[MASK]"]),
    ]
