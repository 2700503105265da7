# archive.sh - archives appear whole or not at all; nothing leads out of the folder

seq 1 300000 >many.txt
printf 'kept\n' >kept.txt
ds-compress -o a.dsz kept.txt
cp a.dsz before.dsz

leftovers() { find . -name '.*.dsz.*' -o -name '.ds-*.tmp'; }

# a writer that waits for its input is killed
kill_writer() {
	local pid
	mkfifo in
	ds-compress -o a.dsz <in &
	pid=$!
	exec 9>in
	head -c 100000 many.txt >&9
	for _ in $(seq 100); do
		[ -n "$(leftovers)" ] && break
		sleep 0.05
	done
	kill "-$1" "$pid"
	wait "$pid" 2>wait.log || true
	exec 9>&-
	rm in
}
kill_writer KILL
ok "kill -9 leaves the old archive" cmp a.dsz before.dsz
leftovers | xargs -r rm
kill_writer TERM
ok "SIGTERM leaves the old archive" cmp a.dsz before.dsz
ok "SIGTERM leaves no temporary" test -z "$(leftovers)"

ds-chunk many.txt >all.frames
head -c 60000 all.frames >part.frames
status=0
ds-compress -o a.dsz <part.frames 2>log || status=$?
ok "a producer that died is noticed" test "$status" = 1
ok "one line tells" one_line log
ok "the old archive is left then" cmp a.dsz before.dsz
status=0
ds-compress -o /dev/full many.txt 2>log || status=$?
ok "a full disk is noticed" test "$status" = 1
ok "one line tells it" one_line log
status=0
(ulimit -f 100; ds-compress --no-index -1 --add -o a.dsz /bin/bash) 2>log || status=$?
ok "a file too large is noticed" test "$status" = 1
ok "one line says so" one_line log
ok "the old archive is left after that" cmp a.dsz before.dsz

# names that lead out are cleaned on the way in; forged ones break a checksum
ds_names() { ds-compress -l "$1" | cut -c 32-; }
mkdir -p deep/er
printf 'x\n' >deep/x
(cd deep/er && ds-compress -o ../../c.dsz ../x)
ok "no .. in a name" test "$(ds_names c.dsz)" = x

forge() { # NAME: an archive whose only document is called so, 6 bytes
	ds-chunk kept.txt | ds-cat | sed "s|\"name\":\"kept.txt\"|\"name\":\"$1\"|" | ds-cat --format frames |
		ds-compress --no-index -o "$2"
}
forge abcdef f.dsz
python3 - <<'PY'
# the table of documents is too short to be packed: the name stands in it
data = open("f.dsz", "rb").read()
assert data.count(b"abcdef") == 1
open("g.dsz", "wb").write(data.replace(b"abcdef", b"../../"))
PY
status=0
ds-compress -x g.dsz 2>log || status=$?
ok "a forged name is a broken checksum" test "$status" = 1

mkdir x elsewhere
ds-compress -o d.dsz deep
ln -s ../elsewhere x/deep
status=0
ds-compress -x d.dsz -C x 2>log || status=$?
ok "a symbolic link is not followed" test "$status" = 1
ok "nothing was written through it" test -z "$(ls elsewhere)"
rm x/deep
mkdir x/deep
ln -s ../../elsewhere/x x/deep/x
status=0
ds-compress -x d.dsz -C x 2>log || status=$?
ok "a link in place of the file is not followed" test "$status" = 1
ok "with -f the link is replaced" ds-compress -xf d.dsz -C x
ok "by the file" cmp x/deep/x deep/x
ok "the link's target is untouched" test ! -e elsewhere/x

# damage in one block: the others come back
head -c 400000 /bin/bash >b1
head -c 900000 /bin/bash | tail -c 300000 >b2
ds-compress --no-index --chunk 64K -o e.dsz b1 b2
cp e.dsz e2.dsz
printf '\377\377' | dd of=e2.dsz bs=1 seek=$(($(stat -c %s e2.dsz) * 9 / 10)) conv=notrunc 2>/dev/null
mkdir y
status=0
ds-compress -x e2.dsz -C y 2>log || status=$?
ok "a damaged document is refused" test "$status" = 1
ok "one line names it" grep -q 'checksum' log
ok "the sound one is there" cmp y/b1 b1
ok "the damaged one is not" test ! -e y/b2
ok "no temporary is left" test -z "$(leftovers)"

# appended with the frames of another model
printf '{"type":"document","doc":0,"name":"o","size":2,"mtime_ns":0,"mode":0}
{"type":"chunk","doc":0,"index":0,"start":0,"end":2,"text":"ab"}
{"type":"embedding","doc":0,"index":0,"start":0,"end":2,"model":"0000000000000001","embedding":[1,0]}
{"type":"document_end","doc":0,"size":null,"hash":"0000000000000000"}
{"type":"end","frames":4,"documents":1}\n' | ds-cat --format frames >other.frames
status=0
ds-compress --add -o a.dsz <other.frames 2>log || status=$?
ok "embeddings of another model are refused" test "$status" = 1
ok "and the archive is as it was" cmp a.dsz before.dsz

# a passphrase is asked for on the terminal, and not shown
cat >ask.py <<'EOF'
"""ask.py ANSWERS COMMAND...: run it on a terminal of its own, answer, print what the terminal showed"""
import os, pty, sys, time

pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown = b""
for answer in sys.argv[1].split(","):
    want = shown.count(b": ") + 1
    try:
        while shown.count(b": ") < want:
            shown += os.read(fd, 1000)
        os.write(fd, answer.encode() + b"\n")
    except OSError:
        break
try:
    while True:
        part = os.read(fd, 1000)
        if not part:
            break
        shown += part
except OSError:
    pass
print(shown.decode().replace("\r", "").replace("\n", "|"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
EOF
ask() { python3 ask.py "$@"; }
ask "open it,open it" ds-compress -q --passphrase -o asked.dsz kept.txt >shown || true
ok "a passphrase is asked for twice" grep -qx "Passphrase: |Again: |" shown
printf 'open it\n' >key
ok "it is the key" ds-compress -t --key key asked.dsz
ask "open it" ds-compress -t --passphrase asked.dsz >shown
ok "once for reading" grep -qx "Passphrase: |" shown
ok "another one does not open it" exits 1 ask "open" ds-compress -t --passphrase asked.dsz
ok "two that differ make nothing" exits 1 ask "a,b" ds-compress -q --passphrase -o never.dsz kept.txt
ok "nothing is left of it" test ! -e never.dsz
