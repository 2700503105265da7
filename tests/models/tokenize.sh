# shellcheck shell=bash disable=SC2016
# ids of real vocabularies, equal to those Hugging Face's tokenizers gave (scripts/gen-token-golden)
golden=$TOP/tests/golden
ds-cat "$golden/token-cases.jsonl" >cases
cat "$TOP"/man/*.1 "$TOP"/lib/token/*.c | sed 's/▁/_/g' >text # which comes back as a space

check() { # check GOLDEN BACK
	ok "$1 gives the recorded ids" sh -c 'ds-tokenize --ids -m "$1" cases | cmp - "$2"' - "$MODEL" "$golden/tokens-$1.txt"
	ok "$1: threads do not change the ids" sh -c \
		'ds-tokenize --ids -m "$1" -j 1 text >one; ds-tokenize --ids -m "$1" -j 3 text | cmp - one' - "$MODEL"
	if [ "$2" = back ]; then
		ok "$1 and back: the same bytes" sh -c 'ds-tokenize -m "$1" text | ds-tokenize -d -m "$1" | cmp - text' - "$MODEL"
	fi
}

if want_model smollm2; then check smollm2 back; fi
if want_model minilm; then check minilm -; fi
if want_model qwen2.5; then check qwen2 back; fi
if want_model gemma3; then check gemma3 back; fi
if want_model deepseek-v3-tokenizer; then check deepseek-v3 back; fi
ok "ran" true
