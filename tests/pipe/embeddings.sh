# embeddings.sh - ds-compress --embeddings: through pipes and back, errors told, damage refused
# shellcheck shell=bash
cp "$TOP"/man/*.1 .
ds-chunk -s 128 -- *.1 | ds-infer -t embed >frames
ds-cat --format frames -t document,embedding,document_end frames >alone

ds-compress --embeddings -o packed --stats=stats frames
figure() { # figure FILE KEY
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$@"
}
ok "the same by a pipe" cmp packed <(ds-compress --embeddings <frames)
ok "and of the embeddings alone" cmp packed <(ds-compress --embeddings <alone)
ok "less than a quarter of f32" test $((4 * $(wc -c <packed))) -lt "$(figure stats values_bytes)"
ok "the check agrees" ds-compress --embeddings -t packed
ds-compress --embeddings -d packed >back
ok "the same from a pipe" cmp back <(ds-compress --embeddings -d <packed)
ok "as many come back" test "$(ds-cat --format jsonl -t embedding back | wc -l)" -eq "$(figure stats embeddings)"
fields='import json, sys
for line in sys.stdin:
    row = json.loads(line)
    row.pop("embedding", None)
    print(sorted(row.items()))'
ok "documents and spans are what they were" cmp <(ds-cat --format jsonl alone | python3 -c "$fields") <(ds-cat --format jsonl back | python3 -c "$fields")
for bits in 2 4 6 8; do
	ds-compress --embeddings --bits $bits -o "packed.$bits" --stats="stats.$bits" frames
	ds-compress --embeddings -d "packed.$bits" >"back.$bits"
	ok "--bits $bits: the error is what is told" python3 - alone "back.$bits" "stats.$bits" <<'EOF'
import json, subprocess, sys

a, b = ([json.loads(l) for l in subprocess.run(["ds-cat", "--format", "jsonl", "-t", "embedding", f],
                                               capture_output=True, check=True, text=True).stdout.splitlines()] for f in sys.argv[1:3])
rows = [(x["embedding"], y["embedding"]) for x, y in zip(a, b) if "embedding" in x]
error = max(abs(p - q) for x, y in rows for p, q in zip(x, y))
cosine = min(sum(p * q for p, q in zip(x, y)) / (sum(p * p for p in x) * sum(q * q for q in y)) ** .5 for x, y in rows)
told = json.load(open(sys.argv[3]))
assert rows and abs(error - told["max_error"]) < 1e-6 and abs(cosine - told["least_cosine"]) < 1e-5, (error, cosine, told)
EOF
done
ok "fewer bits are smaller" test "$(wc -c <packed.2)" -lt "$(wc -c <packed.4)" -a "$(wc -c <packed.4)" -lt "$(wc -c <packed)"
for cpu in ref avx2; do
	ok "DS_CPU=$cpu: the same bytes" cmp packed <(DS_CPU=$cpu ds-compress --embeddings frames)
done

# a search in what came back finds what the original finds
ok "what is found is the same" cmp <(ds-grep -k 1 -e 'bits of a component' alone | cut -d : -f 1) <(ds-grep -k 1 -e 'bits of a component' back | cut -d : -f 1)

head -c 3000 packed >cut
ok "a cut file fails" exits 1 ds-compress --embeddings -d -o none cut 2>cut.err
ds-compress --embeddings -d -o none cut 2>cut.err || true
ok "with one line" one_line cut.err
ok "and leaves nothing" test ! -e none
ok "a frame stream is not packed embeddings" exits 1 ds-compress --embeddings -t frames 2>other.err
ok "nor is text a frame stream" exits 1 ds-compress --embeddings -o none ds-grep.1 2>other.err
