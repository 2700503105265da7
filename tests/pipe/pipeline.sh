# pipeline.sh - the tools together: the whole way, killed stages, make, cron, bad places

unset HOME
cp "$TOP"/man/ds-frame.5 frame.txt
cp "$TOP"/man/ds-archive.5 archive.txt
for i in $(seq 40); do
	sed "s/frame/frame$i/g" frame.txt archive.txt
done >long.txt
clean() { left=$(find . -name '.*.??????' -o -name 'out*') && [ -z "$left" ] || { echo "$left"; return 1; }; }
whole() { ds-chunk -s 128 "$@" | ds-infer -t embed | ds-compress -o demo.dsz; }

ok "chunk | infer | compress" whole frame.txt archive.txt
ok "the archive is sound" ds-compress -t demo.dsz
ok "a document comes back" cmp <(ds-compress -d demo.dsz frame.txt) frame.txt
ok "all come back" bash -c 'mkdir restored && ds-compress -x demo.dsz -C restored && cmp restored/frame.txt frame.txt && cmp restored/archive.txt archive.txt'
ok "and as frames" cmp <(ds-cat demo.dsz | ds-cat --format text) <(cat frame.txt archive.txt)
ok "an archive anew from an archive" bash -c 'ds-cat demo.dsz | ds-chunk -s 64 | ds-infer -t embed | ds-compress -o anew.dsz && ds-compress -d anew.dsz archive.txt | cmp - archive.txt'
ok "what it is" test "$(ds-cat -i demo.dsz | head -n 1 | cut -d, -f1-2)" = "demo.dsz: archive, 2 documents"
ok "a question finds its passage" bash -c 'ds-grep -k 3 "what happens when the writer was killed" demo.dsz | grep -q ^frame.txt:'
ok "from frames as from the archive" bash -c 'ds-chunk frame.txt | ds-infer -t embed | ds-grep -k 3 "what happens when the writer was killed" | grep -q frame.txt'
ok "hits as frames, as lines" bash -c 'ds-grep -k 3 --format frames checksum demo.dsz | ds-cat --format text | grep -c ":" >hits && test "$(cat hits)" -ge 3'
ok "tee: two tools read one stream" bash -c 'ds-chunk frame.txt | tee >(ds-chunk --join >copy) | ds-infer -t embed | ds-cat --format npy -o v.npy; for i in $(seq 100); do cmp -s copy frame.txt && break; sleep 0.1; done; cmp copy frame.txt && ds-cat -i v.npy'
ok "two tools read one file at once" bash -c 'ds-chunk long.txt --output c.frames; ds-chunk --join c.frames | cmp - long.txt & ds-infer -t embed c.frames | ds-cat -i >counts & wait %1 && wait %2 && grep -q embedding counts'
ok "the order of the stages does not matter to the text" cmp <(ds-cat frame.txt | ds-chunk | ds-cat --format text) frame.txt
ok "lines in the middle change nothing" cmp <(ds-chunk frame.txt | ds-infer -t embed) <(ds-chunk frame.txt | ds-cat | ds-cat | ds-infer -t embed | ds-cat | ds-cat)
ok "documents of two streams" bash -c 'cat <(ds-chunk frame.txt) <(ds-chunk archive.txt) | ds-infer -t embed | ds-compress -o two.dsz && ds-compress -d two.dsz archive.txt | cmp - archive.txt'
ok "the same bytes again" cmp <(ds-chunk frame.txt archive.txt | ds-infer -t embed -j 1) <(ds-chunk -j 2 frame.txt archive.txt | ds-infer -t embed -j 2)

# Standard input that nobody named, broken bytes, nothing at all
head -c 20000 /dev/urandom >noise 2>/dev/null
ok "any bytes go through" bash -c 'ds-chunk noise | ds-infer -t embed | ds-compress -o noise.dsz && ds-compress -d noise.dsz noise | cmp - noise'
ok "standard input goes through" bash -c 'ds-chunk <frame.txt | ds-infer -t embed | ds-compress -o stdin.dsz && ds-compress -d stdin.dsz | cmp - frame.txt'
: >empty
ok "an empty document goes through" bash -c 'ds-chunk empty | ds-infer -t embed | ds-compress -o empty.dsz && ds-compress -d empty.dsz empty | cmp - empty'

# A stage that is killed: the end fails, and nothing is there
stages=("ds-chunk long.txt" "ds-infer -t embed" "ds-compress -o out.dsz")
die() { # die STAGE: the pipeline with that stage killed once it has written something
	local n=$1 s=("${stages[@]}")
	s[n]="bash -c '${s[n]} | { head -c 30000; kill -9 \$\$; }'"
	bash -o pipefail -c "${s[0]} | ${s[1]} | ${s[2]}" 2>err
}
for n in 0 1; do
	ok "stage $((n + 1)) killed: the pipeline fails" exits 1 die $n
	ok "and nothing is left" clean
