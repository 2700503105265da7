ds-grep: what it prints, how it ends.

$ printf 'The cat sat on the mat.\n\nShips sail across the ocean to foreign harbours.\n\nBread is baked from flour and water.\n' > a.txt; printf 'Stars shine in the night sky.\n' > b.txt; printf 'x\000y' > bin

A word of the query decides; plural and case do not matter.
$ ds-grep -w -s 8 SHIP a.txt b.txt
>~ a\.txt:3:0\.\d{4}:Ships sail across the ocean.*

By meaning, without a common word.
$ ds-grep -e -s 12 -k 1 'vessels at sea' a.txt b.txt
>~ a\.txt:3:0\.\d{4}:Ships sail across the ocean.*

Standard input, and both criteria.
$ ds-grep -k 1 -s 12 'baking bread' < a.txt
>~ \(stdin\):5:0\.\d{4}:Bread is baked from flour and water\.

$ ds-grep -k 1 -s 12 'baking bread' - < a.txt
>~ \(stdin\):5:0\.\d{4}:Bread is baked from flour and water\.

Nothing found is exit 1, silently.
$ ds-grep -w zebra a.txt
? 1

$ ds-grep --min-score 0.99 bread a.txt
? 1

$ ds-grep bread /dev/null
? 1

A bad file is named, the others are searched, exit 1.
$ ds-grep -w -s 12 bread missing a.txt
>~ a\.txt:5:.*
! ds-grep: missing: cannot open: No such file or directory
? 1

$ ds-grep -w bread bin
! ds-grep: bin: is binary, not text
? 1

$ ds-grep -w bread .
! ds-grep: .: is a directory
? 1

$ ds-grep -w -0 -s 12 bread a.txt | tr '\000' '@'
>~ a\.txt@5:.*

$ ds-grep -w -s 12 --format jsonl bread a.txt
>~ \{"name":"a\.txt","line":5,"start":75,"end":111,"score":0\.\d+,"meaning":0\.0,"words":0\.\d+,"text":"Bread is baked from flour and water\."\}

$ ds-grep -w -s 12 --format frames bread a.txt | ds-cat --format jsonl
>~ .*"Bread is baked from flour and water\.".*
>*

Usage.
$ ds-grep
! ds-grep: no query given
! Try 'ds-grep --help'.
? 2

$ ds-grep -e -w x a.txt
! ds-grep: -e and -w exclude each other (the default is both)
! Try 'ds-grep --help'.
? 2

$ ds-grep -k 0 x a.txt
! ds-grep: -k: '0' is not a number from 1 to 100000
! Try 'ds-grep --help'.
? 2

$ ds-grep --min-scor=2 x a.txt
! ds-grep: --min-score: '2' is not a number from -1 to 1
! Try 'ds-grep --help'.
? 2

The same bytes from any number of threads and any instruction set.
$ ds-grep -k 5 -j 1 'flour' a.txt b.txt > 1; DS_CPU=ref ds-grep -k 5 -j 3 flour a.txt b.txt | cmp - 1

Figures
$ printf 'Ships sail across the ocean.' >in.txt; ds-grep --stats=stats ship in.txt >out && python3 -c 'import json; s = json.load(open("stats")); print(s["input_bytes"], s["documents"], s["passages"], s["hits"]); print(*sorted(s))'
> 28 1 1 1
> cpu cpu_seconds documents hits input_bytes load_ms passages peak_rss_bytes seconds threads
