"""lmfiles - tiny language models of random weights, for gen-model: settings, tokenizers, tensors; no packages

A model is (settings, tensors) as modelfiles.write_gguf() takes them.  Every tensor has its own random stream, named after its
seed and its name, so a model's bytes depend on nothing else.  Weights are uniform, scaled so that scores, gates and logits
spread as in trained models: attention picks, and the best token leads by more than rounding.
"""
import array, json, math, os, random, struct

import modelfiles as m

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data")
TOP = 2 ** 15

CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
GEMMA = ("{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
         "{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
         "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}")
DEEPSEEK = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{'<｜User｜>' + message['content']}}"
            "{% elif message['role'] == 'assistant' %}{{'<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{% else %}"
            "{{ message['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{'<｜Assistant｜>'}}{% endif %}")


# --- values -------------------------------------------------------------------------------------
def uniform(rng, n, std, mean=0.0):
    raw = array.array("h", rng.randbytes(2 * n))
    scale = std * math.sqrt(3) / TOP
    return array.array("f", (mean + scale * x for x in raw))


def floats(dtype, values):
    if dtype == "F32":
        return values.tobytes()
    if dtype == "F16":
        return struct.pack(f"<{len(values)}e", *values)
    raw = values.tobytes()  # BF16
    out = bytearray(len(raw) // 2)
    out[0::2], out[1::2] = raw[2::4], raw[3::4]
    return bytes(out)


def half(x):
    return struct.pack("<e", x)


def six_bits(scale, least):
    """The 12 bytes of Q4_K and Q5_K: eight scales and eight minima of 6 bits."""
    low = bytes(scale[i] | (scale[i + 4] >> 4) << 6 for i in range(4)) + bytes(least[i] | (least[i + 4] >> 4) << 6 for i in range(4))
    return low + bytes(scale[i + 4] & 15 | (least[i + 4] & 15) << 4 for i in range(4))


def block(dtype, rng, std):
    """A block of that type: random integers, a scale that gives the values about this deviation."""
    s = std * (0.6 + 0.8 * rng.random())
    sign = rng.choice((-1, 1))
    if dtype == "Q8_0":
        return half(sign * s / 73.6) + bytes(b if b != 128 else 127 for b in rng.randbytes(32))
    if dtype == "Q4_0":
        return half(sign * s / 4.61) + rng.randbytes(16)
    if dtype == "Q5_0":
        return half(sign * s / 9.23) + rng.randbytes(20)
    if dtype == "Q4_1":
        d = s / 4.61
        return half(d) + half(-d * (7.5 + rng.uniform(-1, 1))) + rng.randbytes(16)
    if dtype == "Q5_1":
        d = s / 9.23
        return half(d) + half(-d * (15.5 + rng.uniform(-2, 2))) + rng.randbytes(20)
    if dtype in ("Q4_K", "Q5_K"):
        top = 15 if dtype == "Q4_K" else 31
        scale = [rng.randint(24, 63) for _ in range(8)]
        least = [min(63, max(0, x + rng.randint(-6, 6))) for x in scale]
        d = s / (43.5 * (top + 1) / math.sqrt(12))
        return half(d) + half(d * top / 2) + six_bits(scale, least) + rng.randbytes(128 if top == 15 else 160)
    assert dtype == "Q6_K"
    scale = struct.pack("<16b", *(rng.choice((-1, 1)) * rng.randint(50, 127) for _ in range(16)))
    return rng.randbytes(192) + scale + half(s / (18.5 * 91))


BLOCK = {"Q8_0": 32, "Q4_0": 32, "Q4_1": 32, "Q5_0": 32, "Q5_1": 32, "Q4_K": 256, "Q5_K": 256, "Q6_K": 256}


def matrix(dtype, rng, n, std):
    if dtype in BLOCK:
        return b"".join(block(dtype, rng, std) for _ in range(n // BLOCK[dtype]))
    return floats(dtype, uniform(rng, n, std))


# --- tokenizers ---------------------------------------------------------------------------------
def bpe(pre, specials, bos, eos, template, **keys):
    """The vocabulary of tests/data/tiny-bpe with these control tokens after it; keys: further tokenizer.ggml.* tokens by name."""
    with open(os.path.join(DATA, "tiny-bpe.json"), encoding="utf-8") as f:
        model = json.load(f)["model"]
    tokens = list(model["vocab"]) + specials + ["<tool>"]
    at = {t: i for i, t in enumerate(tokens)}
    ids = dict(bos=bos, eos=eos, **keys)
    return len(tokens), [
        ("tokenizer.ggml.model", m.STRING, "gpt2"),
        ("tokenizer.ggml.pre", m.STRING, pre),
        ("tokenizer.ggml.tokens", (m.ARRAY, m.STRING), tokens),
        ("tokenizer.ggml.token_type", (m.ARRAY, m.I32), [1] * len(model["vocab"]) + [3] * len(specials) + [4]),
        ("tokenizer.ggml.merges", (m.ARRAY, m.STRING), model["merges"]),
        *((f"tokenizer.ggml.{k}_token_id", m.U32, at[t]) for k, t in ids.items()),
        ("tokenizer.ggml.add_bos_token", m.BOOL, bos.startswith("<｜")),
        ("tokenizer.chat_template", m.STRING, template),
    ]


def chatml(pre):
    return bpe(pre, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|im_start|>", "<|im_end|>", CHATML, padding="<|endoftext|>")


def deepseek_tokens():
    marks = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"]
    return bpe("deepseek-v3", marks, marks[0], marks[1], DEEPSEEK)


def spm():
    """The vocabulary of tests/data/tiny-spm, with Gemma's turns."""
    with open(os.path.join(DATA, "tiny-spm.json"), encoding="utf-8") as f:
        vocab = list(json.load(f)["model"]["vocab"])
    tokens = ["<unk>", "<bos>", "<eos>"] + vocab[3:] + ["<start_of_turn>", "<end_of_turn>"]
    n = len(vocab) - 259
    at = {t: i for i, t in enumerate(tokens)}
    return len(tokens), [
        ("tokenizer.ggml.model", m.STRING, "llama"),
        ("tokenizer.ggml.pre", m.STRING, "default"),
        ("tokenizer.ggml.tokens", (m.ARRAY, m.STRING), tokens),
        ("tokenizer.ggml.scores", (m.ARRAY, m.F32), [0.0] * 259 + [-float(i) for i in range(n)] + [-1000.0] * 2),
        ("tokenizer.ggml.token_type", (m.ARRAY, m.I32), [2, 3, 3] + [6] * 256 + [1] * n + [3] * 2),
        ("tokenizer.ggml.bos_token_id", m.U32, 1),
        ("tokenizer.ggml.eos_token_id", m.U32, 2),
        ("tokenizer.ggml.unknown_token_id", m.U32, 0),
        ("tokenizer.ggml.eot_token_id", m.U32, at["<end_of_turn>"]),
        ("tokenizer.ggml.add_bos_token", m.BOOL, 1),
        ("tokenizer.ggml.add_space_prefix", m.BOOL, 0),
        ("tokenizer.chat_template", m.STRING, GEMMA),
    ]


# --- tensors ------------------------------------------------------------------------------------
class Tensors:
    """Tensors as they are made; types: one type, or {part of a name: type or types by layer}, "" for all others."""

    def __init__(self, seed, types):
        self.seed, self.types, self.out = seed, types if isinstance(types, dict) else {"": types}, {}

    def type_of(self, name):
        key = max((k for k in self.types if k in name), key=len)
        kind = self.types[key]
        layer = int(name.split(".")[1]) if name.startswith("blk.") else 0
        return kind[layer % len(kind)] if isinstance(kind, (list, tuple)) else kind

    def rng(self, name):
        return random.Random(f"{self.seed}/{name}")

    def weight(self, name, *shape, gain=1.0):
        """[..][rows][k], of deviation gain / sqrt(k)"""
        dtype = self.type_of(name)
        self.out[name + ".weight"] = (dtype, list(shape), matrix(dtype, self.rng(name), math.prod(shape), gain / math.sqrt(shape[-1])))

    def vector(self, name, n, std, mean=0.0):
        self.out[name] = ("F32", [n], floats("F32", uniform(self.rng(name), n, std, mean)))

    def norm(self, name, n, mean=1.0):
        self.vector(name + ".weight", n, 0.2 * mean, mean)


def embeddings(t, c, n_vocab):
    # Gemma multiplies what it looks up by the square root of n_embd
    t.weight("token_embd", n_vocab, c["n_embd"], gain=1.0 if c["arch"] == "gemma3" else math.sqrt(c["n_embd"]) / 4)
    t.norm("output_norm", c["n_embd"], 2.0 if c["arch"] == "gemma3" else 1.0)
    if not c.get("tied"):
        t.weight("output", n_vocab, c["n_embd"], gain=2.0)


def dense_ffn(t, b, n, ff):
    t.weight(b + "ffn_gate", ff, n, gain=1.5)
    t.weight(b + "ffn_up", ff, n, gain=1.5)
    t.weight(b + "ffn_down", n, ff, gain=1.2)


def attention(t, b, c):
    n, d = c["n_embd"], c["head_dim"]
    for name, heads, gain in (("attn_q", c["n_head"], 1.4), ("attn_k", c["n_kv"], 1.4), ("attn_v", c["n_kv"], 1.2)):
        t.weight(b + name, heads * d, n, gain=gain)
        if c["arch"] == "qwen2":  # the K bias of the real ones is far above its keys
            t.vector(b + name + ".bias", heads * d, 2.0 if name == "attn_k" else 0.3)
    if c["arch"] == "gemma3":
        t.norm(b + "attn_q_norm", d, 1.3)
        t.norm(b + "attn_k_norm", d, 1.3)
    t.weight(b + "attn_output", n, c["n_head"] * d, gain=1.2)


def plain_layers(t, c):
    """llama, qwen2, gemma3"""
    for layer in range(c["n_layer"]):
        b, n = f"blk.{layer}.", c["n_embd"]
        t.norm(b + "attn_norm", n)
        attention(t, b, c)
        t.norm(b + "ffn_norm", n)
        dense_ffn(t, b, n, c["n_ff"])
        if c["arch"] == "gemma3":
            t.norm(b + "post_attention_norm", n)
            t.norm(b + "post_ffw_norm", n)
    if c.get("freqs"):
        half_dim = c["head_dim"] // 2
        t.out["rope_freqs.weight"] = ("F32", [half_dim], struct.pack(f"<{half_dim}f", *(1 + 7 * i / half_dim for i in range(half_dim))))


def split_kv_b(t, b, c, dtype):
    """kv_b, and what newer converters make of it: k_b, transposed per head, and v_b; the same values when they are floats"""
    heads, nope, v, r = c["n_head"], c["nope"], c["dim_v"], c["kv_lora"]
    if dtype in BLOCK:
        t.weight(b + "attn_k_b", heads, r, nope, gain=1.4 * math.sqrt(nope / r))
        t.weight(b + "attn_v_b", heads, v, r, gain=1.2)
        return
    values = uniform(t.rng(b + "attn_kv_b"), heads * (nope + v) * r, 1.4 / math.sqrt(r))
    if not c["split"]:
        t.out[b + "attn_kv_b.weight"] = (dtype, [heads * (nope + v), r], floats(dtype, values))
        return
    k_b, v_b = array.array("f"), array.array("f")
    for h in range(heads):
        rows = [values[(h * (nope + v) + i) * r:(h * (nope + v) + i + 1) * r] for i in range(nope + v)]
        for j in range(r):
            k_b.extend(rows[i][j] for i in range(nope))
        for row in rows[nope:]:
            v_b.extend(row)
    t.out[b + "attn_k_b.weight"] = (dtype, [heads, r, nope], floats(dtype, k_b))
    t.out[b + "attn_v_b.weight"] = (dtype, [heads, v, r], floats(dtype, v_b))


def mla(t, b, c):
    n, heads, dim_k = c["n_embd"], c["n_head"], c["nope"] + c["rope"]
    if c["q_lora"]:
        t.weight(b + "attn_q_a", c["q_lora"], n)
        t.norm(b + "attn_q_a_norm", c["q_lora"])
        t.weight(b + "attn_q_b", heads * dim_k, c["q_lora"], gain=1.4)
    else:
        t.weight(b + "attn_q", heads * dim_k, n, gain=1.4)
    t.weight(b + "attn_kv_a_mqa", c["kv_lora"] + c["rope"], n, gain=1.2)
    t.norm(b + "attn_kv_a_norm", c["kv_lora"])
    split_kv_b(t, b, c, t.type_of(b + "attn_kv_b"))
    t.weight(b + "attn_output", n, heads * c["dim_v"], gain=1.2)


def moe(t, b, c):
    n, ff, experts = c["n_embd"], c["n_ff_exp"], c["n_expert"]
    t.out[b + "ffn_gate_inp.weight"] = ("F32", [experts, n], matrix("F32", t.rng(b + "ffn_gate_inp"), experts * n, 1.5 / math.sqrt(n)))
    if c.get("bias"):
        t.vector(b + "exp_probs_b.bias", experts, 0.2)
    t.weight(b + "ffn_gate_exps", experts, ff, n, gain=1.5)
    t.weight(b + "ffn_up_exps", experts, ff, n, gain=1.5)
    if c.get("fused"):  # each expert's gate before its up
        (dtype, _, gate), (_, _, up) = (t.out.pop(b + f"ffn_{part}_exps.weight") for part in ("gate", "up"))
        size = len(gate) // experts
        both = b"".join(raw[i * size:(i + 1) * size] for i in range(experts) for raw in (gate, up))
        t.out[b + "ffn_gate_up_exps.weight"] = (dtype, [experts, 2 * ff, n], both)
    t.weight(b + "ffn_down_exps", experts, n, ff, gain=1.2)
    for name, rows, k in (("gate", ff * c["n_shared"], n), ("up", ff * c["n_shared"], n), ("down", n, ff * c["n_shared"])):
        t.weight(b + f"ffn_{name}_shexp", rows, k, gain=1.2)


def deepseek_layers(t, c):
    for layer in range(c["n_layer"]):
        b, n = f"blk.{layer}.", c["n_embd"]
        t.norm(b + "attn_norm", n)
        mla(t, b, c)
        t.norm(b + "ffn_norm", n)
        if layer < c["n_dense"]:
            dense_ffn(t, b, n, c["n_ff"])
        else:
            moe(t, b, c)
    for layer in range(c["n_layer"], c["n_layer"] + c.get("predict", 0)):
        t.weight(f"blk.{layer}.nextn.eh_proj", c["n_embd"], 2 * c["n_embd"])


# --- settings -----------------------------------------------------------------------------------
def settings(c, tokens, n_vocab):
    a = c["arch"]
    out = [("general.architecture", m.STRING, a), ("general.name", m.STRING, "tiny " + c["name"])]

    def put(key, kind, v):
        out.append((f"{a}.{key}", kind, v))

    for key, field in (("vocab_size", None), ("block_count", "n_layer"), ("context_length", "n_context"), ("embedding_length", "n_embd"),
                       ("feed_forward_length", "n_ff"), ("attention.head_count", "n_head")):
        put(key, m.U32, c[field] + (c.get("predict", 0) if field == "n_layer" else 0) if field else n_vocab)
    put("attention.layer_norm_rms_epsilon", m.F32, c.get("eps", 1e-5))
    put("rope.freq_base", m.F32, c.get("base", 10000.0))
    if a == "deepseek2":
        put("attention.head_count_kv", m.U32, 1 if c["split"] else c["n_head"])
        put("attention.key_length", m.U32, c["kv_lora"] + c["rope"] if c["split"] else c["nope"] + c["rope"])
        put("attention.value_length", m.U32, c["kv_lora"] if c["split"] else c["dim_v"])
        if c["split"]:
            put("attention.key_length_mla", m.U32, c["nope"] + c["rope"])
            put("attention.value_length_mla", m.U32, c["dim_v"])
        put("attention.q_lora_rank", m.U32, c["q_lora"])
        put("attention.kv_lora_rank", m.U32, c["kv_lora"])
        put("rope.dimension_count", m.U32, c["rope"])
        for key, field in (("leading_dense_block_count", "n_dense"), ("expert_count", "n_expert"), ("expert_used_count", "n_used"),
                           ("expert_shared_count", "n_shared"), ("expert_feed_forward_length", "n_ff_exp"), ("expert_gating_func", "gating"),
                           ("expert_group_count", "groups"), ("expert_group_used_count", "groups_used")):
            if field in c:
                put(key, m.U32, c[field])
        if "predict" in c:
            put("nextn_predict_layers", m.U32, c["predict"])
        put("expert_weights_scale", m.F32, c["w_scale"])
        put("expert_weights_norm", m.BOOL, c["w_norm"])
    else:
        put("attention.head_count_kv", m.U32, c["n_kv"])
        if a == "gemma3" or c.get("lengths"):
            put("attention.key_length", m.U32, c["head_dim"])
            put("attention.value_length", m.U32, c["head_dim"])
        if a != "gemma3":
            put("rope.dimension_count", m.U32, c["head_dim"])
    if "window" in c:
        put("attention.sliding_window", m.U32, c["window"])
    if "pattern" in c:
        put("attention.sliding_window_pattern", *c["pattern"])
    for key, (kind, v) in c.get("scaling", {}).items():
        put("rope.scaling." + key, kind, v)
    return out + tokens


def build(c):
    """(settings, tensors) of a description"""
    t = Tensors(c.get("seed", c["name"]), c["types"])
    n_vocab, tokens = {"llama": lambda: chatml("smollm"), "qwen2": lambda: chatml("qwen2"), "gemma3": spm, "deepseek2": deepseek_tokens}[c["arch"]]()
    embeddings(t, c, n_vocab)
    (deepseek_layers if c["arch"] == "deepseek2" else plain_layers)(t, c)
    return settings(c, tokens, n_vocab), t.out


# --- descriptions -------------------------------------------------------------------------------
MIX = {"": ("Q4_1", "Q5_0", "Q4_0"), "attn_v": ("Q8_0", "Q5_1"), "attn_output": ("F16", "BF16", "F32"), "token_embd": "Q8_0",
       "output": "Q8_0", "attn_output_norm": "F32"}
MIX_K = {"": ("Q4_K", "Q5_K", "Q6_K"), "ffn_down": ("Q6_K", "Q4_K"), "attn_v": ("Q5_K", "Q6_K"), "token_embd": "Q4_K", "output": "Q6_K",
         "attn_output": ("Q4_K", "Q5_K")}
# as in published Q4_K_M files of narrow models: rows of n_embd values do not fit K-quants, those of n_ff do
MIX_SMALL = {"": "Q5_0", "attn_v": ("Q8_0", "Q5_0"), "ffn_down": ("Q4_K", "Q6_K"), "token_embd": "Q8_0", "output": "Q8_0"}

LLAMA = {"arch": "llama", "n_layer": 3, "n_context": 1024, "n_embd": 64, "n_head": 4, "n_kv": 2, "head_dim": 16, "n_ff": 128}
QWEN2 = {"arch": "qwen2", "n_layer": 3, "n_context": 1024, "n_embd": 96, "n_head": 3, "n_kv": 1, "head_dim": 32, "n_ff": 256,
         "eps": 1e-6, "base": 1e6}
GEMMA3 = {"arch": "gemma3", "n_layer": 7, "n_context": 1024, "n_embd": 64, "n_head": 4, "n_kv": 1, "head_dim": 32, "n_ff": 96, "tied": True,
          "eps": 1e-6, "base": 1e6, "window": 16}
DEEPSEEK2 = {"arch": "deepseek2", "n_layer": 3, "n_context": 1024, "n_embd": 64, "n_head": 4, "n_ff": 96, "q_lora": 32, "kv_lora": 32,
             "nope": 32, "rope": 16, "dim_v": 32, "split": True, "n_dense": 1, "n_expert": 8, "n_used": 3, "n_shared": 2, "n_ff_exp": 32,
             "w_scale": 1.0, "w_norm": False, "eps": 1e-6,
             "scaling": {"type": (m.STRING, "yarn"), "factor": (m.F32, 8.0), "original_context_length": (m.U32, 128),
                         "yarn_log_multiplier": (m.F32, 0.0707)}}
V3 = dict(DEEPSEEK2, n_expert=16, n_used=4, n_shared=1, gating=2, groups=4, groups_used=2, w_scale=2.5, w_norm=True, bias=True,
          scaling=dict(DEEPSEEK2["scaling"], yarn_log_multiplier=(m.F32, 0.1)))
LLAMA31 = {"freqs": True, "tied": True, "lengths": True, "base": 500000.0}
LINEAR = {"type": (m.STRING, "linear"), "factor": (m.F32, 8.0)}
# 16 tokens are fewer than are read, so that pairs of every speed turn by other angles than without
YARN = {"type": (m.STRING, "yarn"), "factor": (m.F32, 4.0), "original_context_length": (m.U32, 16), "attn_factor": (m.F32, 1.1)}

MODELS = {c["name"]: c for c in (
    dict(LLAMA, name="llama-f32", types="F32"),
    dict(LLAMA, name="llama-f16", types="F16"),
    dict(LLAMA, name="llama-bf16", types="BF16"),
    dict(LLAMA, name="llama-freqs", types="F32", **LLAMA31),
    dict(LLAMA, name="llama-linear", types="F32", scaling=LINEAR),
    dict(LLAMA, name="llama-q8_0", types="Q8_0"),
    dict(LLAMA, name="llama-long", types="Q8_0", n_context=16384),
    dict(LLAMA, name="llama-q4_0", types="Q4_0", n_kv=4),
    dict(LLAMA, name="llama-q4_1", types={"": "Q4_1", "token_embd": "Q8_0"}, tied=True),
    dict(LLAMA, name="llama-q5", types={"": ("Q5_0", "Q5_1")}, n_kv=1),
    dict(LLAMA, name="llama-mix", types=MIX),
    dict(LLAMA, name="llama-k", types=MIX_K, n_layer=2, n_embd=256, n_head=8, n_kv=2, head_dim=32, n_ff=256),
    dict(QWEN2, name="qwen2-f32", types="F32"),
    dict(QWEN2, name="qwen2-yarn", types="F32", scaling=YARN),
    dict(QWEN2, name="qwen2-mix", types=MIX_SMALL),
    dict(GEMMA3, name="gemma3-f32", types="F32"),
    dict(GEMMA3, name="gemma3-linear", types="F32", n_layer=12, n_kv=2, scaling=LINEAR),
    dict(GEMMA3, name="gemma3-pattern", types="F32", pattern=((m.ARRAY, m.BOOL), [1, 0, 0, 1, 1, 0, 1])),
    dict(GEMMA3, name="gemma3-period", types="F32", n_layer=4, window=8, pattern=(m.U32, 2)),
    dict(GEMMA3, name="gemma3-mix", types=MIX_SMALL, n_head=2, head_dim=256, n_ff=256),
    dict(DEEPSEEK2, name="deepseek2-lite", types="F32", q_lora=0, seed="lite2"),
    dict(DEEPSEEK2, name="deepseek2-lite-old", types="F32", q_lora=0, split=False, seed="lite2"),
    dict(DEEPSEEK2, name="deepseek2-v2", types="F32", n_expert=16, n_used=4, groups=4, groups_used=2, gating=1, w_scale=1.5),
    dict(V3, name="deepseek2-v3", types="F32"),
    dict(V3, name="deepseek2-v3-fused", types="F32", predict=1, fused=True, seed="deepseek2-v3"),
    dict(V3, name="deepseek2-v3-mix", types={"": ("Q4_0", "Q5_0", "Q4_1"), "attn_k_b": "Q8_0", "attn_v_b": "Q8_0", "attn_kv_b": "Q8_0",
                                            "token_embd": "Q8_0", "output": "Q8_0", "ffn_down": ("Q5_1", "Q8_0", "F16")}),
)}


# --- adapters -----------------------------------------------------------------------------------
def lora(c, rank, alpha, parts, dtype="F32"):
    """(settings, tensors) of a low-rank adapter of the model c: of every matrix whose name ends with one of the parts"""
    _, base = build(c)
    t = Tensors(c["name"] + "/lora", dtype)
    for name, (_, shape, _) in base.items():
        if not name.endswith(".weight") or name.split(".")[-2] not in parts:
            continue
        n, k = shape
        if name == "token_embd.weight":
            t.weight(name + ".lora_a", n, rank, gain=math.sqrt(rank))
        else:
            t.weight(name + ".lora_a", rank, k)
        t.weight(name + ".lora_b", k if name == "token_embd.weight" else n, rank, gain=0.5)
    tensors = {name.removesuffix(".weight"): v for name, v in t.out.items()}
    return [("general.type", m.STRING, "adapter"), ("general.architecture", m.STRING, c["arch"]), ("general.name", m.STRING, "tiny adapter"),
            ("adapter.type", m.STRING, "lora"), ("adapter.lora.alpha", m.F32, alpha)], tensors


ALL = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
LORAS = {
    "lora-llama": (MODELS["llama-f32"], 8, 16.0, ALL + ("output", "token_embd")),
    "lora-llama-q4_1": (MODELS["llama-q4_1"], 32, 0.0, ALL, {"": "F16", "lora_a": "Q8_0"}),
    "lora-wide": (MODELS["llama-q8_0"], 160, 80.0, ("attn_q", "attn_output")),  # more than anything in the model
    "lora-qwen2": (MODELS["qwen2-f32"], 4, 8.0, ("attn_q", "attn_v", "ffn_down"), "F16"),
    "lora-gemma3": (MODELS["gemma3-f32"], 5, 10.0, ALL),
    "lora-deepseek2": (MODELS["deepseek2-v3"], 8, 16.0, ("attn_output", "ffn_gate", "ffn_down", "ffn_up_shexp", "ffn_down_shexp")),
}


# --- layers taken out ----------------------------------------------------------------------------
def without(*gone):
    """A spoiler: the layers are gone, the others numbered anew."""
    def spoil(kvs, tensors):
        n = next(kv[2] for kv in kvs if kv[0].endswith("block_count"))
        kept = [i for i in range(n) if i not in gone]
        key("block_count", len(kept))(kvs, tensors)
        for name in [name for name in tensors if name.startswith("blk.")]:
            _, i, rest = name.split(".", 2)
            tensor = tensors.pop(name)
            if int(i) in kept:
                tensors[f"blk.{kept.index(int(i))}.{rest}"] = tensor
    return spoil


CUTS = {"llama-mix-cut": (MODELS["llama-mix"], without(1)), "deepseek2-v3-cut": (MODELS["deepseek2-v3"], without(2))}


# --- spoilt ones --------------------------------------------------------------------------------
SMALL = dict(LLAMA, name="small", types="F32", n_layer=1, n_embd=32, n_head=2, n_kv=1, n_ff=32, n_context=64)
SMALL_K = dict(SMALL, name="small-k", types="Q4_K", n_embd=256, n_ff=256, head_dim=128)
SMALL_V3 = dict(V3, name="small-v3", types="F32", n_layer=2, n_context=64, n_embd=32, n_head=2, n_ff=32, n_expert=4, groups=2, groups_used=1,
                n_used=2, rope=16, nope=16, dim_v=16, q_lora=16, kv_lora=16, n_ff_exp=16)
SMALL_GEMMA3 = dict(GEMMA3, name="small-gemma3", types="F32", n_layer=6, n_embd=32, n_head=1, head_dim=16, n_ff=16, n_context=64)
NAN = struct.pack("<f", math.nan)


def key(name, v):
    """A spoiler: the setting gets that value; None takes it away."""
    def spoil(kvs, tensors):
        at = next(i for i, kv in enumerate(kvs) if kv[0].endswith(name))
        kvs[at:at + 1] = [] if v is None else [(kvs[at][0], kvs[at][1], v)]
    return spoil


def tensor(name, dtype=None, shape=None, raw=None, gone=False):
    """A spoiler: the tensor is another, or gone."""
    def spoil(kvs, tensors):
        old = tensors.pop(name)
        if not gone:
            tensors[name] = (old[0] if dtype is None else dtype, shape or old[1], raw or old[2])
    return spoil


def poison(name, at, raw):
    """A spoiler: these bytes at that place of the tensor."""
    def spoil(kvs, tensors):
        dtype, shape, old = tensors[name]
        tensors[name] = (dtype, shape, old[:at] + raw + old[at + len(raw):])
    return spoil


def untied(kvs, tensors):
    """One token more in the head than in the vocabulary."""
    dtype, (n, k), raw = tensors["output.weight"]
    tensors["output.weight"] = (dtype, [n + 1, k], raw + bytes(4 * k))


BAD = {
    "missing-tensor": (SMALL, tensor("blk.0.ffn_up.weight", gone=True)),
    "missing-norm": (SMALL, tensor("output_norm.weight", gone=True)),
    "missing-embeddings": (SMALL, tensor("token_embd.weight", gone=True)),
    "dims": (SMALL, tensor("blk.0.attn_k.weight", shape=[15, 32], raw=bytes(15 * 128))),
    "transposed": (dict(SMALL, n_ff=64), tensor("blk.0.ffn_down.weight", shape=[64, 32])),
    "type": (SMALL, tensor("blk.0.attn_q.weight", dtype=26)),
    "unknown-type": (SMALL, tensor("blk.0.attn_q.weight", dtype=77)),
    "norm-type": (SMALL, tensor("blk.0.attn_norm.weight", dtype="Q8_0", raw=bytes(34))),
    "architecture": (SMALL, key("general.architecture", "mamba")),
    "vocabulary": (SMALL, untied),
    "tokens": (SMALL, tensor("token_embd.weight", shape=[300, 32], raw=bytes(300 * 128))),
    "context-0": (SMALL, key("context_length", 0)),
    "layers-0": (SMALL, key("block_count", 0)),
    "layers-huge": (SMALL, key("block_count", 0xffffffff)),
    "layers-more": (SMALL, key("block_count", 2)),
    "embd-huge": (SMALL, key("embedding_length", 0xfffffff0)),
    "embd-0": (SMALL, key("embedding_length", 0)),
    "ff-huge": (SMALL, key("feed_forward_length", 0xffffffe0)),
    "heads-0": (SMALL, key("attention.head_count", 0)),
    "heads": (SMALL, key("attention.head_count", 5)),
    "heads-huge": (SMALL, key("attention.head_count", 0x80000000)),
    "kv-heads": (dict(SMALL, n_kv=2), key("attention.head_count_kv", 3)),
    "kv-heads-0": (SMALL, key("attention.head_count_kv", 0)),
    "head-dim": (dict(SMALL, lengths=True, head_dim=24), None),
    "rope-dim": (SMALL, key("rope.dimension_count", 7)),
    "rope-base": (SMALL, key("rope.freq_base", math.nan)),
    "rope-scaling": (dict(SMALL, scaling={"type": (m.STRING, "longrope")}), None),
    "rope-factor": (dict(SMALL, scaling=dict(LINEAR, factor=(m.F32, 0.0))), None),
    "eps": (SMALL, key("layer_norm_rms_epsilon", -1.0)),
    "no-eps": (SMALL, key("layer_norm_rms_epsilon", None)),
    "no-heads": (SMALL, key("attention.head_count", None)),
    "nan": (SMALL, poison("blk.0.ffn_norm.weight", 16, NAN)),
    "nan-matrix": (SMALL, poison("blk.0.attn_v.weight", 400, NAN)),
    "nan-embedding": (SMALL, poison("token_embd.weight", 4 * 32 * 84, NAN)),
    "inf-scale": (dict(SMALL, types="Q8_0"), poison("blk.0.ffn_down.weight", 34, b"\x00\x7c")),
    "inf-min": (SMALL_K, poison("blk.0.attn_q.weight", 2, b"\x00\xfc")),
    "freqs": (dict(SMALL, freqs=True), tensor("rope_freqs.weight", shape=[7], raw=bytes(28))),
    "freqs-0": (dict(SMALL, freqs=True), poison("rope_freqs.weight", 0, bytes(4))),
    "window-0": (dict(SMALL_GEMMA3, window=0), None),
    "q-norm": (SMALL_GEMMA3, tensor("blk.3.attn_q_norm.weight", gone=True)),
    "experts-0": (SMALL_V3, key("expert_count", 0)),
    "experts-huge": (SMALL_V3, key("expert_count", 0xffffffff)),
    "experts-used": (SMALL_V3, key("expert_used_count", 5)),
    "experts-used-0": (SMALL_V3, key("expert_used_count", 0)),
    "experts-dims": (SMALL_V3, tensor("blk.1.ffn_up_exps.weight", shape=[3, 16, 32], raw=bytes(4 * 3 * 16 * 32))),
    "experts-flat": (SMALL_V3, tensor("blk.1.ffn_up_exps.weight", shape=[64, 32])),
    "router-nan": (SMALL_V3, poison("blk.1.ffn_gate_inp.weight", 0, NAN)),
    "groups": (SMALL_V3, key("expert_group_count", 3)),
    "groups-used": (SMALL_V3, key("expert_group_used_count", 3)),
    "gating": (SMALL_V3, key("expert_gating_func", 9)),
    "kv-lora": (SMALL_V3, key("attention.kv_lora_rank", None)),
    "mla-dims": (SMALL_V3, key("attention.key_length_mla", 16)),
    "mla-half": (SMALL_V3, key("attention.value_length_mla", None)),
    "k-b": (SMALL_V3, tensor("blk.0.attn_k_b.weight", gone=True)),
    "dense-lead": (SMALL_V3, key("leading_dense_block_count", 3)),
}
BAD_LORA = {
    "type": key("general.type", "model"),
    "kind": key("adapter.type", "lokr"),
    "architecture": key("general.architecture", "qwen2"),
    "rank": tensor("blk.0.attn_q.weight.lora_b", shape=[32, 3], raw=bytes(4 * 96)),
    "dims": tensor("blk.0.attn_q.weight.lora_a", shape=[4, 48], raw=bytes(4 * 192)),
    "half": tensor("blk.0.attn_q.weight.lora_b", gone=True),
    "other-half": tensor("blk.0.attn_q.weight.lora_a", gone=True),
    "nan": poison("blk.0.attn_q.weight.lora_b", 40, NAN),
    "alpha": key("adapter.lora.alpha", math.inf),
    "values": tensor("blk.0.attn_q.weight.lora_a", dtype="I8", raw=bytes(4 * 32)),
    "tensor": lambda kvs, tensors: tensors.update({"blk.9.attn_q.weight." + ab: tensors["blk.0.attn_q.weight." + ab] for ab in ("lora_a", "lora_b")}),
    "suffix": lambda kvs, tensors: tensors.update({"blk.0.attn_norm.weight": ("F32", [32], bytes(128))}),
}
# what fuzzing begins with
SEEDS = {c["name"]: c for c in (
    dict(SMALL, name="good-llama", types={"": "Q4_0", "token_embd": "Q8_0"}, tied=True),
    dict(SMALL, name="good-qwen2", arch="qwen2", types={"": "Q5_0", "token_embd": "Q4_1"}, tied=True),
    dict(SMALL_GEMMA3, name="good-gemma3", types="F16"),
    dict(SMALL_V3, name="good-deepseek2", types="F16", tied=True),
)}


def lora_seeds():
    """Adapters of good-llama that fuzzing begins with."""
    base, out = SEEDS["good-llama"], {}
    out["good-f32"] = lora(base, 4, 8.0, ("attn_q", "ffn_down"))
    out["good-embeddings"] = lora(base, 3, 0.0, ("token_embd",), "F16")
    out["good-quantised"] = lora(base, 32, 16.0, ("attn_output", "ffn_up"), "Q8_0")
    for name in ("rank", "half", "kind"):
        kvs, tensors = lora(base, 4, 8.0, ("attn_q", "ffn_down"))
        BAD_LORA[name](kvs, tensors)
        out["bad-" + name] = (kvs, tensors)
    return out


def write(path, made, spoil=None):
    """made: (settings, tensors)"""
    kvs, tensors = made
    if spoil:
        spoil(kvs, tensors)
    m.write_gguf(path, kvs, tensors)


def write_all(folder, wanted):
    """The models and adapters of these names (none: all), and the spoilt ones when "bad" is among them."""
    unknown = set(wanted) - set(MODELS) - set(LORAS) - set(CUTS) - {"bad", "small"}
    if unknown:
        raise SystemExit(f"gen-model: no model {', '.join(sorted(unknown))}; there are {', '.join([*MODELS, *LORAS, *CUTS])} and bad")
    os.makedirs(folder, exist_ok=True)
    wanted = set(wanted)
    for name, c in MODELS.items():
        if not wanted or name in wanted:
            write(f"{folder}/{name}.gguf", build(c))
    for name, of in LORAS.items():
        if not wanted or name in wanted:
            write(f"{folder}/{name}.gguf", lora(*of))
    for name, (c, cut) in CUTS.items():
        if not wanted or name in wanted:
            write(f"{folder}/{name}.gguf", build(c), cut)
    if not wanted or wanted & {"small", "bad"}:
        write(f"{folder}/small.gguf", build(SMALL))
    if wanted and "bad" not in wanted:
        return
    for name, (c, spoil) in BAD.items():
        write(f"{folder}/bad-{name}.gguf", build(c), spoil)
    for name, spoil in BAD_LORA.items():
        write(f"{folder}/bad-lora-{name}.gguf", lora(SMALL, 4, 8.0, ("attn_q", "ffn_down")), spoil)
    write(f"{folder}/bad-truncated.gguf", build(SMALL))
    os.truncate(f"{folder}/bad-truncated.gguf", os.path.getsize(f"{folder}/bad-truncated.gguf") - 1000)
