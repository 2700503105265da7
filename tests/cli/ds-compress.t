Documents into an archive, and back.

$ mkdir in in/sub && printf 'One sentence. Another.\n' >in/a.txt && printf 'x\0\377' >in/sub/b.bin && : >in/empty && chmod 640 in/a.txt && touch -d 2020-02-02T02:02:02.123456789Z in/a.txt
$ ds-compress -o a.dsz in && ds-compress -l a.dsz
>           23        1       26 in/a.txt
>            0        0        0 in/empty
>            3        0       26 in/sub/b.bin
$ ds-compress -t a.dsz
$ ds-compress -d a.dsz in/a.txt | cmp - in/a.txt
$ ds-compress -d a.dsz in/sub | cmp - in/sub/b.bin
$ mkdir out && ds-compress -x a.dsz -C out && diff -r in out/in && stat -c '%a %.9Y' out/in/a.txt
> 640 1580608922.123456789
$ ds-compress -lv -q a.dsz in/a.txt
> 0640 2020-02-02T02:02:02Z           23        1       26 in/a.txt
!*
$ ds-compress -l --format jsonl a.dsz in/a.txt
> {"name":"in/a.txt","size":23,"chunks":1,"unpacked":26,"mtime_ns":1580608922123456789,"mode":416}

The same bytes whatever the threads; other levels and blocks give the same documents.
$ ds-compress -j 1 -o b.dsz in && ds-compress -j 3 -o c.dsz in && cmp b.dsz c.dsz && cmp a.dsz b.dsz
$ seq 1 40000 >many && ds-compress -1 --chunk 16K -o m.dsz many && ds-compress -d m.dsz | cmp - many
$ ds-compress --level 22 --chunk 1M --no-index -o m.dsz many && ds-compress -d m.dsz | cmp - many

The strong coder, with and without a dictionary.
$ seq 1 21 300000 | sed 's/.*/line & of the file, then & again/' >lines && ds-compress --strong -j 1 --no-index -o s.dsz lines && ds-compress --no-index -o z.dsz lines && test $(stat -c %s s.dsz) -lt $(($(stat -c %s z.dsz) * 9 / 10)) && ds-compress -d s.dsz | cmp - lines
$ ds-compress --strong -j 3 --no-index -o s3.dsz lines && cmp s.dsz s3.dsz && ds-compress -t s.dsz
$ ds-compress --strong -o s.dsz in && ds-compress --add --strong -o s.dsz lines && ds-compress --remove --strong -o s.dsz in && ds-compress -d s.dsz | cmp - lines
$ head -c 60000 lines >few && sed 's/9 of/9 in/' few >few2 && ds-compress --strong --no-index -o s.dsz few && ds-compress --strong --add --no-index -o s.dsz --stats=stats few2 && ds-compress -t s.dsz && ds-compress -d s.dsz few2 | cmp - few2 && grep -o '"strong_references_bytes":[1-9]' stats | cut -c 1-26
> "strong_references_bytes":
$ head -c 20000 lines >few && ds-compress --strong -o s.dsz few && DS_CPU=ref ds-compress -d s.dsz | cmp - few && printf '\377' | dd of=s.dsz bs=1 seek=100 conv=notrunc 2>/dev/null; ds-compress -t s.dsz 2>&1 | sed 's/[0-9][0-9]* bytes/N bytes/'
> ds-compress: s.dsz: byte 48: checksum of N bytes does not match

