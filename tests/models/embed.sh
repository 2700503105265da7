# embed.sh - MiniLM against golden vectors of a forward pass written apart (scripts/minilm_oracle.py)
want_model minilm || { echo "ok - skipped: minilm not asked for"; exit 0; }
golden=$TOP/tests/golden/minilm.jsonl
ds-infer -t embed -m "$MODEL" --lines --format jsonl "$TOP/tests/golden/minilm.txt" >got
ok "cosine with the oracle >= 0.99999 for every text" python3 - "$golden" got <<'END'
import json, sys
want, got = ([json.loads(line)["embedding"] for line in open(path)] for path in sys.argv[1:])
assert len(want) == len(got)
cosines = [sum(x * y for x, y in zip(a, b)) for a, b in zip(want, got)]
print("worst cosine", min(cosines))
assert min(cosines) >= 0.99999
END
ds-infer -t embed -m "$MODEL" --lines "$TOP/tests/golden/minilm.txt" >want
for cpu in avx2 avx512; do
	DS_CPU=$cpu ds-infer -t embed -m "$MODEL" --lines -j 1 "$TOP/tests/golden/minilm.txt" >got
	ok "$cpu gives the same bytes" cmp want got
done

# the same model as GGUF files
python3 "$TOP/scripts/bert-gguf" "$MODEL" minilm.gguf F32
embed() { ds-infer -t embed --lines --format text "$@" "$TOP/tests/golden/minilm.txt"; }
embed -m "$MODEL" >want
embed -m minilm.gguf >got
ok "F32 as GGUF gives the same bytes" cmp want got
if python3 -c 'import numpy' 2>/dev/null; then
	for type in F16:0.99999 Q8_0:0.998; do
		python3 "$TOP/scripts/bert-gguf" "$MODEL" minilm.gguf "${type%:*}"
		embed -m minilm.gguf >got
		ok "${type%:*}: cosine with F32 >= ${type#*:}" python3 - want got "${type#*:}" <<'END'
import sys
vectors = [[[float(v) for v in line.split()] for line in open(path)] for path in sys.argv[1:3]]
assert min(sum(a * b for a, b in zip(x, y)) for x, y in zip(*vectors)) >= float(sys.argv[3])
END
		for cpu in ref avx2 avx512; do
			DS_CPU=$cpu embed -m minilm.gguf -j 1 >other
			ok "${type%:*}: $cpu gives the same bytes" cmp got other
		done
	done
fi
