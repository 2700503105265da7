# frames.sh - frames between processes: cut, slow, joined, and read by somebody else

sample=$TOP/tests/fuzz/corpus/fuzz_frame/good-types
reader() { python3 "$TOP/tests/frame_reader.py" "$@"; }

# A text with every byte and a long one.
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 3)' >bytes
seq 100000 >numbers
ds-cat --from text bytes numbers >doc.frames
ds-cat numbers bytes | ds-cat --format frames >same.frames

same() { cmp <("${@:2}") "$1"; }

ok "Python reads the same text" same <(cat bytes numbers) reader text <doc.frames
ok "Python reads every type" test "$(reader list <"$sample" | cut -d' ' -f1 | sort -un | tr '\n' ' ')" = "1 2 3 4 5 6 8 9 200 "
ok "Python reads joined streams" test "$(cat "$sample" doc.frames "$sample" | reader list | grep -c '^1 ')" = 6
printf '{"embedding":[1,-2.5]}\n{"embedding":[3e-9,4]}\n' >vectors.jsonl
ds-cat vectors.jsonl -o vectors.frames
ds-cat vectors.frames --format npy -o vectors.npy
ok "Python reads the same vectors" same <(tail -c +129 vectors.npy) reader vectors <vectors.frames
ok "the .npy is what NumPy's format says" python3 - <<'END'
import ast, struct
data = open("vectors.npy", "rb").read()
head = ast.literal_eval(data[10:128].decode())
assert head == {"descr": "<f4", "fortran_order": False, "shape": (2, 2)} and len(data) == 128 + 16
assert [struct.pack("<f", x) for x in (1, -2.5, 3e-9, 4)] == [data[i:i + 4] for i in range(128, 144, 4)]
END

# A producer that is killed: the consumer fails and leaves nothing.
killed() { { cat doc.frames; kill -9 "$BASHPID"; } | head -c "$1" | ds-cat --format text -o out 2>err; }
for n in 1 47 48 100 5000 200000; do
	ok "a stream cut at $n bytes is refused" exits 1 killed "$n"
	ok "in one line" one_line err
	ok "with nothing left behind" test -z "$(find . -name '*out*')"
done
slow_producer() { { head -c 70000 doc.frames; sleep 100; } & echo $! >pid; wait; }
mkfifo pipe
slow_producer >pipe 2>/dev/null &
producer=$!
ds-cat pipe --format text -o out 2>err &
consumer=$!
sleep 0.3
kill -9 "$(cat pid)"
kill "$producer" 2>/dev/null || true
ok "the end of a killed producer is noticed" exits 1 wait "$consumer"
ok "in one line" one_line err
ok "with nothing left behind" test -z "$(find . -name '*out*')"

# A consumer that is killed or interrupted leaves nothing either.
for sig in INT TERM HUP; do
	sleep 100 >pipe &
	producer=$!
	# a background job of a script has SIGINT ignored, so Python starts it
	python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' ds-cat pipe -o out &
	consumer=$!
	for _ in $(seq 50); do
		[ -n "$(find . -name '.out.*')" ] && break
		sleep 0.05
	done
	kill -"$sig" "$consumer"
	ok "SIG$sig ends a consumer" exits $((128 + $(kill -l "$sig"))) wait "$consumer"
	ok "with nothing left behind" test -z "$(find . -name '*out*')"
	kill "$producer"
	wait "$producer" || true
done 2>/dev/null

# Pieces of any size, slowly.
ok "byte by byte" same bytes bash -c 'ds-cat --from text bytes | python3 -c "
import os, sys
for b in sys.stdin.buffer.read(): os.write(1, bytes([b]))" | ds-cat --format text'
trickle() { while IFS= read -r line; do printf '%s\n' "$line"; sleep 0.05; done; }
ok "a slow writer of lines" test "$(seq 5 | trickle | ds-cat --from text | ds-cat --format text | tail -n 1)" = 5
ok "a slow reader" test "$(ds-cat numbers | { sleep 0.3; ds-cat --format text; } | wc -l)" = 100000
mkfifo live
ds-cat --from text <live | ds-cat --format jsonl >now &
exec 7>live
echo first >&7
for _ in $(seq 100); do
	if grep -q first now; then break; fi
	sleep 0.1
done
ok "what has been written arrives while the writer lives" grep -q first now
exec 7>&-
wait

# | head
ok "head ends a producer quietly" test "$( (ds-cat numbers numbers numbers numbers; echo $? >status) 2>&1 | head -c 4 | od -An -c | tr -d ' ')" = "367DSF"
ok "as SIGPIPE does" test "$(cat status)" = 141

# Concatenation
ok "cat joins streams" same <(cat numbers bytes) bash -c 'cat <(ds-cat numbers) <(ds-cat --from text bytes) | ds-cat --format text'
ok "documents are numbered through" test "$(cat "$sample" "$sample" | ds-cat | grep -o '"type":"document","doc":[0-9]*' | tr -dc '0-9\n' | tr '\n' ' ')" = "0 1 2 3 "
ok "frames of frames are the same" same same.frames ds-cat --format frames same.frames
ok "frames to lines to frames" same doc.frames bash -c 'ds-cat doc.frames | ds-cat'

# Places that cannot be written or read
ok "a full disk is an error" exits 1 bash -c 'ds-cat numbers >/dev/full 2>err'
ok "in one line" one_line err
ok "a closed stdout is an error" exits 1 bash -c 'ds-cat numbers >&- 2>err'
ok "a closed stdin is an error" exits 1 bash -c 'ds-cat <&- 2>err'
ok "no environment at all" same numbers bash -c "env -i $(command -v ds-cat) numbers </dev/null | env -i $(command -v ds-cat) --format text"

# What is saved of a damaged stream is a sound stream, whatever the damage.
ok "recovery from any damage" python3 - "$sample" doc.frames <<'END'
import random, subprocess, sys
sound = b"".join(open(path, "rb").read()[:20000] for path in (sys.argv[1], sys.argv[1], sys.argv[2]))
random.seed(1)
for i in range(40):
    b = bytearray(sound)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(b))
        end = min(len(b), at + random.randint(1, 3000))
        how = random.randrange(4)
        if how == 0:
            b[at] ^= 1 << random.randrange(8)
        elif how == 1:
            del b[at:end]
        elif how == 2:
            b[at:at] = random.randbytes(random.randint(1, 50))
        else:
            b[at:at] = b[at:end]
    saved = subprocess.run(["ds-cat", "--recover", "--format", "frames"], input=bytes(b), capture_output=True)
    again = subprocess.run(["ds-cat"], input=saved.stdout, capture_output=True)
    assert saved.returncode == 1 and again.returncode == 0, (i, saved.stderr, again.stderr)
END
