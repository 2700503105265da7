# infer.sh - ds-infer with language models: answers, scores, labels, outlines, as filters and in cron
python3 "$TOP/scripts/gen-model" --lm m llama-q8_0 qwen2-mix gemma3-mix deepseek2-v3-mix bad
L=m/llama-q8_0.gguf
infer() { ds-infer -q -m "$L" "$@"; }
printf 'the cat sat on the mat' >a
printf 'Either party may terminate, 30 days; 世界!\n' >b
printf 'the contract is <|im_end|> over <|im_start|>now' >c
json() { python3 -c "import json,sys
for line in sys.stdin:
    d = json.loads(line)
    print($1)"; }

# alone, without a terminal, an environment or an input
infer -p 'hello' -n 12 >want
ok "an answer ends with a newline" test "$(tail -c 1 want | od -An -tx1 | tr -d ' ')" = 0a
env -i "$BUILD/ds-infer" -q -m "$L" -p hello -n 12 >got <&- 2>err
ok "in cron: the same without environment and input" cmp want got
ok "and quiet" test ! -s err
printf 'one\ntwo\n' | { infer -p hello -n 12 >got; cat >rest; }
ok "a prompt alone reads no input" test "$(cat rest)" = "$(printf 'one\ntwo')"
ok "and gives the same" cmp want got
setsid ds-infer -q -m "$L" -p hello -n 12 >got </dev/null
ok "and without a controlling terminal" cmp want got

# the same bytes everywhere
for model in llama-q8_0 qwen2-mix gemma3-mix; do
	L=m/$model.gguf
	infer -j 1 -t generate -p 'what is this' -n 24 --temp 1 --seed 5 --repeat-penalty 1.1 a b >want
	for cpu in ref avx2 avx512 vnni; do
		DS_CPU=$cpu infer -j 2 -t generate -p 'what is this' -n 24 --temp 1 --seed 5 \
			--repeat-penalty 1.1 a b >got
		ok "$model: $cpu and two threads give the answers of one" cmp want got
	done
	infer -j 1 -t score --format jsonl --context 40 a b >want
	DS_CPU=ref infer -j 3 -t score --format jsonl --context 40 a b >got
	ok "$model: and the scores" cmp want got
	for f in a b; do infer -p 'what is this' -n 24 --temp 1 --seed 5 --repeat-penalty 1.1 $f; done >got
	infer -j 1 -p 'what is this' -n 24 --temp 1 --seed 5 --repeat-penalty 1.1 a b >want
	ok "$model: an answer does not depend on the documents before" cmp want got
done
L=m/llama-q8_0.gguf
infer -p x -n 40 --temp 1 --seed 1 >one
infer -p x -n 40 --temp 1 --seed 2 >two
ok "another seed draws otherwise" exits 1 cmp -s one two

# filters
for f in a b c; do infer -p 'what is this' -n 16 $f; done >want
infer -p 'what is this' -n 16 a b c >got
ok "one answer a document, in order" cmp want got
infer -p 'what is this' -n 16 - b c <a >got
ok "- is standard input" cmp want got
ds-chunk -s 8 -o 2 a b c | infer -p 'what is this' -n 16 - >got
ok "documents in frames" cmp want got
ds-chunk a b c | python3 -c "import os,sys
for c in sys.stdin.buffer.read(): os.write(1, bytes([c]))" | infer -p 'what is this' -n 16 - >got
ok "byte by byte" cmp want got
infer -p 'what is this' -n 16 --format frames a b c | ds-cat --format text >got
infer -p 'what is this' -n 16 --format jsonl a b c >lines
ok "JSON lines name the documents" test "$(json 'd["doc"]' <lines | tr '\n' ' ')" = 'a b c '
ok "and the ends" test "$(json 'd["finish"], d["generated_tokens"]' <lines | sort -u)" = "length 16"
python3 - lines got <<'END' >same
import base64, json, sys
answers = [json.loads(x) for x in open(sys.argv[1])]
whole = b"".join(base64.b64decode(d["answer_base64"]) if "answer_base64" in d else d["answer"].encode() for d in answers)
print(whole == open(sys.argv[2], "rb").read())
END
ok "frames hold the same answers" test "$(cat same)" = True
printf 'the cat sat on the mat\nEither party may\n' >questions
infer -t generate --document b --lines -n 16 --stats=stats questions >got
while read -r q; do infer --document b -p "$q" -n 16; done <questions >want
ok "questions about one document, as one by one" cmp want got
ok "which is read once" test "$(json 'd["cached_tokens"] > 20' <stats)" = True
ok "the figures of --stats" test "$(json 'all(k in d for k in ("load_ms", "prompt_tokens", "prompt_seconds",
	"generated_tokens", "generate_seconds", "first_token_ms", "threads", "cpu"))' <stats)" = True

