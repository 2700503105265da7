"""enginebench - what the benchmarks of language models share: running ds and its peers, prompts, tables; see bench-engine"""
import json, os, re, statistics, subprocess, sys, tempfile, time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ds")
GOLDEN = os.path.join(TOP, "tests/golden")
LLAMA, REQUANTISED, ORT = (os.environ.get(v) for v in ("DS_LLAMA_BIN", "DS_BENCH_GGUF", "DS_ORT_PYTHON"))
THREADS = os.environ.get("THREADS", "2")
RUNS = int(os.environ.get("RUNS", "5"))
WORK = tempfile.mkdtemp(prefix="ds-bench.")
TEXT = os.path.join(GOLDEN, "lm.txt")
# name, type of the file, its name before the type, what a token's keys and values take (f16)
MODELS = (("SmolLM2-135M", "smollm2", "q4_1", "smollm2-135m-instruct", 30 * 3 * 64 * 2 * 2),
          ("Qwen2.5-0.5B", "qwen2.5", "q4_k_m", "qwen2.5-coder-0.5b-instruct", 24 * 2 * 64 * 2 * 2),
          ("Gemma 3 270M", "gemma3", "q4_k_m", "gemma-3-270m", 18 * 1 * 256 * 2 * 2))


def model(name):
    return subprocess.run([os.path.join(TOP, "scripts/get-model"), name], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()

def files(name, kind, stem):
    """(type, path) of the file as it is and of its requantisations at hand."""
    more = [(t, os.path.join(REQUANTISED or "", f"{stem}-{t}.gguf")) for t in ("q8_0", "q4_0")]
    return [(kind, model(name))] + [(t, path) for t, path in more if REQUANTISED and os.path.exists(path)]

def ds(tool, *args, stdin=None):
    """Run a tool; its --stats, with wall_seconds."""
    stats, start = os.path.join(WORK, "stats.json"), time.monotonic()
    subprocess.run([os.path.join(BUILD, tool), f"--stats={stats}", "-j", THREADS, *args], check=True,
                   stdin=stdin or subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - start
    return dict(json.load(open(stats)), wall_seconds=wall)

def generate(path, prompt, n, *options):
    """Greedy continuation of the text in a file, as it is."""
    return ds("ds-infer", "-t", "generate", "--raw", "--temp", "0", "-n", str(n), "-m", path, *options, prompt)

def words_of(path, n, text):
    """The most words that text begins with and that are not more than n tokens to the model."""
    words = re.findall(r"\S+\s*", open(text, encoding="utf-8").read(8 * n + 1000))
    count = lambda k: int(subprocess.run([os.path.join(BUILD, "ds-tokenize"), "-c", "--affix", "-m", path], check=True, text=True,
                                         input="".join(words[:k]).rstrip(), stdout=subprocess.PIPE).stdout)
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(middle) <= n else (low, middle - 1)
    return "".join(words[:low]).rstrip()

def prompt_of(path, n):
    """A file with a text that is exactly n tokens to the model."""
    body, out = words_of(path, n, TEXT), os.path.join(WORK, f"prompt-{n}.txt")
    for pad in range(n):
        open(out, "w", encoding="utf-8").write(body + " a" * pad)
        if generate(path, out, 1)["prompt_tokens"] == n:
            return out
    sys.exit(f"no prompt of {n} tokens for {path}")

def llama_bench(path, flash, prompt=512, n=128, depth=0, warm=True):
    """Tokens a second of llama-bench: of a prompt, and of n generated, after depth tokens; None for none asked."""
    run = subprocess.run([os.path.join(LLAMA, "llama-bench"), "-m", path, "-t", THREADS, "-p", str(prompt), "-n", str(n), "-r", "1",
                          "-d", str(depth), "-fa", str(flash), "-o", "json", *([] if warm else ["--no-warmup"])], check=True, text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL)
    rows = {bool(r["n_prompt"]): r["avg_ts"] for r in json.loads(run.stdout)}
    return rows.get(True), rows.get(False)

class Table:
    """Rows of cells; None is filled from the table of the same head and row that README.md has."""
    readme = open(os.path.join(TOP, "README.md"), encoding="utf-8").read()

    def __init__(self, *head):
        self.head, self.rows, self.old = head, [], {}
        _, found, rest = self.readme.partition("| " + " | ".join(head) + " |\n")
        for line in rest.split("\n")[1:] if found else []:
            if not line.startswith("|"):
                break
            cells = [c.strip() for c in line.strip("|").split("|")]
            self.old[cells[0]] = cells

    def row(self, name, *cells):
        old = self.old.get(name, ["-"] * len(self.head))
        self.rows.append([name] + [old[i + 1] if c is None else c for i, c in enumerate(cells)])

    def print(self):
        print("| " + " | ".join(self.head) + " |\n|" + "---|" * len(self.head))
        for row in self.rows:
            print("| " + " | ".join(row) + " |")
        print(flush=True)

def figure(value):
    return None if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"

def ratio(a, b):
    return None if b is None else f"{a / b:.2f} x"
