Ids, counts, the way back.

$ printf 'Hello, world!' >a.txt; printf 'It works.\n' >b.txt; ds-tokenize --ids a.txt b.txt
>~ \d+ \d+ \d+ \d+
>~ \d+ \d+ \d+

$ ds-tokenize -c a.txt
> 4
$ ds-tokenize -c a.txt b.txt
> 4 a.txt
> 3 b.txt
> 7 total
$ ds-tokenize -c --affix <a.txt
> 6
$ printf '[SEP]' | ds-tokenize -c
> 3
$ printf '[SEP]' | ds-tokenize -c --special
> 1
$ ds-tokenize --ids a.txt b.txt | ds-tokenize -d
> hello , world !it works .
$ ds-tokenize a.txt b.txt | ds-tokenize -d --format jsonl
>~ \{"type":"document","doc":0,"name":"a.txt","size":13,.*
>*

An empty document is a line without ids.
$ ds-tokenize --ids </dev/null
> 
$ ds-tokenize -c </dev/null
> 0

Frames pass through and tokens are added.
$ ds-cat a.txt | ds-tokenize | ds-cat --format text | cmp - a.txt
$ ds-chunk a.txt | ds-tokenize --format jsonl | grep -o '"type":"[a-z_]*"'
> "type":"document"
> "type":"chunk"
> "type":"tokens"
> "type":"document_end"
> "type":"end"
$ ds-tokenize a.txt >1; ds-tokenize <1 >2; cmp 1 2

Spans: what is dropped belongs to the token after it, at the end to the last.
$ printf '  Two \n words \n' | ds-tokenize --format jsonl | grep -o '"ends":.*'
> "ends":[5,15]}

Threads do not change the tokens.
$ seq 1 200000 >n.txt; ds-tokenize -j 1 n.txt >1; ds-tokenize -j 3 n.txt >2; cmp 1 2
$ test $(ds-tokenize -c n.txt) -eq $(ds-tokenize --ids n.txt | wc -w)

Bad input.
$ ds-tokenize --ids nosuch
! ds-tokenize: nosuch: cannot open: No such file or directory
? 1
$ ds-tokenize -m a.txt a.txt
!~ ds-tokenize: a.txt: .*
? 1
$ ds-tokenize -c nosuch a.txt
> 4 a.txt
> 4 total
! ds-tokenize: nosuch: cannot open: No such file or directory
? 1
$ echo 1 2 x | ds-tokenize -d
! ds-tokenize: (stdin): byte 4: byte 0x78, token ids in decimal expected
? 1
$ echo 1 4000000000 | ds-tokenize -d
!~ ds-tokenize: \(stdin\): byte 12: token id 4000000000, below \d+ expected
? 1
$ echo 99999999999999999999 | ds-tokenize -d -o out
!~ ds-tokenize: \(stdin\): byte 20: token id \d+, below \d+ expected
? 1
$ test -e out
? 1
$ ds-tokenize a.txt | head -c 200 | ds-tokenize
>*
!~ ds-tokenize: \(stdin\): byte \d+: .*
? 1
$ ds-tokenize -c -d a.txt
! ds-tokenize: -c and -d exclude each other
! Try 'ds-tokenize --help'.
? 2
$ ds-tokenize -c --ids a.txt
! ds-tokenize: -c prints numbers, --format and --ids are not for it
! Try 'ds-tokenize --help'.
? 2
$ ds-tokenize -d --affix a.txt
! ds-tokenize: --affix is for encoding
! Try 'ds-tokenize --help'.
? 2

Figures
$ printf 'Hello, world!' >in.txt; ds-tokenize -c --stats=stats in.txt >out && python3 -c 'import json; s = json.load(open("stats")); print(s["input_bytes"], s["documents"], s["tokens"]); print(*sorted(s))'
> 13 1 4
> cpu_seconds documents input_bytes load_ms peak_rss_bytes seconds threads tokens