done
last_killed() {
	mkfifo hold
	{ ds-chunk frame.txt | head -c 4000; sleep 100; } >hold &
	local feeder=$!
	ds-compress -o out.dsz <hold &
	sleep 0.3
	kill -TERM $!
	local status=0
	wait $! || status=$?
	kill $feeder
	rm hold
	return $status
}
ok "the last stage ended by SIGTERM" exits 143 last_killed
ok "and nothing is left" clean
ok "a reader that leaves ends all quietly" bash -c 'ds-chunk long.txt | ds-infer -t embed | ds-cat 2>err | head -n 3 >three; test ! -s err && test "$(wc -l <three)" = 3'

# An old target stays when its rule fails
cp demo.dsz kept.dsz
ok "a cut stream" exits 1 bash -c 'ds-chunk frame.txt | head -c 1000 | ds-compress -o kept.dsz 2>err'
ok "one line tells" one_line err
ok "leaves the old archive" cmp kept.dsz demo.dsz

# make
cat >Makefile <<'END'
SHELL = bash
.SHELLFLAGS = -o pipefail -c
docs.dsz: frame.embeddings archive.embeddings
	cat $^ | ds-compress -o $@
.SECONDARY:
%.chunks: %.txt
	ds-chunk $< --output $@
%.embeddings: %.chunks
	ds-infer -t embed $< -o $@
END
ok "make builds the archive" make -s docs.dsz
ok "and has nothing more to do" make -q docs.dsz
touch -d '1 hour ago' frame.* archive.* docs.dsz
touch frame.txt
ok "a touched text is done again" exits 1 make -q docs.dsz
ok "it alone" test "$(make docs.dsz | grep -c ds-chunk)" = 1
ok "and has nothing more to do" make -q docs.dsz
cp docs.dsz before.dsz
head -c 1000 frame.embeddings >cut
mv cut frame.embeddings
ok "a cut part fails the rule" exits 2 make -s docs.dsz 2>err
ok "and leaves the old target" cmp docs.dsz before.dsz

# cron: no environment, no terminal, nothing to say
cron() { env -i PATH="$PATH" sh -c "cd '$PWD' && $1" </dev/null >cron.out 2>&1; }
ok "cron runs the pipeline" cron 'ds-chunk frame.txt | ds-infer -t embed | ds-compress -o cron.dsz'
ok "and hears nothing" test ! -s cron.out
ok "cron's archive is the same" cmp <(ds-compress -d cron.dsz) frame.txt

# Every tool in bad places.  -o FILE means no partial file; all that is said is one line.
tools=("ds-chunk" "ds-infer -t embed" "ds-tokenize --ids" "ds-cat" "ds-grep word")
for tool in "${tools[@]}"; do
	ok "$tool: full disk" exits 1 bash -c "$tool long.txt >/dev/full 2>err"
	ok "$tool: full disk, one line" one_line err
	ok "$tool: closed stdout" exits 1 bash -c "$tool frame.txt >&- 2>err"
	ok "$tool: closed stdin" exits 1 bash -c "$tool <&- 2>err >/dev/null"
	ok "$tool: closed stdin, one line" one_line err
	ok "$tool: a folder" exits 1 bash -c "$tool . 2>err >/dev/null"
	ok "$tool: a folder, one line" one_line err
	ok "$tool: no such file" exits 1 bash -c "$tool none 2>err >/dev/null"
	ok "$tool: no such file, one line" one_line err
	ok "$tool: cut frames" exits 1 bash -c "ds-chunk long.txt | head -c 5000 | $tool 2>err >/dev/null"
	ok "$tool: cut frames, one line" one_line err
	cp frame.txt same.txt
	ok "$tool: one file as input and output" exits 2 bash -c "$tool same.txt --output ./same.txt 2>err"
	ok "$tool: it is as it was" cmp same.txt frame.txt
	ok "$tool: quiet for head" bash -c "$tool long.txt 2>err | head -c 1 >/dev/null; test ! -s err"
done
ok "ds-compress: full disk" exits 1 bash -c 'ds-compress -o - long.txt >/dev/full 2>err'
ok "ds-compress: full disk, one line" one_line err
ok "ds-compress -d: full disk" exits 1 bash -c 'ds-compress -d demo.dsz frame.txt >/dev/full 2>err'
ok "ds-compress: closed stdin" exits 1 bash -c 'ds-compress -o out.dsz <&- 2>err'
ok "ds-compress: one file as input and output" exits 1 bash -c 'ds-compress -o same.txt same.txt 2>err'
ok "ds-compress: it is as it was" cmp same.txt frame.txt
ok "ds-compress: no such file" exits 1 bash -c 'ds-compress -o out.dsz none 2>err'
ok "ds-compress: one line" one_line err
ok "and nothing is left" clean
if [ "$(id -u)" != 0 ]; then
	: >secret
	chmod 0 secret
	for tool in "${tools[@]}"; do
		ok "$tool: a file that may not be read" exits 1 bash -c "$tool secret 2>err >/dev/null"
	done
fi
