Options
$ ds-bench --help
>~ Usage: ds-bench .*
>*
$ ds-bench --version
>~ ds-bench \(ds\) .*
>~ kernels: (ref|avx2|avx512|vnni)
$ ds-bench -m m/llama-long.gguf --text text
! ds-bench: nothing to do: --matrix or --tune expected
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf
! ds-bench: no text: --text FILE expected, quality is measured on real text
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix --text text
! ds-bench: no language model: -m FILE expected
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf text
! ds-bench: unexpected operand 'text'; texts are given with --text
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 2K,,4K
! ds-bench: --lengths: ',4K' is no list with commas between
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 2K,x
!~ ds-bench: --lengths: 'x' is not a size .*
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf --text text --tasks needle,sing
! ds-bench: --tasks: 'sing' is none of: perplexity, needle, extract, summarise
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf --text text --raw --template chatml
! ds-bench: --raw is without --template
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf --text text --format frames
! ds-bench: --format: text or jsonl
! Try 'ds-bench --help'.
? 2

A matrix
$ $TOP/scripts/gen-model --lm m llama-long
$ for i in $(seq 300); do echo "Line $i tells of the cat that sat on the mat, $((i * 7919 % 1000)) days after. The contract may be terminated!"; done >text; for i in $(seq 300); do echo "The dog of $((i * 7927 % 1000)) has written to the party. Nobody came?"; done >other
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 2K,1500 | cut -c 1-100
>~ \s*length  attention +perplexity +change %  needles   digits    nats 10 50 90 % +facts +
>~ \s*1500  dense +\d+\.\d+               -      ./9  +\d+/45 .*
>~ \s*2048  dense +\d+\.\d+               -      ./9  +\d+/45 .*
>~ dense: seconds grow as length to the power of -?\d\.\d\d
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --tasks extract,summarise
>  length  attention          facts    summary nats  density  mass mean p5    read s  tokens/s  decode/s   peak MB
>~ \s*1500  dense +\d/6 +(\d+)/\1 -\d+\.\d\d +[01]\.\d+ +- +\d+\.\d+ +\d+\.\d +\d+\.\d +[\d.]+
$ ds-bench --matrix -m m/llama-long.gguf --text text --text other --lengths 1500 --tasks needle --format jsonl -o rows && sed 's/,"density.*//;s/"digit_logprob.*\(,"prompt\)/\1/' rows
>~ \{"attention":"dense","text":"text","length":1500,"needles":9,"needles_found":\d,"digits":45,"digits_right":\d+,,"prompt_tokens":1500
>~ \{"attention":"dense","text":"other","length":1500,"needles":9,"needles_found":\d,"digits":45,"digits_right":\d+,,"prompt_tokens":1500
>~ \{"attention":"dense","text":null,"length":1500,"needles":18,"needles_found":\d,"digits":90,"digits_right":\d+,,"prompt_tokens":3000
$ python3 -c 'import json; [json.loads(line) for line in open("rows")]'
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --tasks perplexity --stats=stats >out && python3 -c 'import json; s = json.load(open("stats")); print(s["documents"], s["prompt_tokens"], s["generated_tokens"], s["input_bytes"], *sorted(s))'
>~ 1 1500 32 \d+ cpu cpu_seconds documents generate_seconds generated_tokens input_bytes load_ms peak_rss_bytes prompt_seconds prompt_tokens seconds threads

Ways of reading, against the first
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --attn exact,dense --format jsonl >rows; python3 -c 'import json; a, b = map(json.loads, open("rows")); print(a["attention"], b["attention"], "perplexity_change" in a, abs(b["perplexity_change"]) < 0.02, b["perplexity_change_error"] > 0, abs(b["perplexity"] / a["perplexity"] - 1 - b["perplexity_change"]) < 1e-6, b["summary_tokens"] == a["summary_tokens"])'
> exact dense False True True True True
$ ds-bench --matrix -m m/llama-long.gguf --text text --attn keys:5,7,some
! ds-bench: --attn: keys: W is a whole number from 64 to 16777216, not '5'
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf --text text --attn dense,exact,dense
! ds-bench: --attn: dense twice
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf --text text --attn dense,
!~ ds-bench: --attn: '' is no attention policy: .*
! Try 'ds-bench --help'.
? 2

The mass that attention kept, where it chose by mass
$ ds-bench --matrix -m m/llama-long.gguf --text text --text other --lengths 6K --attn dense,auto --tasks perplexity --format jsonl --plot mass.svg >rows; python3 -c 'import json; r = [json.loads(line) for line in open("rows")]; print(["mass_mean" in x for x in r], all(0 < x["mass_p5"] <= x["mass_mean"] <= 1 and x["density"] < 1 for x in r[1::2]), r[5]["audited"] == r[1]["audited"] + r[3]["audited"], r[5]["mass_p5"] == min(r[1]["mass_p5"], r[3]["mass_p5"]))'; grep -o 'class="t">Mass[^<]*' mass.svg
> [False, True, False, True, False, True] True True True
> class="t">Mass that attention kept, mean

Beyond the context
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500,4K --context 2K --attn dense,stream:64,512 --format jsonl >rows; ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500,4K --attn dense --format jsonl >whole; python3 -c 'import json; r = [json.loads(line) for line in open("rows")]; w = [json.loads(line) for line in open("whole")]; print(r[0]["perplexity"] == w[0]["perplexity"], r[2]["perplexity"] == w[1]["perplexity"], abs(r[2]["perplexity"] / w[1]["perplexity"] - 1) < 0.3, r[2]["prompt_tokens"], r[2]["needles"], r[3]["facts"])'
> True False True 4096 9 6
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 4K --context 2K --tasks perplexity --format jsonl -j 3 | grep -o '"perplexity":[0-9.]*' >want; ds-bench --matrix -m m/llama-long.gguf --text text --lengths 4K --context 2K --runs 2 --format jsonl -j 1 | grep -o '"perplexity":[0-9.]*' | cmp - want
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 4K --context 2K --attn keys
!~ ds-bench: m/llama-long.gguf: .*
? 1

A profile, found and read
$ ds-bench --tune -m m/llama-long.gguf --text text --lengths 1500 --attn stream --within 30 --groups 2 -o p.profile && sed 's/^model .*/model ID/;s/stream:.*/POLICY/;s/dense$/POLICY/;s/layers [0-9]*-[0-9]*/layers A-B/;/^#/d' p.profile | uniq
> ds-profile 1
> model ID
> length 1500
> layers A-B POLICY
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --attn dense,@p.profile --tasks perplexity --format jsonl | grep -o '"attention":"@p.profile"'
> "attention":"@p.profile"
$ ds-infer -t score -m m/llama-long.gguf --attn @p.profile --stats=stats text >out && grep -o '"attn":"[a-z.]*"' stats
> "attn":"p.profile"
$ ds-infer -t score -m m/llama-long.gguf --attn @nothing text
! ds-infer: nothing: cannot open: No such file or directory
? 1
$ sed 's/^model ...../model 00000/' p.profile >q.profile; ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --attn @q.profile
!~ ds-bench: q.profile: the profile is for the model 00000[0-9a-f]{11}, this one is [0-9a-f]{16}
? 1
$ ds-bench --tune -m m/llama-long.gguf --text text --lengths 1500 --attn lsh
! ds-bench: --tune needs one of mass, auto, stream and topk: --attn POLICY
! Try 'ds-bench --help'.
? 2
$ ds-bench --tune -m m/llama-long.gguf --text text --lengths 1500 --attn mass
!~ ds-bench: --tune: up to \d+ tokens mass:\S+ reads densely: a longer one of --lengths
! Try 'ds-bench --help'.
? 2
$ ds-bench --tune -m m/llama-long.gguf --text text --attn mass
! ds-bench: --tune needs one length: --lengths N
! Try 'ds-bench --help'.
? 2

A picture
$ cp text 'a<&">b'; ds-bench --matrix -m m/llama-long.gguf --text 'a<&">b' --text text --lengths 1500,2K --plot p.svg >out && python3 -c 'import xml.dom.minidom as x; d = x.parse("p.svg"); print(d.documentElement.tagName, len(d.getElementsByTagName("path")), len(d.getElementsByTagName("rect")))'
> svg 9 9
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --tasks needle --plot p.svg >out && python3 -c 'import xml.dom.minidom as x; x.parse("p.svg")' && grep -o 'class="t">[^<]*' p.svg
> class="t">llama, 3 layers, 64 dimensions, 16384 tokens of context, 356 in the vocabulary, 1 text
> class="t">Reading the document, seconds
> class="t">Reading, tokens a second
> class="t">Digits of needles right, %
> class="t">Decoding at the end, tokens a second
> class="t">Peak memory, MB

The same figures whatever the threads, the instruction set and the tasks
$ figures() { ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --format jsonl "$@" | sed 's/,"density.*//'; }; figures -j 1 >want; figures -j 3 --runs 2 | cmp - want && DS_CPU=ref figures | cmp - want && DS_CPU=avx2 figures | cmp - want
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --format jsonl --tasks perplexity | grep -o '"perplexity":[0-9.]*' >alone; grep -o '"perplexity":[0-9.]*' want | cmp - alone
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --raw --format jsonl --tasks extract | grep -o '"facts":6'
> "facts":6

Bad input: one line, no output file
$ ds-bench --matrix -m m/llama-long.gguf --text nothing -o rows.new
! ds-bench: nothing: cannot open: No such file or directory
? 1
$ ds-bench --matrix -m m/nothing.gguf --text text -o rows.new
! ds-bench: m/nothing.gguf: cannot open: No such file or directory
? 1
$ head -n 5 text >short; ds-bench --matrix -m m/llama-long.gguf --text text --text short --lengths 2K -o rows.new
!~ ds-bench: short: the text has \d+ tokens, too few for a length of 2048
? 1
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 200 -o rows.new
!~ ds-bench: text: a length of 200 tokens is too short.*
? 1
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 2K,32K -o rows.new
! ds-bench: m/llama-long.gguf: a context of 32768 tokens, the model takes 16384 at most
? 1
$ python3 $TOP/scripts/gen-model m && ds-bench --matrix -m m/static-I8.gguf --text text -o rows.new
! ds-bench: m/static-I8.gguf: architecture static is no language model
? 1
$ ds-bench --matrix -m m/llama-long.gguf --text text -o text
! ds-bench: text is input and output
! Try 'ds-bench --help'.
? 2
$ cp text other; ds-bench --matrix -m m/llama-long.gguf --text text --text other --plot other
! ds-bench: other is input and output
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf --text text -o rows.new --plot rows.new
! ds-bench: --plot: rows.new is the output already
! Try 'ds-bench --help'.
? 2
$ ds-bench --matrix -m m/llama-long.gguf --text text --lengths 1500 --tasks needle --plot nowhere/p.svg >out
!~ ds-bench: nowhere/p.svg: cannot .*
? 1
$ test ! -e rows.new