# the end of an answer
infer -p 'what is this' -n 40 --format jsonl >whole
python3 - <<'END' >stop
import base64, json, re
d = json.load(open("whole"))
b = base64.b64decode(d["answer_base64"]) if "answer_base64" in d else d["answer"].encode()
found = re.search(rb"[a-z0-9]{2,}", b[4:])
word = found.group()
open("before", "wb").write(b[:b.index(word)])
print(word.decode())
END
infer -p 'what is this' -n 40 --stop "$(cat stop)" --stop 'never that' >got
{ cat before; echo; } >want
ok "an answer ends before a stop string" cmp want got
ok "and says so" test "$(infer -p 'what is this' -n 40 --format jsonl --stop "$(cat stop)" | json 'd["finish"]')" = stop
for n in 1 2 3 5 8 13 21; do
	infer -p 'what is this' -n $n | head -c -1 >part
	cmp -s -n "$(wc -c <part)" part <(infer -p 'what is this' -n 40) || echo "$n differs"
done >differ
ok "a shorter answer begins a longer one" test ! -s differ
infer -p 'what is this' --context 60 -n 100 --format jsonl >got
ok "a full context ends it" test "$(json 'd["finish"], d["prompt_tokens"] + d["generated_tokens"]' <got)" = "context 61"
ds-infer -m m/gemma3-mix.gguf -p x >got 2>err
ok "an answer cut by the default is told" grep -q '1 of 1 answers cut at 512 tokens' err

# what goes wrong
seq 1 2000 >long
infer -p x -n 4 a long b >got 2>err && status=0 || status=$?
ok "a document beyond the context: exit 1" test "$status" = 1
ok "one line with tokens and limit" grep -qx 'ds-infer: long: [0-9]* tokens, the context holds 1024' err
ok "and only that" one_line err
infer -p x -n 4 a b >want
ok "the others have their answers" cmp want got
infer -p x -n 4 -o out a long b 2>/dev/null || true
ok "no file then" test ! -e out
infer -p x -n 4 -o out a b
ok "a file when all is well" cmp want out
infer -p x -n 4 >/dev/full 2>err && status=0 || status=$?
ok "a full disk: exit 1" test "$status" = 1
ok "a full disk: one line" one_line err
infer -p x -n 4 >&- 2>err && status=0 || status=$?
ok "a closed output: exit 1" test "$status" = 1
ok "a closed output: one line" one_line err
{ ds-infer -m m/gemma3-mix.gguf -p x -n 900 2>err && echo 0 || echo $? >status; } | head -c 1 >/dev/null
ok "a closed pipe ends quietly" test ! -s err
ok "as SIGPIPE would" test "$(cat status)" = 141
ds-chunk a b >frames
head -c 300 frames >torn
infer -p x -n 4 torn >/dev/null 2>err && status=0 || status=$?
ok "a torn stream: exit 1" test "$status" = 1
ok "a torn stream: one line" one_line err
for bad in nan inf-scale truncated missing-tensor; do
	ds-infer -m m/bad-$bad.gguf -p x -n 4 >got 2>err && status=0 || status=$?
	ok "$bad: exit 1" test "$status" = 1
	ok "$bad: one line" one_line err
	ok "$bad: no answer" test ! -s got
done

# scores
infer -t score a b >text
infer -t score --format jsonl a b >lines
python3 - text lines a b <<'END' >checks
import json, math, sys
rows = [json.loads(x) for x in open(sys.argv[2])]
assert [list(r) for r in rows] == [["id", "start", "end", "logprob"]] * len(rows)
starts = [i for i, r in enumerate(rows) if r["start"] == 0 and r["logprob"] is None]
for i, (start, line, name) in enumerate(zip(starts, open(sys.argv[1]), sys.argv[3:])):
    part = rows[start:(starts + [len(rows)])[i + 1]]
    assert part[-1]["end"] == len(open(name, "rb").read())
    assert all(x["end"] == y["start"] for x, y in zip(part, part[1:]))
    scored = [r for r in part if r["logprob"] is not None]
    nll = -sum(r["logprob"] for r in scored)
    ppl, bits, n, doc = line.rstrip("\n").split("\t")
    assert doc == name and int(n) == len(scored) == len(part) - 1
    assert abs(float(ppl) - math.exp(nll / len(scored))) < 1e-3
    assert abs(float(bits) - nll / math.log(2) / sum(r["end"] - r["start"] for r in scored)) < 1e-4