A language model, of random weights: what it learns of a text makes it better than Zstandard on one of two letters.
$ python3 $TOP/scripts/gen-model --lm m llama-q8_0 qwen2-mix && python3 -c 'import random; print("".join(random.Random(1).choices("qz", weights=(4, 1), k=20000)), end="")' >qz && mkdir mixed && cp qz in/a.txt in/sub/b.bin mixed
$ ds-compress -j 1 --lm m/llama-q8_0.gguf --context 192 -o l.dsz --stats=stats mixed && python3 -c 'import json; s = json.load(open("stats")); print(s["lm_bytes"] > 1500, s["lm_bytes"] < 2500, s["zstd_bytes"])'
> True True 0
$ ds-compress -j 3 --lm m/llama-q8_0.gguf --context 192 -o l3.dsz mixed && cmp l.dsz l3.dsz
$ head -c 2000 qz >q && ds-compress --lm m/llama-q8_0.gguf --context 192 -o q.dsz q && DS_LM=m/llama-q8_0.gguf DS_CPU=ref ds-compress -d q.dsz | cmp - q && DS_LM=m/llama-q8_0.gguf DS_CPU=avx2 ds-compress -d q.dsz | cmp - q
$ ds-compress -t --lm m/llama-q8_0.gguf l.dsz && ds-compress -x --lm m/llama-q8_0.gguf l.dsz -C out mixed && diff -r mixed out/mixed && ds-compress -l l.dsz | cut -c 1-12,31-
>           23 mixed/a.txt
>            3 mixed/b.bin
>        20000 mixed/qz
$ DS_LM=m/llama-q8_0.gguf ds-grep -w sentence l.dsz | cut -d : -f 1 && DS_LM=m/llama-q8_0.gguf ds-cat --format text l.dsz | grep -c '[qz]\{9\}'
> mixed/a.txt
> 1
The archive names its model; another one is refused, and so is what is no language model.
$ ds-compress -d l.dsz mixed/qz
!~ ds-compress: l.dsz: its text is coded by the language model llama-q8_0.gguf \(XXH3 .*
? 1
$ DS_LM=m/qwen2-mix.gguf ds-compress -d l.dsz mixed/qz
!~ ds-compress: l.dsz: its text is coded by the language model llama-q8_0.gguf \(XXH3 .*
? 1
$ ds-compress -t --lm m/none.gguf l.dsz
! ds-compress: m/none.gguf: cannot open: No such file or directory
? 1
$ ds-compress --lm $TOP/share/ds-static.gguf -o no.dsz qz; test ! -e no.dsz
!~ ds-compress: .*/ds-static.gguf: no language model .*
$ ds-compress --lm m/llama-q8_0.gguf --context 100 -o no.dsz qz
! ds-compress: --context: '100' is not a number from 192 to 1048576
! Try 'ds-compress --help'.
? 2
$ ds-compress --lm m/llama-q8_0.gguf --context 1048576 -o no.dsz qz
!~ ds-compress: m/llama-q8_0.gguf: 1048576 tokens to look back; multiples of 64 from 192 to .*
? 1
Added with the model, without it, and taken out.
$ cp l.dsz la.dsz && seq 3000 >numbers && DS_LM=m/llama-q8_0.gguf ds-compress --add -o la.dsz numbers && ds-compress --add --lm m/llama-q8_0.gguf --context 256 -o la.dsz many && ds-compress -t --lm m/llama-q8_0.gguf la.dsz && DS_LM=m/llama-q8_0.gguf ds-compress -d la.dsz numbers | cmp - numbers
$ ds-compress --remove --lm m/llama-q8_0.gguf -o la.dsz mixed/a.txt && DS_LM=m/llama-q8_0.gguf ds-compress -d la.dsz mixed/qz | cmp - qz

Standard input and output.
$ printf 'some text' | ds-compress | ds-compress -d -
> some text
$ ds-compress --name n.txt <many >m.dsz && ds-compress -l m.dsz | cut -c 1-12,31-
>       228894 n.txt
$ ds-chunk in/a.txt many | ds-infer -t embed | ds-compress -o f.dsz && ds-compress -d f.dsz many | cmp - many
$ ds-chunk many | ds-compress -o g.dsz && ds-chunk many | ds-infer -t embed | ds-compress -o h.dsz && cmp g.dsz h.dsz
$ ds-cat many | ds-compress -o t.dsz && ds-compress -d t.dsz | cmp - many
$ ds-chunk many | ds-compress --no-index -o n.dsz && ds-compress -d - <n.dsz | cmp - many && ds-compress -l n.dsz
>       228894        0   228894 many
$ ds-chunk many | ds-compress --no-index --add -o a.dsz && ds-compress -d a.dsz many | cmp - many && ds-compress -t a.dsz && ds-compress --remove -o a.dsz many && cmp a.dsz b.dsz

Additions keep what is there.
$ ds-compress --add -o a.dsz many && ds-compress -l a.dsz in many | wc -l && ds-compress -d a.dsz many | cmp - many && ds-compress -t a.dsz
> 4
$ ds-compress --add -o a.dsz many
! ds-compress: many: 'many' is in the archive already
? 1
$ ds-compress -t a.dsz && ds-compress -d a.dsz in/a.txt
> One sentence. Another.
$ ds-compress --add -o new.dsz many
! ds-compress: new.dsz: cannot open: No such file or directory
? 1
What the archive holds already is not stored again.
$ cp many again && ds-compress --no-index -o e.dsz many && ds-compress --no-index --add -o e.dsz again && ds-compress -d e.dsz again | cmp - many && ds-compress -t --stats=stats e.dsz && python3 -c 'import json; s = json.load(open("stats")); print(s["text_bytes"], s["duplicate_bytes"])'
> 457788 228894

Removed documents are gone, the others stay with their passages.
$ cp a.dsz r.dsz && ds-compress --remove -o r.dsz in/a.txt many && ds-compress -l r.dsz && ds-compress -t r.dsz
>            0        0        0 in/empty
>            3        0        3 in/sub/b.bin
$ cp a.dsz r.dsz && ds-compress --remove -o r.dsz in && ds-compress -t r.dsz && ds-compress -d r.dsz | cmp - many && ds-compress -o only.dsz many && cmp r.dsz only.dsz
$ ds-compress --remove -o r.dsz many && ds-compress -l r.dsz && ds-compress --add -o r.dsz many && cmp r.dsz only.dsz
$ ds-compress --remove -o r.dsz other
! ds-compress: r.dsz: no document 'other' in it
? 1
$ cmp r.dsz only.dsz

Documents in the place of others of their name.
$ cp many kept && ds-compress --no-index -o p.dsz many in && seq 5 >many && ds-compress --no-index --add -f -o p.dsz many in/a.txt && ds-compress -l p.dsz | cut -c 1-12,31- && ds-compress -t p.dsz && ds-compress -d p.dsz many | cmp - many && ls -A | grep -c tmp; mv kept many
>            0 in/empty
>            3 in/sub/b.bin
>           10 many
>           23 in/a.txt
> 0

Archives joined: what is in them, as it is.
$ ds-compress -o j1.dsz lines in && ds-compress --add -o j1.dsz few && sed 's/7 of/7 in/' lines >lines2 && ds-compress -o j2.dsz lines2 many && ds-compress --join -o j.dsz j1.dsz j2.dsz && ds-compress -t j.dsz && { ds-compress -l j1.dsz && ds-compress -l j2.dsz; } >want && ds-compress -l j.dsz | cmp - want && for i in lines few lines2 many; do ds-compress -d j.dsz $i | cmp - $i; done
$ ds-compress --join j1.dsz >j3.dsz && cmp j1.dsz j3.dsz && ds-grep -w sentence j.dsz | cut -d : -f 1
> in/a.txt
$ ds-compress --join l.dsz e.dsz >jl.dsz && ds-compress -t --lm m/llama-q8_0.gguf jl.dsz && ds-compress -d jl.dsz again | cmp - again
$ ds-compress --lm m/qwen2-mix.gguf --context 192 -o o.dsz q && ds-compress --join l.dsz o.dsz >lo.dsz; wc -c <lo.dsz | tr -d ' '
!~ ds-compress: o.dsz: its text is coded by the language model qwen2-mix.gguf \(XXH3 [0-9a-f]{16}\), other text by another one \([0-9a-f]{16}\): an archive has one
> 0
$ DS_LM=m/llama-q8_0.gguf ds-compress --add --lm m/qwen2-mix.gguf --context 192 -o l.dsz numbers; ds-compress -t --lm m/llama-q8_0.gguf l.dsz
!~ ds-compress: l.dsz: its text is coded by the language model llama-q8_0.gguf \(XXH3 [0-9a-f]{16}\), other text by another one \([0-9a-f]{16}\): an archive has one
$ ds-compress --remove -o j.dsz lines2 many && cmp j.dsz j1.dsz && ds-compress --add -o j.dsz lines2 && ds-compress -t j.dsz && ds-compress -d j.dsz lines2 | cmp - lines2
$ ds-compress --join -o none.dsz j1.dsz a.dsz; test ! -e none.dsz
! ds-compress: a.dsz: 'in/a.txt' is in the archive already
$ ds-compress --join -f -o j.dsz j1.dsz a.dsz && ds-compress -t j.dsz && ds-compress -l j.dsz | wc -l
> 6
$ cat j1.dsz j2.dsz >cat.dsz; ds-compress -l cat.dsz
!~ ds-compress: cat.dsz: byte \d+: another archive begins here: ds-compress --join makes one of several
? 1
$ ds-compress --join -o none.dsz j1.dsz many; test ! -e none.dsz
! ds-compress: many: byte 0: not an archive of ds-compress

What must not be extracted, or replaced.
$ ds-compress -x a.dsz -C out in/a.txt
! ds-compress: in/a.txt: is there already; -f replaces it
? 1
$ ds-compress -x -f a.dsz -C out in/a.txt
$ ds-compress -x a.dsz -C nowhere
! ds-compress: nowhere: cannot open the folder: No such file or directory
? 1
$ ds-compress -d a.dsz
! ds-compress: a.dsz: holds 4 documents: name those to write, or extract with -x
? 1
$ ds-compress -d a.dsz nothing
! ds-compress: a.dsz: no document 'nothing' in it
? 1
$ ds-compress -o a.dsz a.dsz
! ds-compress: a.dsz: is the archive itself
? 1
$ mkfifo in/fifo && cp a.dsz in/a.dsz && ds-compress -o in/a.dsz in && ds-compress -l in/a.dsz | wc -l; rm in/fifo in/a.dsz
> 3
! ds-compress: in/a.dsz: is the archive itself: left out
! ds-compress: in/fifo: is no regular file: left out

Bad archives and bad streams: one line, no file.
$ head -c 300 a.dsz >cut.dsz; ds-compress -l cut.dsz
! ds-compress: cut.dsz: byte 268: no footer at the end: the archive is truncated or something follows it
? 1
$ ds-compress -t many
! ds-compress: many: byte 0: not an archive of ds-compress
? 1
$ ds-chunk many | head -c 5000 | ds-compress -o k.dsz; test ! -e k.dsz
!~ ds-compress: \(stdin\): byte \d+: .*
$ ds-compress -o k.dsz nothing; test ! -e k.dsz
! ds-compress: nothing: cannot read: No such file or directory

What is left of a damaged archive: what is whole by its name, the rest with zeros for what is lost.
$ seq 20000 >one && seq 30001 50000 >two && mkdir saved && ds-compress --no-index --chunk 16K -o w.dsz one two in/a.txt && cp w.dsz d.dsz && printf '\377' | dd of=d.dsz bs=1 seek=100 conv=notrunc 2>/dev/null; ds-compress -x --salvage d.dsz -C saved; ls saved saved/in && cmp saved/two two && cmp -l saved/one.part one | awk '$2 != 0' | wc -l
> saved:
> in
> one.part
> two
>
> saved/in:
> a.txt
> 0
!~ ds-compress: d.dsz: 'one': bytes 0 to \d+ are lost
? 0
$ head -c -40 w.dsz >d.dsz; ds-compress -d --salvage d.dsz two >two.out; cmp two two.out
!~ ds-compress: d.dsz: byte \d+: no footer at the end: .*
!~ ds-compress: d.dsz: byte \d+: \d+ bytes belong to no documents that are left
$ ds-compress -x --salvage w.dsz -C saved one && cmp saved/one one
$ ds-compress -d --salvage one
! ds-compress: one: byte 0: no part of an archive in it
? 1
$ printf '\377' | dd of=w.dsz bs=1 seek=100 conv=notrunc 2>/dev/null; ds-compress --salvage -o whole.dsz w.dsz; ds-compress -t whole.dsz && ds-compress -l whole.dsz | awk '{print $4}' && ds-compress -d whole.dsz two | cmp - two
!~ ds-compress: w.dsz: .*'one': bytes 0 to \d+ are lost
> two
> in/a.txt
$ head -c -40 whole.dsz >cut.dsz; ds-compress --salvage -o again.dsz cut.dsz; ds-compress -d again.dsz two | cmp - two
!~ ds-compress: cut.dsz: byte \d+: no footer.*
!*
$ ds-compress --salvage -o again.dsz one; ds-compress -t again.dsz
! ds-compress: one: byte 0: no part of an archive in it
$ ds-compress --salvage --no-index -o n.dsz one
! ds-compress: --salvage goes with -x, -d or -l, or with -o NEW and one archive
! Try 'ds-compress --help'.
? 2

The seekable format of Zstandard, to be read by anyone.
$ ds-compress --plain --chunk 16K -j 1 -o m.zst many && ds-compress --plain --chunk 16K -j 3 many | cmp - m.zst && zstd -qdc m.zst | cmp - many && ds-compress -d m.zst | cmp - many && ds-compress -t m.zst && ds-compress --plain -d <m.zst | cmp - many
$ head -c 100040 many | tail -c 40 >part && ds-compress -d --range 100000-100040 m.zst | cmp - part && ds-compress -d --range 100000-100040 a.dsz many | cmp - part && ds-compress -d --range 228888- m.zst
> 40000
$ head -c 16384 many >exact && ds-compress --plain --chunk 16K exact | zstd -qdc | cmp - exact && ds-compress --plain <in/empty | zstd -qdc | wc -c && ds-compress --plain <in/empty | ds-compress --plain -d
> 0
$ printf '\377' | dd of=m.zst bs=1 seek=20000 conv=notrunc 2>/dev/null; ds-compress -t m.zst
!~ ds-compress: m.zst: byte \d+: .*
? 1
$ ds-compress -d --range 0-10 m.zst | head -n 2
> 1
> 2
$ zstd -q many -o o.zst && ds-compress -d o.zst
!~ ds-compress: o.zst: byte \d+: no table of frames at the end: not made with --plain, or truncated
? 1
$ tail -c +204801 many | head -c 5120 >part && ds-compress -d --range 200K-205K a.dsz many | cmp - part && ds-compress -d --range=-6 m.zst && tail -c 1024 many >part && ds-compress -d --range=-1k a.dsz many | cmp - part
> 40000
$ ds-compress -d --range=-1G a.dsz many | cmp - many
$ ds-compress -d --range - a.dsz many
! ds-compress: --range: '-' is not START-END
! Try 'ds-compress --help'.
? 2
$ ds-compress -d --range 5-300000 a.dsz many
! ds-compress: a.dsz: bytes 5 to 300000 of a document of 228894
? 1
$ ds-compress --plain --strong many
! ds-compress: --plain goes with --level, --chunk, -d and -t
! Try 'ds-compress --help'.
? 2

Usage.
$ ds-compress -d
! ds-compress: -d needs the archive's name, or - for standard input
! Try 'ds-compress --help'.
? 2
$ ds-compress -x -l a.dsz
! ds-compress: -x and -l exclude each other
! Try 'ds-compress --help'.
? 2
$ ds-compress --chunk 1K -o k.dsz many
!*
? 2
$ ds-compress --add many
! ds-compress: --add needs the archive: -o FILE
! Try 'ds-compress --help'.
? 2

Figures
$ printf 'some text' >in.txt; ds-compress -j 2 -o s.dsz --stats=stats in.txt && python3 -c 'import json; s = json.load(open("stats")); print(s["input_bytes"], s["text_bytes"], s["documents"], s["chunks"], s["threads"]); print(*sorted(s))'
> 9 9 1 1 2
> chunks cpu_seconds dictionary_bytes dictionary_text_bytes documents duplicate_bytes index_bytes input_bytes lm_bytes output_bytes peak_rss_bytes ratio seconds stored_bytes strong_bytes strong_dictionary_bytes strong_references_bytes text_bytes threads zstd_bytes zstd_dictionary_bytes zstd_references_bytes
Several archives are summed up: every key stands once.
$ ds-compress -t --stats=stats s.dsz s.dsz && python3 -c 'import json; s = json.load(open("stats"), object_pairs_hook=list); print(len(s) == len(dict(s)), dict(s)["text_bytes"], dict(s)["documents"])'
> True 18 2

Embeddings alone.
$ ds-compress --embeddings -o e.dsv in/a.txt; test ! -e e.dsv
!~ ds-compress: in/a.txt: byte 23: input ends within the head of a frame: .*
$ ds-chunk in/a.txt | ds-infer -t embed | ds-compress --embeddings -v -o e.dsv; ds-compress --embeddings -d e.dsv | ds-cat -t embedding | wc -l | tr -d ' '
!~ ds-compress: 1 embeddings, 960 bytes in f32 -> [0-9]+ \([0-9.]+ %\); largest error of a component 0\.00[0-9]+, least cosine 0\.999[0-9]+
! ds-compress: 1 frames of text and of other kinds were left out
>* 
$ ds-compress --embeddings -t e.dsv --stats=stats && python3 -c 'import json; s = json.load(open("stats")); print(s["documents"], s["embeddings"], s["values_bytes"], s["left_out"], 0 < s["max_error"] < 0.003, 0.999 < s["least_cosine"] < 1)'
> 1 1 960 0 True True
$ ds-compress --embeddings -t in/a.txt
! ds-compress: in/a.txt: byte 0: not embeddings packed by ds-compress --embeddings
? 1
$ ds-compress --bits 4 -o no.dsz in
! ds-compress: --bits goes with --embeddings
! Try 'ds-compress --help'.
? 2
$ ds-compress --embeddings -l e.dsv
! ds-compress: --embeddings goes with -d and -t, not with -l
! Try 'ds-compress --help'.
? 2
$ ds-compress --embeddings --strong -o no e.dsv
! ds-compress: --embeddings makes no archive: its options do not fit
! Try 'ds-compress --help'.
? 2
$ ds-compress --embeddings --bits 9 -o no e.dsv
! ds-compress: --bits: '9' is not a number from 2 to 8
! Try 'ds-compress --help'.
? 2

Bits of the embeddings of an archive: kept where it is added to.
$ ds-compress --index-bits 3 -o b3.dsz in/a.txt && ds-compress --add -o b3.dsz in/sub && ds-compress -t b3.dsz && ds-grep -k 1 -e sentence b3.dsz | cut -d : -f 1
> in/a.txt
$ ds-compress --no-index --index-bits 2 -o no.dsz in
! ds-compress: --index-bits and --no-index exclude each other
! Try 'ds-compress --help'.
? 2

Encrypted archives.
$ printf 'one secret\n' >key; printf 'another\n' >key2; ds-compress --key key -o k.dsz in && ds-compress -t --key key k.dsz && DS_KEY=key ds-compress -d k.dsz in/a.txt | cmp - in/a.txt
$ ds-compress -l k.dsz; grep -c a.txt k.dsz
! ds-compress: k.dsz: it is encrypted, and no key is given (--key, --passphrase, DS_KEY)
> 0
? 1
$ ds-compress -x --key key2 -C never k.dsz; ls never
! ds-compress: k.dsz: the key is another one, or its lock was changed
!~ ls: .*
? 2
$ ds-compress -d --key key a.dsz in/a.txt
! ds-compress: a.dsz: it is not encrypted, and a key is given
? 1
$ printf 'one secret' >key3; printf 'more\n' >more; ds-compress --add --key key3 -o k.dsz more && DS_KEY=key ds-compress --remove -o k.dsz in/sub && DS_KEY=key ds-compress -l k.dsz | awk '{print $4}'
> in/a.txt
> in/empty
> more
$ ds-compress --add -o k.dsz in/sub
! ds-compress: k.dsz: it is encrypted, and no key is given (--key, --passphrase, DS_KEY)
? 1
$ DS_KEY=key ds-compress --join -o open.dsz k.dsz && ds-compress -t open.dsz && ds-compress --join --key key2 -o k2.dsz open.dsz && DS_KEY=key2 ds-grep -k 1 -e sentence k2.dsz | cut -d : -f 1
> in/a.txt
$ DS_KEY=key ds-cat -i k2.dsz
! ds-cat: k2.dsz: the key is another one, or its lock was changed
? 1
$ ds-cat --key key2 --format text k2.dsz | head -n 1; ds-cat -i --key key2 k2.dsz | head -n 1 | cut -d , -f 1
> One sentence. Another.
> k2.dsz: encrypted archive
$ python3 -c 'd = bytearray(open("k.dsz", "rb").read()); d[60] ^= 1; open("bad.dsz", "wb").write(d)'; ds-compress -t --key key bad.dsz
! ds-compress: bad.dsz: byte 48: checksum of 104 bytes does not match
? 1
$ : >nothing; ds-compress --key nothing -o no.dsz in
! ds-compress: nothing: the key is empty
? 1
$ ds-compress --key none -o no.dsz in
! ds-compress: none: cannot open: No such file or directory
? 1
$ setsid -w ds-compress --passphrase -o no.dsz in
! ds-compress: --passphrase: there is no terminal to ask on; --key names a file
? 1
$ ds-compress --key key --passphrase -o no.dsz in
! ds-compress: --key and --passphrase exclude each other
! Try 'ds-compress --help'.
? 2
$ ds-compress --plain --key key -o no.zst in/a.txt; test -e no.zst || test -e no.dsz
! ds-compress: --key and --passphrase are of archives
! Try 'ds-compress --help'.
? 1
