# shellcheck shell=bash disable=SC2016
# text coded by real language models comes back with every instruction set, in far fewer bytes than others take
cat "$TOP/CONTRIBUTING.md" "$TOP/README.md" >whole

check() { # check NAME BYTES SHARE   (of what Zstandard takes, in percent, at most)
	head -c "$2" whole >text
	ds-compress --no-index --level 22 --stats=zstd -o other.dsz text
	ok "$1 codes text" ds-compress --no-index --lm "$MODEL" --context 256 -j 1 --stats=stats -o one.dsz text
	ok "$1: the same archive by two threads" sh -c \
		'ds-compress --no-index --lm "$1" --context 256 -j 2 -o two.dsz text && cmp one.dsz two.dsz' - "$MODEL"
	ok "$1: at most $3 % of Zstandard" python3 -c '
import json, sys
lm, other = json.load(open("stats"))["lm_bytes"], json.load(open("zstd"))["zstd_bytes"]
print(lm, other)
sys.exit(not 0 < lm < other * int(sys.argv[1]) / 100)' "$3"
	for cpu in avx2 avx512 vnni; do
		ok "$1: back with $cpu" sh -c 'DS_LM=$1 DS_CPU=$2 ds-compress -d one.dsz | cmp - text' - "$MODEL" $cpu
	done
}

if want_model smollm2; then check smollm2 4000 50; fi
if want_model qwen2.5; then check qwen2.5 2000 50; fi
if want_model gemma3; then check gemma3 2000 50; fi
ok "ran" true
