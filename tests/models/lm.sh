# shellcheck shell=bash disable=SC2016
# lm.sh - language models against what llama.cpp computed (tests/golden/lm-*.txt, scripts/gen-lm-golden.c)
#
# llama.cpp rounds activations to int8 as ds does, so two of its own settings do not agree in every
# token; the recording says how far they agree ("self"), and no more can be asked of another engine.
golden=$TOP/tests/golden
lm_check=$BUILD/tests/lm_check

# value NAME: of what lm_check printed
value() { sed -n "s/^$1 //p" figures; }
# self GOLDEN FILE NAME: how far llama.cpp agrees with itself
self() {
	awk -v file="$2" -v name="$3" '$1 == "file" { ours = $2 == file }
		ours && $1 == "self" { for (i = 2; i < NF; i++) if ($i == name) print $(i + 1) }' "$1"
}
# holds A OP B
holds() { awk -v a="$1" -v b="$3" "BEGIN { exit !(a $2 b) }" || { echo "$1 $2 $3 does not hold"; return 1; }; }

# compare NAME FILE: the recorded values of a file of the model
compare() {
	local list=$golden/lm-$1.txt top1 margin
	"$lm_check" "$MODEL" "$list" "$2" "$golden/lm.txt" >figures
	sed 's/^/    /' figures
	top1=$(self "$list" "$2" top1_percent)
	margin=$(self "$list" "$2" first_difference_margin)
	ok "$1 $2: the same tokens" test "$(value tokens_equal)" = 1
	ok "$1 $2: perplexity within 0.5 %" holds "$(value perplexity_off_percent)" '<=' 0.5
	ok "$1 $2: best token, $top1 % being llama.cpp's agreement with itself" \
		holds "$(value top1_percent)" '>=' "$(awk "BEGIN { t = $top1 - 0.7; print (t < 98 ? t : 98) }")"
	ok "$1 $2: continuations differ only at ties (llama.cpp's own: $margin)" \
		holds "$(value first_difference_margin)" '<=' "$(awk "BEGIN { m = 2 * $margin; print (m > 0.01 ? m : 0.01) }")"
}

# same NAME TOKENS: states and logits do not depend on threads, batches or instruction set
same() {
	local list=$golden/lm-$1.txt want
	want=$("$lm_check" -d "$2" "$MODEL" "$list")
	for j in 1 3; do
		ok "$1: -j $j gives the same logits" test "$("$lm_check" -j "$j" -d "$2" "$MODEL" "$list")" = "$want"
	done
	for b in 1 7 64; do
		ok "$1: batches of $b give the same logits" test "$("$lm_check" -b "$b" -d "$2" "$MODEL" "$list")" = "$want"
	done
	for cpu in avx2 avx512; do
		ok "$1: $cpu gives the same logits" test "$(DS_CPU=$cpu "$lm_check" -d "$2" "$MODEL" "$list")" = "$want"
	done
	want=$("$lm_check" -d 24 "$MODEL" "$list")
	ok "$1: ref gives the same logits" test "$(DS_CPU=ref "$lm_check" -d 24 "$MODEL" "$list")" = "$want"
}

# tool NAME FILE: the same through ds-infer, and what it says of memory
tool() {
	local list=$golden/lm-$1.txt want
	want=$(awk -v file="$2" '$1 == "file" { ours = $2 == file } ours && $1 == "perplexity" { print $2 }' "$list")
	ds-infer -t score --windows halves --context 1024 -m "$MODEL" "$golden/lm.txt" >line
	ok "$1: ds-infer -t score, within 0.5 % of $want" \
		holds "$(awk -v want="$want" '{ d = $1 / want - 1; print (d < 0 ? -d : d) }' line)" '<=' 0.005
	head -c 3000 "$golden/lm.txt" >part
	ds-infer -t score --format jsonl -m "$MODEL" part >want
	for cpu in avx2 avx512 vnni; do
		ok "$1: $cpu on one thread gives the same log-probabilities" \
			sh -c 'DS_CPU=$1 ds-infer -j 1 -t score --format jsonl -m "$2" part | cmp - want' - "$cpu" "$MODEL"
	done
	ds-infer -t generate --raw -n 32 -m "$MODEL" --stats=stats part >answer
	sed 's/^/    /' stats
	ok "$1: 32 tokens after 3,000 bytes" test -s answer
	# keys and values: $3 bytes a token
	ok "$1: memory within file, keys and values, 64 MB" python3 - "$MODEL" "$3" <<'END'
import json, os, sys
s = json.load(open("stats"))
room = os.path.getsize(sys.argv[1]) + int(sys.argv[2]) * (s["prompt_tokens"] + s["generated_tokens"] + 64) + 64e6
print(s["peak_rss_bytes"], "bytes,", room, "at most")
assert s["peak_rss_bytes"] <= room
END
}

if want_model smollm2; then
	compare smollm2 q4_1
	same smollm2 600
	tool smollm2 q4_1 23040
	ok "smollm2: an answer by its template" sh -c 'ds-infer -m "$1" -p "What is 2 + 2?" -n 24 | grep -q 4' - "$MODEL"
fi
if want_model qwen2.5; then
	compare qwen2.5 q4_k_m
	same qwen2.5 200
	tool qwen2.5 q4_k_m 12288
	ok "qwen2.5: an answer by its template" \
		sh -c 'ds-infer -m "$1" -p "What is the capital of France?" -n 24 | grep -q Paris' - "$MODEL"
fi
if want_model gemma3; then
	compare gemma3 q4_k_m
	same gemma3 600
	tool gemma3 q4_k_m 18432
fi
ok "ran" true
