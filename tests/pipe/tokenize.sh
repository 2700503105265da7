# shellcheck shell=bash disable=SC2016
# ids of the tiny vocabularies, equal to those Hugging Face's tokenizers gave; text and back
data=$TOP/tests/data golden=$TOP/tests/golden
ds-cat "$golden/token-cases.jsonl" >cases

for m in bpe spm wordpiece; do
	for kind in gguf json; do
		ok "tiny-$m.$kind gives the recorded ids" sh -c \
			'ds-tokenize --ids -m "$1" cases | cmp - "$2"' - "$data/tiny-$m.$kind" "$golden/tokens-tiny-$m.txt"
	done
done

# text that is no UTF-8, long runs, both ends of lines; U+2581 would come back as a space
{
	head -c 300000 "$BUILD/ds-tokenize"
	cat "$TOP"/man/*.1
	head -c 200000 /dev/zero | tr '\0' a
	head -c 200000 /dev/zero | tr '\0' ' '
	printf '\r\n\xff\xfe end without newline'
} | LC_ALL=C sed 's/\xe2\x96\x81/_/g' >mixed
for m in bpe.gguf spm.gguf bpe.json spm.json; do
	ok "tiny-$m and back: the same bytes" sh -c \
		'ds-tokenize --ids -m "$1" mixed | ds-tokenize -d -m "$1" | cmp - mixed' - "$data/tiny-$m"
	ok "tiny-$m and back through frames" sh -c \
		'ds-tokenize -m "$1" mixed | ds-tokenize -d -m "$1" | cmp - mixed' - "$data/tiny-$m"
done

for m in bpe spm wordpiece; do
	export DS_MODEL=$data/tiny-$m.gguf
	ok "$m: threads do not change the ids" sh -c \
		'ds-tokenize --ids -j 1 mixed >one; ds-tokenize --ids -j 4 mixed | cmp - one'
	ok "$m: nor do small pieces through a pipe" sh -c \
		'tail -c 300000 mixed >end; ds-tokenize --ids end >one; dd if=end ibs=97 obs=97 status=none | ds-tokenize --ids | cmp - one'
	ok "$m: the count is that of the ids" sh -c \
		'test "$(ds-tokenize -c mixed)" -eq "$(ds-tokenize --ids mixed | wc -w)"'
done
unset DS_MODEL

ok "--special finds special tokens" test \
	"$(printf 'a<|end|>b' | ds-tokenize --special --ids -m "$data/tiny-bpe.gguf" | wc -w)" -eq 3
ok "special tokens give nothing unless asked for" test \
	"$(printf 'a<|end|>b' | ds-tokenize --special --ids -m "$data/tiny-bpe.gguf" | ds-tokenize -d -m "$data/tiny-bpe.gguf")" = ab
ok "other added tokens are always found" test \
	"$(printf 'a<tool>b' | ds-tokenize -c -m "$data/tiny-bpe.json")" -eq 3
ok "--affix adds BOS" test \
	"$(printf 'a' | ds-tokenize -c --affix -m "$data/tiny-spm.gguf")" -eq 3
ok "tokens of another vocabulary are refused" sh -c \
	'printf x | ds-tokenize -m "$1/tiny-bpe.gguf" | ds-tokenize -d -m "$1/tiny-spm.gguf" 2>err; test $? -eq 1 && grep -q "tokens of vocabulary" err' - "$data"
ok "a killed producer is noticed" sh -c \
	'ds-tokenize mixed | head -c 100000 | ds-tokenize -d >/dev/null 2>err; test $? -eq 1 && test "$(wc -l <err)" -eq 1'

for f in "$TOP"/tests/fuzz/corpus/fuzz_gguf/bad-* "$TOP"/tests/fuzz/corpus/fuzz_tokenizer_json/bad-*; do
	ok "$(basename "$f") is refused in one line" sh -c \
		'ds-tokenize -m "$1" -o out mixed 2>err; test $? -eq 1 && test "$(wc -l <err)" -eq 1 && ! test -e out' - "$f"
done
