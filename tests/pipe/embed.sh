# embed.sh - ds-infer -t embed: the same bytes whatever the threads, batches and instruction set
python3 "$TOP/scripts/gen-model" models
python3 - >texts <<'END'
import random
r = random.Random(5)
words = "the cat sat on a mat contract party may terminate days written zebra qwertyuiop 42 世界 café , . !".split()
for i in range(600):
    print(" ".join(r.choice(words) for _ in range(r.choice((0, 1, 3, 8, 20, 60)))))
END
embed() { ds-infer -t embed -q "$@"; }

for model in models/static-I8.gguf models/static-I8-plain.gguf models/static-F32.gguf models/static-F16.gguf \
	models/static-Q8_0.gguf models/static-wide.gguf models/bert-F32.gguf models/bert-F16.gguf \
	models/bert-BF16.gguf models/bert-cls.gguf; do
	head -n 40 texts >few
	DS_CPU=ref embed -m "$model" --lines -j 1 few >want
	for cpu in avx2 avx512 vnni; do
		DS_CPU=$cpu embed -m "$model" --lines -j 2 few >got
		ok "$model: $cpu gives the bytes of ref" cmp want got
	done
	embed -m "$model" --lines --format text -j 1 texts >want
	for j in 2 3; do
		embed -m "$model" --lines --format text -j $j texts >got
		ok "$model: $j threads give the bytes of one" cmp want got
	done
	tail -n +101 texts | embed -m "$model" --lines --format text >got
	tail -n +101 want >part
	ok "$model: the neighbours of a text do not matter" cmp part got
done

embed -m models/bert-F32.gguf --lines --format frames few >from-gguf
# frames pass through
embed --lines few >first
embed <first >second
ok "embeddings that were there are replaced by the same" cmp first second
cat first first | embed >both
embed --lines few few >twice
ok "concatenated streams become one" cmp both twice
embed -m models/static-I8.gguf <from-gguf >replaced
embed -m models/static-I8.gguf --lines few >direct
ok "embeddings of another model are replaced" cmp replaced direct
ok "a document reads as one text" test "$(embed --format text few | wc -l)" = 1
ok "and as lines" test "$(embed --format text --lines few | wc -l)" = 40
ok "an empty input is a text without tokens" test "$(embed --format text </dev/null | tr ' ' '\n' | sort -u)" = 0

# a killed producer, a damaged stream
head -c 5000 first >torn-off
embed -o out torn-off 2>err && status=0 || status=$?
ok "a cut stream: exit 1" test "$status" = 1
ok "a cut stream: one line" one_line err
ok "a cut stream: no output" test ! -e out
{ head -c 3000 first; printf X; tail -c +3002 first; } >flipped
embed -o out flipped 2>err && status=0 || status=$?
ok "a flipped byte: exit 1" test "$status" = 1
ok "a flipped byte: one line with the offset" grep -q 'flipped: byte [0-9]*: ' err
{ (embed --lines few; kill -9 $BASHPID) | embed >whole; } 2>/dev/null || true
ok "a producer killed after its end frame is whole" cmp first whole
{ (head -c 4096 first; kill -9 $BASHPID) | { embed -o torn 2>err; echo $? >status; }; } 2>/dev/null || true
ok "a producer killed before its end frame: exit 1" test "$(cat status)" = 1
ok "a producer killed before its end frame: one line" one_line err
ok "and no output" test ! -e torn

# types
for type in f16 i8; do
	embed --lines --type $type --format text few >got
	embed --lines --format text few >want
	ok "$type is close to f32" python3 - want got <<'END'
import sys
for a, b in zip(*(open(p) for p in sys.argv[1:])):
    a, b = ([float(x) for x in line.split()] for line in (a, b))
    assert max(abs(x - y) for x, y in zip(a, b)) <= 0.004
END
done

# sums whose squares vanish or overflow
embed --lines -m models/static-I8.gguf --format text few >want
for size in small large; do
	embed --lines -m models/static-$size.gguf --format text few >got
	ok "a model of $size values" python3 - want got <<'END'
import sys
for a, b in zip(*(open(p) for p in sys.argv[1:])):
    a, b = ([float(x) for x in line.split()] for line in (a, b))
    assert max(abs(x - y) for x, y in zip(a, b)) <= 1e-6
END
done

# constant memory
python3 -c "print('the cat sat on the mat and said so\n' * 400000, end='')" >long
embed --lines --stats=stats --format frames long -o out
ok "memory does not grow with the input" python3 -c "
import json; s = json.load(open('stats')); assert s['texts'] == 400000 and s['peak_rss_bytes'] < 80e6, s"
ok "reads byte by byte" python3 - <<'END'
import subprocess, threading
p = subprocess.Popen(["ds-infer", "-t", "embed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
got = []
t = threading.Thread(target=lambda: got.append(p.stdout.read())); t.start()
data = open("first", "rb").read()
for i in range(0, 2000): p.stdin.write(data[i:i + 1]); p.stdin.flush()
p.stdin.write(data[2000:]); p.stdin.close(); t.join()
assert p.wait() == 0 and got[0] == data
END
