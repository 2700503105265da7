Options
$ ds-distill --help
>~ Usage: ds-distill .*
>*
$ ds-distill -o x.gguf
! ds-distill: no teacher: -m MODEL expected
! Try 'ds-distill --help'.
? 2
$ ds-distill -m x.gguf
! ds-distill: no output: -o FILE expected
! Try 'ds-distill --help'.
? 2
$ ds-distill -m x.gguf -o y.gguf z.txt
! ds-distill: unexpected operand 'z.txt'
! Try 'ds-distill --help'.
? 2
$ ds-distill -m x.gguf -o y.gguf --dims 0
! ds-distill: --dims: '0' is not a number from 1 to 65536
! Try 'ds-distill --help'.
? 2
$ ds-distill -m x.gguf -o y.gguf --vocab some
! ds-distill: --vocab: 'some' is none of: used, all
! Try 'ds-distill --help'.
? 2

Distilling a tiny teacher, with text and without
$ python3 $TOP/scripts/gen-model m && for i in 1 2 3 4 5 6 7 8; do for w in cat dog party notice; do echo "the $w sat on the mat with $i days of work"; echo "may $w terminate contract $i"; echo "$w"; done; done >fit.txt
$ ds-distill -m m/bert-F32.gguf -o plain.gguf --dims 16 --name tiny --license MIT
$ printf 'the cat sat\n' | ds-infer -t embed -m plain.gguf --format text | tr ' ' '\n' | grep -c .
> 16
$ ds-distill -m m/bert-F32.gguf -o fit.gguf --dims 16 --fit fit.txt --report fit.txt
>~ fit\.txt: 96 lines, cosine 0\.[0-9]{4}, spearman -?0\.[0-9]{4}

One machine repeats its result, whatever the threads
$ ds-distill -m m/bert-F32.gguf -o again.gguf --dims 16 --fit fit.txt -j 1 && cmp fit.gguf again.gguf
$ ds-distill -m m/bert-F32.gguf -o again.gguf --dims 16 --fit fit.txt -j 3 && cmp fit.gguf again.gguf

The fit brings the student nearer to the teacher
$ ds-distill -q -m m/bert-F32.gguf -o p.gguf --dims 16 --weights fit.txt --report fit.txt >p.out; ds-distill -q -m m/bert-F32.gguf -o f.gguf --dims 16 --fit fit.txt --passes 60 --report fit.txt >f.out; paste -d ' ' p.out f.out | awk '{ gsub(",", ""); print ($11 > $5 + 0.05 && $13 > $7) }'
> 1

Texts are cut as for the teacher
$ cat >t.txt; for m in plain.gguf m/bert-F32.gguf; do ds-infer -t embed -m $m --format text --stats=stats t.txt >vector; grep -o '"prompt_tokens":[0-9]*' stats; done
< The dog's notice: terminated, seeing zebras
> "prompt_tokens":17
> "prompt_tokens":17

A small vocabulary still spells every word
$ ds-distill -m m/bert-F32.gguf -o small.gguf --dims 8 --weights fit.txt --vocab 5
$ printf 'zebra' | ds-infer -t embed -m small.gguf --format text | tr ' ' '\n' | grep -vc '^-*0$'
> 8

A promise unmet, and what cannot be a teacher
$ ds-distill -m m/bert-F32.gguf -o unmet.gguf --dims 2 --report fit.txt --require 0.999; r=$?; test ! -e unmet.gguf && exit $r
>~ fit\.txt: .*
!~ ds-distill: fit\.txt: cosine .*, at least 0\.9990 required
? 3
$ ds-distill -m m/static-I8.gguf -o x.gguf
!~ ds-distill: m/static-I8\.gguf: architecture static is no encoder, bert expected
? 1
$ ds-distill -m m/bert-F32.gguf -o x.gguf --dims 49
!~ ds-distill: .*49 dimensions after 0 dropped, the teacher has 48
? 1
$ ds-distill -m m/bert-F32.gguf -o x.gguf --dims 40 --drop 9
!~ ds-distill: .*40 dimensions after 9 dropped, the teacher has 48
? 1
$ ds-distill -m m/bert-F32.gguf -o x.gguf --fit none.txt --dims 8
!~ ds-distill: none\.txt: .*
? 1
$ ds-distill -m m/bert-F32.gguf -o x.gguf --fit /dev/null --dims 8 --report /dev/null
! ds-distill: /dev/null: no lines to compare on
? 1
$ ds-distill -m m/bert-F32.gguf -o fit.txt --fit fit.txt
! ds-distill: fit.txt is input and output
! Try 'ds-distill --help'.
? 2
$ cp m/bert-F32.gguf t.gguf; ds-distill -m t.gguf -o ./t.gguf
! ds-distill: t.gguf is input and output
! Try 'ds-distill --help'.
? 2
$ ds-distill -m m/bad-truncated.gguf -o x.gguf
!~ ds-distill: m/bad-truncated\.gguf: .*
? 1
$ test ! -e x.gguf && ls -a | grep -c '^\.[^.]'
> 0
? 1

Figures
$ ds-distill -q -m m/bert-F32.gguf -o s.gguf --dims 16 --fit fit.txt --report fit.txt --report fit.txt --stats=stats >out && python3 -c 'import json; s = json.load(open("stats")); print(s["input_bytes"] == len(open("fit.txt").read()), s["tokens"] > 100, s["cosine"] > 0); print(*sorted(s))'
> True True True
> cosine cpu cpu_seconds explained input_bytes load_ms peak_rss_bytes seconds spearman threads tokens