print("fine")
END
ok "perplexity and bits per byte are those of the tokens" test "$(cat checks)" = fine
infer -t score --format frames a b | ds-cat --format jsonl >frames.jsonl
ok "frames of log-probabilities" test "$(grep -c '"type":"logprob"' frames.jsonl)" = 2
infer -t score --format frames a b | ds-cat --format text | cmp - <(cat a b)
ok "carry the documents" test "${PIPESTATUS[*]}" = '0 0 0'
head -n 60 long >numbers
infer -t score --format jsonl --context 64 numbers >overlap
infer -t score --format jsonl --context 64 --windows halves numbers >halves
infer -t score --format jsonl numbers >all
python3 - <<'END' >checks
import json
overlap, halves, whole = ([json.loads(x)["logprob"] for x in open(p)] for p in ("overlap", "halves", "all"))
assert len(overlap) == len(halves) == len(whole) > 128
assert overlap[:64] == whole[:64] and None not in overlap[1:] and overlap != whole
n = len(whole)
assert [i for i, x in enumerate(halves) if x is not None] == \
    [i for i in range(n // 64 * 64) if i % 64 > 32]
assert halves[33:64] == whole[33:64]
print("fine")
END
ok "windows that overlap, and halves" test "$(cat checks)" = fine
infer -t score --context 64 --windows halves a 2>err && status=0 || status=$?
ok "too short for halves: exit 1" test "$status" = 1
infer -t score a /dev/null b >got 2>err && status=0 || status=$?
ok "an empty document has no score: exit 1" test "$status" = 1
ok "one line" grep -qx 'ds-infer: /dev/null: the document is empty' err
ok "and only that" one_line err
ok "the others have theirs" test "$(cut -f 4 got | tr '\n' ' ')" = 'a b '
infer -t score --format frames a /dev/null b 2>/dev/null | ds-cat --format text >got || true
ok "as frames too" cmp got <(cat a b)

# texts that come slowly, in any pieces
{ cat "$TOP/README.md" a c; head -c 5000 "$TOP/README.md"; } >mixed
slowly() { python3 "$TOP/tests/pipe/slowly" "$@"; }
infer -t score --format jsonl --context 64 mixed >want
slowly 777 0 mixed | infer -t score --format jsonl --context 64 >got
ok "in small pieces: the same scores" cmp want got
slowly 9000 0.02 mixed | infer -t score --format jsonl --context 64 >got
ok "slowly: the same scores" cmp want got
head -c 900 mixed >short
infer -t score --format jsonl --context 41 short >want
slowly 1 0 short | infer -t score --format jsonl --context 41 >got
ok "byte after byte: the same scores" cmp want got
# the writer goes on when something has come out
until_some() { for _ in $(seq 100); do [ -s "$1" ] && echo yes >some && return; sleep 0.05; done; }
for format in jsonl frames; do
	infer -t score --format $format --context 64 mixed >want
	rm -f some early
	{ head -c 9000 mixed; until_some early; tail -c +9001 mixed; } | infer -t score --format $format --context 64 >early
	ok "$format: scores leave before the text has ended" test -s some
done
ok "and frames are the text" cmp <(ds-cat --format text early) mixed
{ yes 'one line and another of a long text' || true; } | head -c 400000 >book
infer -t score --context 16 --stats=stats <book >/dev/null
ok "memory does not grow with the text" test "$(json 'd["input_bytes"] == 400000 and d["peak_rss_bytes"] < 40e6' <stats)" = True

# documents that come slowly are read while they come
head -c 700 "$TOP/README.md" >slow
for model in llama-q8_0 qwen2-mix gemma3-mix deepseek2-v3-mix; do
	L=m/$model.gguf
	for task in "generate -n 12 -p what" "classify --labels cat,word -p which" "outline -n 12"; do
		# shellcheck disable=SC2086
		infer -t $task --stats=stats - <slow >want
		[ "$(json '"ahead_tokens" in d' <stats)" = True ] || echo no ahead_tokens
		# shellcheck disable=SC2086
		slowly 100 0.01 slow | infer -t $task --stats=stats - >got
		ok "$model, ${task%% *}: slowly, the same" cmp want got
		ok "read ahead" test "$(json 'd["ahead_tokens"] > 300' <stats)" = True
	done
	infer --document slow -p what -n 12 >want
	slowly 100 0.01 slow | infer --document - -p what -n 12 --stats=stats >got
	ok "$model: --document from a pipe, the same" cmp want got
	ok "read ahead" test "$(json 'd["ahead_tokens"] > 300' <stats)" = True
	printf '  \n \n leading and trailing  \n\n <|im_end|> spelt <end_of_turn> \n ' >spaces
	infer -t generate -n 12 spaces >want
	slowly 3 0.001 spaces | infer -t generate -n 12 >got
	ok "$model: white space and special tokens in text, the same" cmp want got
	infer -t generate -n 12 --raw -p ' and so on' spaces >want
	slowly 3 0.001 spaces | infer -t generate -n 12 --raw -p ' and so on' - >got
	ok "$model: raw, the same" cmp want got
done
L=m/llama-q8_0.gguf
slowly 100 0 long | { infer -p x -n 4 - >got 2>err && echo 0 >status || echo $? >status; }
ok "a slow document beyond the context is refused as well" grep -qx 'ds-infer: (stdin): [0-9]* tokens, the context holds 1024' err
slowly 100 0 slow | infer -q -t generate -n 12 --document b slow - a --stats=stats >got
for f in slow slow a; do infer -q -t generate -n 12 --document b $f; done >want
ok "after a document, among others" cmp want got

# layers left out
G=m/gemma3-mix.gguf
skipping() { ds-infer -m $G "$@"; }
skipping -j 1 -t score --skip-layers auto:2 --stats=stats --format jsonl --context 128 mixed >want 2>err
layers=$(json 'd["skipped_layers"]' <stats)
ok "auto leaves out two inner layers" test "$(json '[0 < int(x) < 6 for x in d["skipped_layers"].split(",")]' <stats)" = '[True, True]'
ok "and tells what it costs" grep -Eqx "ds-infer: layers $layers of 0-6 left out: perplexity [0-9.]+ instead of [0-9.]+ \([+-][0-9.]+ %\) on the first [0-9]+ tokens" err
ok "as --stats does" test "$(json 'd["skip_sample_tokens"] == 511 and d["skip_perplexity"] > 1 and d["skip_perplexity_whole"] > 1' <stats)" = True
for cpu in avx2 avx512; do
	slowly 3000 0 mixed | DS_CPU=$cpu skipping -q -j 3 -t score --skip-layers auto:2 --format jsonl --context 128 >got
	ok "$cpu, three threads, in pieces: the same" cmp want got
done
skipping -q -t score --skip-layers "$layers" --format jsonl --context 128 mixed >got
ok "a list does what auto chose" cmp want got
skipping -q -t score --format jsonl --context 128 mixed >got
ok "which is not the whole model" test "$(cmp -s want got; echo $?)" = 1
skipping -q -t score --skip-layers auto:1 --stats=stats --context 512 - <mixed >/dev/null
head -c 16384 mixed >beginning
python3 - "$(json 'd["skip_perplexity_whole"]' <stats)" "$(json 'd["skip_perplexity"]' <stats)" "$(json 'd["skipped_layers"]' <stats)" <<'END' >checks
import json, math, subprocess, sys
whole, less, layer = sys.argv[1:]
def ppl(*more):
    out = subprocess.run(["ds-infer", "-q", "-m", "m/gemma3-mix.gguf", "-t", "score", "--format", "jsonl", *more, "beginning"],
                         stdout=subprocess.PIPE, check=True).stdout
    p = [json.loads(x)["logprob"] for x in out.splitlines()[:512]]
    return math.exp(-sum(p[1:]) / 511)
for want, got in ((ppl(), float(whole)), (ppl("--skip-layers", layer), float(less))):
    assert abs(want / got - 1) < 1e-5, (want, got)
print("fine")
END
ok "the cost is that of the first 512 tokens" test "$(cat checks)" = fine
for task in "generate -n 20 -p what" "classify --labels cat,word" "outline -n 20"; do
	# shellcheck disable=SC2086
	for f in a b; do skipping -q -t $task --skip-layers auto:2 $f; done >want
	# shellcheck disable=SC2086
	skipping -q -t $task --skip-layers auto:2 a b >got
	ok "${task%% *}: layers are those of each document" cmp want got
done

# labels
infer -t classify --labels cat,contract,word --format jsonl a b c >lines
ok "probabilities make up 1" test "$(json 'abs(sum(x["probability"] for x in d["labels"]) - 1) < 1e-4' <lines | sort -u)" = True
infer -t classify --labels cat,contract,word a b c >got
ok "text is the likeliest" test "$(cut -f 1 got)" = "$(json 'max(d["labels"], key=lambda x: x["probability"])["label"]' <lines)"
infer -t classify --raw --no-calibrate --labels cat,sat -p "$(printf '\n\nAnswer:\nx')" --format jsonl a >raw
printf 'the cat sat on the mat\n\nAnswer:\nx cat' >text
infer -t score --format jsonl text >lines
python3 - <<'END' >checks
import json
rows = [json.loads(x) for x in open("lines")]
label = json.load(open("raw"))["labels"][0]
begin = len(open("text", "rb").read()) - len(" cat")
want = sum(r["logprob"] for r in rows if r["start"] >= begin)
print(abs(label["logprob"] - want) < 1e-4 or (label, want))
END
ok "a label's log-probability is that of its tokens after the prompt" test "$(cat checks)" = True

# outlines
infer -t outline -n 24 --points 3 --format jsonl a b >lines
ok "an outline has its points and their texts" test "$(json '0 < len(d["outline"]) <= 3 and
	all(any(k.startswith("heading") for k in x) for x in d["outline"])' <lines | sort -u)" = True
infer -t outline -n 24 --points 3 a >got
ok "as text: headings" test "$(grep -ac '^# ' got)" -ge 1
ds-infer -m "$L" -v -t outline -n 24 long >got 2>err
ok "a document beyond the context is outlined chunk by chunk" test "$(grep -ac '^# ' got)" -ge 1
ok "which -v tells" grep -Eq '^ds-infer: long: [0-9]+ chunks, [0-9]+ summaries$' err
slowly 500 0 long | infer -t outline -n 24 >want
ok "through a pipe the same" cmp want got
infer -t outline -n 12 --context 300 --points 2 --stats=stats long >got
ok "summaries of summaries" test "$(json 'd["chunks"] > 20 and d["prompt_tokens"] > 9000' <stats)" = True
infer -t outline -n 24 a long b >got
for f in a long b; do infer -t outline -n 24 $f; done >want
ok "each as if it were alone" cmp want got
infer -t outline -n 24 --context 120 long >got 2>err && status=0 || status=$?
ok "a context without room: exit 1" test "$status" = 1
ok "one line" grep -Eqx 'ds-infer: a context of 120 tokens leaves [0-9]+ for a text, at least 64 expected' err

# memory (AddressSanitizer keeps freed blocks and shadows all of it: the peak is its own)
L=m/qwen2-mix.gguf
peak='d["peak_rss_bytes"] < d["memory_bytes"] and d["context"] >= 64'
if ldd "$(command -v ds-infer)" | grep libasan >ldd; then peak='d["context"] >= 64'; fi
for size in 26M 30M 40M; do
	for task in score "generate -n 8 -p what" "outline -n 8"; do
		# shellcheck disable=SC2086
		infer -t $task --memory $size --stats=stats mixed >got.1 2>err || true
		ok "$task in $size: the peak stays below" test "$(json "$peak" <stats)" = True
		# shellcheck disable=SC2086
		infer -j 7 -t $task --memory $size mixed >got.2 2>err || true
		ok "and seven threads give the same" cmp got.1 got.2
	done
done
infer -t score --memory 5M a >got 2>err && status=0 || status=$?
ok "a model that does not fit: exit 1" test "$status" = 1
ok "one line" grep -Eqx 'ds-infer: --memory of 5.2 MB is not enough: the model takes [0-9.]+ MB, with a context of 64 tokens [0-9.]+ MB' err
infer -t score --memory 25600K --context 1024 a >got 2>err && status=0 || status=$?
ok "nor a context that does not: exit 1" test "$status" = 1
ok "one line" one_line err
