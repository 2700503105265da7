Chunks, limits and boundaries.

$ printf 'One two three. Four five six. Seven eight nine.' >a.txt; ds-chunk -s 11 -o 4 --bare --format text a.txt
> == a.txt:0-30 (8 tokens, 0 repeated; ends at sentence)
> One two three. Four five six. 
> == a.txt:15-47 (8 tokens, 4 repeated; ends at end)
> Four five six. Seven eight nine.

$ ds-chunk --format jsonl <a.txt
> {"type":"document","doc":0,"name":"","size":null,"mtime_ns":0,"mode":0}
>~ \{"type":"chunk","doc":0,"index":0,"start":0,"end":47,"tokens":1\d,"overlap_tokens":0,"overlap_bytes":0,"boundary":"end","vocabulary":"[0-9a-f]{16}","text":"One two three. Four five six. Seven eight nine."\}
>~ \{"type":"document_end","doc":0,"size":47,"hash":"[0-9a-f]{16}"\}
> {"type":"end","frames":3,"documents":1}

$ printf '# A\n\nOne.\n\n# B\n\nTwo.\n' | ds-chunk -b heading --format text
> == :0-11 (6 tokens, 0 repeated; ends at heading)
> # A
> 
> One.
> 
> == :11-21 (6 tokens, 0 repeated; ends at end)
> # B
> 
> Two.

$ printf 'a b c d e f g' | ds-chunk --bare -b none -s 4 -o 1 --format text
> == :0-8 (4 tokens, 0 repeated; ends at limit)
> a b c d 
> == :6-13 (4 tokens, 1 repeated; ends at end)
> d e f g

An empty document has no chunks.
$ ds-chunk --format jsonl </dev/null | grep -c chunk
? 1
> 0

The way back.
$ ds-chunk a.txt | ds-chunk --join | cmp - a.txt
$ ds-chunk a.txt | ds-chunk -s 5 -o 2 --bare | ds-chunk --join | cmp - a.txt
$ ds-cat a.txt | ds-chunk -b none | ds-cat --format text | cmp - a.txt
$ ds-chunk a.txt --output a.frames && ds-chunk --join --output b.txt a.frames && cmp a.txt b.txt

Two documents keep their names; a missing file is passed over.
$ ds-chunk a.txt missing b.txt | ds-cat -t document | grep -c '"name":"[ab].txt"'
> 2
! ds-chunk: missing: cannot open: No such file or directory
$ ds-chunk a.txt missing --output c.frames; test -e c.frames || exit 9
! ds-chunk: missing: cannot open: No such file or directory
? 9

Bad inputs.
$ head -c 100 a.frames | ds-chunk --output c.frames; s=$?; test -e c.frames || exit $s
!~ ds-chunk: \(stdin\): byte \d+: .*
? 1
$ ds-chunk --join a.txt
! ds-chunk: a.txt: byte 0: no frames, --join expects chunks
? 1
$ (head -c 60 a.frames; printf x; tail -c +62 a.frames) | ds-chunk --join
!~ ds-chunk: \(stdin\): byte \d+: .*
? 1
$ ds-cat <a.txt | ds-chunk | ds-cat -t chunk --format frames | ds-chunk --join | cmp - a.txt

A character of more tokens than the limit ends the output before its end.
$ printf 'ab 🎉' | ds-chunk -m $TOP/tests/data/tiny-bpe.gguf --bare -s 2 -o 0 --output x.frames; test -e x.frames || exit 9
! ds-chunk: (stdin): byte 3: one character has 3 tokens, over the limit of 2
? 9
$ (cat a.txt; printf ' 🎉') | ds-chunk -m $TOP/tests/data/tiny-bpe.gguf --bare -s 2 -o 0 2>/dev/null | ds-cat --format text >/dev/null
!~ ds-cat: \(stdin\): .*
? 1

Any family of vocabularies.
$ for v in bpe spm wordpiece; do ds-chunk -m $TOP/tests/data/tiny-$v.json -s 30 $TOP/CONTRIBUTING.md | ds-chunk --join | cmp - $TOP/CONTRIBUTING.md || exit 1; done

Usage.
$ ds-chunk -s 8 -o 8
! ds-chunk: -o 8 is not less than -s 8
! Try 'ds-chunk --help'.
? 2
$ ds-chunk -s 0
!~ ds-chunk: -s: .*
!*
? 2
$ ds-chunk -b line
! ds-chunk: -b: 'line' is none of: sentence, paragraph, heading, semantic, none
!*
? 2
$ ds-chunk --join --format text
!~ ds-chunk: --join .*
!*
? 2
$ ds-chunk -m nowhere.gguf a.txt
! ds-chunk: nowhere.gguf: cannot open: No such file or directory
? 1

Figures
$ printf 'One two three. Four five six.' >in.txt; ds-chunk --stats=stats in.txt >out && python3 -c 'import json; s = json.load(open("stats")); print(s["input_bytes"], s["documents"], s["chunks"], s["tokens"]); print(*sorted(s))'
> 29 1 1 10
> chunks cpu_seconds documents input_bytes load_ms peak_rss_bytes seconds tokens
$ ds-chunk -b semantic --stats=stats in.txt >out && grep -c '"threads":[0-9]*,"cpu":"[a-z0-9]*"' stats
> 1
$ ds-chunk in.txt | ds-chunk --join --stats >out
!~ \{"input_bytes":\d+,"documents":1,"seconds":.*\}
