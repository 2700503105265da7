# chunk.sh - ds-chunk in pipes: there and back, in constant memory, the same however bytes arrive
{
	cat "$TOP/man/ds-frame.5" "$TOP/CONTRIBUTING.md"
	printf '你好。我很好！\r\n第一章\r\n\r\n\377\376 \303 broken\000bytes'
	head -c 3000 /dev/zero
	head -c 60000 "$TOP/share/ds-static.gguf"
	printf '\n\n```\ncode\n\nmore\n```\nend. No newline at the end'
} >mixed
for b in sentence paragraph heading semantic none; do
	ds-chunk -b $b mixed >$b.frames
	ok "$b: joined it is the input" cmp mixed <(ds-chunk --join $b.frames)
	ok "$b: the same from standard input in odd pieces" cmp <(ds-cat -t chunk --format jsonl $b.frames) \
		<(dd if=mixed ibs=777 obs=13 2>/dev/null | ds-chunk -b $b | ds-cat -t chunk --format jsonl)
done
ok "the same a byte at a time" cmp <(head -c 20000 mixed | ds-chunk) <(head -c 20000 mixed | dd bs=1 2>/dev/null | ds-chunk)
ok "the same with one thread" cmp semantic.frames <(ds-chunk -j 1 -b semantic mixed)
ok "an odd size there and back" cmp mixed <(ds-chunk --bare -s 7 -o 6 mixed | ds-chunk --join)

# another reader of spans, overlaps and limits; ds-tokenize counts each chunk alone
ds-chunk -s 60 -o 12 --bare "$TOP/CONTRIBUTING.md" | ds-cat -t chunk --format jsonl >chunks
python3 - "$TOP/CONTRIBUTING.md" <<'END'
import json, os, sys
text, covered = open(sys.argv[1], "rb").read(), 0
os.mkdir("alone")
for i, line in enumerate(open("chunks")):
    c = json.loads(line)
    assert c["text"].encode() == text[c["start"]:c["end"]]
    assert c["start"] + c["overlap_bytes"] == covered and c["overlap_tokens"] <= 12 and c["tokens"] <= 60
    covered = c["end"]
    open(f"alone/{i:04}", "w", newline="").write(c["text"])
    print(c["tokens"], file=open("counts", "a"))
assert covered == len(text)
END
ok "spans and limits hold for another reader" test "$(wc -l <counts)" = "$(wc -l <chunks)"
if command -v ds-tokenize >/dev/null; then
	ok "tokens are those of each chunk alone" cmp counts <(for f in alone/*; do ds-tokenize -c "$f"; done)
fi

# chunks leave as soon as they are known, not when the input ends
mkfifo fifo
: >early
{ head -c 30000 mixed; read -r _ <fifo; } | ds-chunk --format jsonl >early &
for _ in $(seq 100); do
	[ "$(grep -c '"type":"chunk"' early)" -gt 2 ] && break
	sleep 0.05
done
ok "chunks come before the input ends" test "$(grep -c '"type":"chunk"' early)" -gt 2
echo >fifo
wait

# constant memory: a vocabulary of 8 MB, 64 MB beside it
peak() { sed -n 's/.*"peak_rss_bytes":\([0-9]*\).*/\1/p' "$1"; }
within() { test "$(peak "$1")" -le $((72 << 20)); }
{ yes 'Many words in lines. And more of them, on and on.' || true; } | head -c 200000000 | ds-chunk --stats=words >/dev/null
ok "200 MB of words: peak memory" within words
head -c 50000000 /dev/zero | tr '\0' a | ds-chunk --stats=letters >/dev/null
ok "50 MB of one letter: peak memory" within letters
head -c 50000000 /dev/zero | tr '\0' ' ' | ds-chunk -b semantic --stats=blanks >/dev/null
ok "50 MB of blanks: peak memory" within blanks
{ yes '#' || true; } | head -c 20000000 | ds-chunk -b heading -s 4096 --stats=headings >/dev/null
ok "20 MB of headings: peak memory" within headings

# what breaks off is not whole
head -c 5000 sentence.frames >cut
ok "a cut stream is refused" exits 1 bash -c 'ds-chunk --join cut >/dev/null 2>err'
ok "in one line" one_line err
ok "and again" exits 1 bash -c 'ds-chunk cut --output new.frames 2>err'
ok "nothing is left" test ! -e new.frames
{ (cat sentence.frames; kill -9 $BASHPID) | ds-chunk --join >joined; } 2>/dev/null || true
ok "killed after the end is whole" cmp mixed joined
