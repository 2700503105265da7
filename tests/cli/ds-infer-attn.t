Attention policies: the same bytes however a text is read; dense where nothing is left out
$ python3 $TOP/scripts/gen-model --lm m llama-q8_0 gemma3-mix
$ for i in $(seq 1 40); do printf 'Line %d: foxes, dogs; then rain? No!\n' $i; done >text; for i in $(seq 1 12); do printf 'A word and another one, '; done >>text
$ score() { ds-infer -t score -m m/${3-llama-q8_0}.gguf --attn $1 --format jsonl -j ${2-2} text; }; for a in window:1024 stream:0,1024 stream:5000 keys:1024 hybrid:1024,0.5 topk:1024 vsa:1,1; do score $a | cmp - $(score dense >dense; echo dense) || echo $a; done; wc -l <dense
>~ \d+
$ score() { ds-infer -t score -m m/llama-q8_0.gguf --attn $1 --format jsonl -j $2 text; }; for a in window:100 stream:4,64 keys:64,8 hybrid hybrid-sum topk:30 vsa lsh; do score $a 1 >want; cmp want dense >cmp && echo $a; score $a 3 | cmp - want; DS_CPU=ref score $a 2 | cmp - want; DS_CPU=avx2 score $a 2 | cmp - want; done
A shorter window than the model's own is kept everywhere
$ for a in dense window:5000 window:16; do ds-infer -t score -m m/gemma3-mix.gguf --attn $a text | cut -f 1; done | uniq | wc -l
> 2
A document that is cut back to is read as if it had been read alone
$ head -n 26 text >doc; ask() { ds-infer -t generate --raw -n 9 --document doc -m m/llama-q8_0.gguf --attn $1 --lines; }; for a in stream:4,64 keys:64,8 vsa lsh; do printf 'Why is that so?\n' | ask $a >alone; printf 'Where are the foxes and the dogs of this text? Tell me all of them.\nWhy is that so?\n' | ask $a | tail -n 1 | cmp - alone || echo $a; done
$ ds-infer -t score -m m/llama-q8_0.gguf --attn window:100 --stats text 2>&1 >/dev/null | sed 's/.*\("attn":"[^"]*","density":0\.[0-9]\).*/\1/'
>~ "attn":"window:100","density":0\.[12]
$ ds-infer -t score -m m/llama-q8_0.gguf --attn window:0 text
! ds-infer: --attn: window: W is a whole number from 1 to 16777216, not '0'
! Try 'ds-infer --help'.
? 2
$ python3 $TOP/scripts/gen-model --lm d deepseek2-v3; ds-infer -t score -m d/deepseek2-v3.gguf --attn window:9 text
! ds-infer: d/deepseek2-v3.gguf: latent attention is exact, without a policy
? 1
