Options
$ ds-infer --help
>~ Usage: ds-infer .*
>*
$ ds-infer --version
>~ ds-infer \(ds\) .*
>~ kernels: (ref|avx2|avx512|vnni)
$ DS_CPU=ref ds-infer --version
>~ ds-infer \(ds\) .*
> kernels: ref
$ ds-infer
! ds-infer: no task: -t embed, generate, score, classify or outline
! Try 'ds-infer --help'.
? 2
$ ds-infer -t sing
! ds-infer: -t: 'sing' is none of: embed, generate, score, classify, outline
! Try 'ds-infer --help'.
? 2
$ ds-infer -t embed --type f64
! ds-infer: --type: 'f64' is none of: f32, f16, i8
! Try 'ds-infer --help'.
? 2
$ DS_CPU=sse ds-infer -t embed
! ds-infer: DS_CPU=sse: expected ref, avx2, avx512 or vnni
? 1

Output
$ python3 $TOP/scripts/gen-model m
$ ds-infer -t embed -m m/static-I8.gguf --format jsonl --lines | cut -c 1-39
< the cat
<
< sat on the mat
> {"doc":"","start":0,"end":8,"embedding"
> {"doc":"","start":8,"end":9,"embedding"
> {"doc":"","start":9,"end":24,"embedding
$ printf 'the cat' >'a"b'; ds-infer -t embed -m m/static-I8.gguf --format jsonl 'a"b' | cut -c 1-24
> {"doc":"a\"b","start":0,
$ DS_MODEL=m/static-I8.gguf ds-infer -t embed --format text --stats=stats - >out && grep -c '"prompt_tokens":2,' stats
< the cat
> 1

Models that cannot be used: one line, with the file and the place
$ ds-infer -t embed -m m/nothing.gguf </dev/null
! ds-infer: m/nothing.gguf: cannot open: No such file or directory
? 1
$ ds-infer -t embed -m m/bad-missing-tensor.gguf </dev/null
! ds-infer: m/bad-missing-tensor.gguf: tensor blk.1.ffn_down.weight is missing
? 1
$ ds-infer -t embed -m m/bad-dims.gguf </dev/null
!~ ds-infer: m/bad-dims.gguf: byte \d+: tensor blk.0.attn_k.bias has dimensions 47 x 1 x 1, expected 48 x 1
? 1
$ ds-infer -t embed -m m/bad-type.gguf </dev/null
!~ ds-infer: m/bad-type.gguf: byte \d+: tensor blk.0.attn_q.weight is of type I32 \(26\), which is not read here
? 1
$ ds-infer -t embed -m m/bad-unknown-type.gguf </dev/null
!~ ds-infer: m/bad-unknown-type.gguf: byte \d+: tensor blk.0.attn_q.weight is of type unknown \(77\), .*
? 1
$ ds-infer -t embed -m m/bad-nan.gguf </dev/null
!~ ds-infer: m/bad-nan.gguf: byte \d+: tensor blk.1.ffn_up.bias holds NaN or infinity
? 1
$ ds-infer -t embed -m m/bad-nan-words.gguf -o out2
< the cat
! ds-infer: m/bad-nan-words.gguf: an embedding is not finite: the model's weights are out of range
? 1
$ ls out2* .out2* 2>/dev/null
? 2
$ ds-infer -t embed -m m/bad-architecture.gguf </dev/null
! ds-infer: m/bad-architecture.gguf: architecture mamba, static, bert, llama, qwen2, gemma3 or deepseek2 expected
? 1
$ ds-infer -t embed -m m/bad-heads.gguf </dev/null
! ds-infer: m/bad-heads.gguf: 48 dimensions do not divide into 5 heads
? 1
$ ds-infer -t embed -m m/bad-layers.gguf </dev/null
! ds-infer: m/bad-layers.gguf: the number of layers is 0, 1..1024 expected
? 1
$ ds-infer -t embed -m m/bad-pooling.gguf </dev/null
! ds-infer: m/bad-pooling.gguf: bert.pooling_type is 4, 1 (mean) or 2 (CLS) expected
? 1
$ ds-infer -t embed -m m/bad-key.gguf </dev/null
! ds-infer: m/bad-key.gguf: key bert.context_length is missing
? 1
$ ds-infer -t embed -m m/bad-truncated.gguf </dev/null
!~ ds-infer: m/bad-truncated.gguf: byte \d+: tensor \S+ \(15360 bytes at \d+\) ends after the file, .*
? 1
$ ds-infer -t embed -m m/bad-head.gguf </dev/null
!~ ds-infer: m/bad-head.gguf: byte \d+: .*
? 1
$ ds-infer -t embed -m m/bad-static-dims.gguf </dev/null
!~ ds-infer: m/bad-static-dims.gguf: byte \d+: tensor token_embd.weight has dimensions 40 x 250 x 1, expected 40 x 251
? 1
$ ds-infer -t embed -m m/bad-static-scale.gguf </dev/null
!~ ds-infer: m/bad-static-scale.gguf: byte \d+: tensor token_embd.scale holds NaN or infinity
? 1
$ ds-infer -t embed -m m/bad-folder-empty </dev/null
! ds-infer: m/bad-folder-empty/config.json: cannot open: No such file or directory
? 1
$ ds-infer -t embed -m m/bad-folder-tensors </dev/null
!~ ds-infer: m/bad-folder-tensors/model.safetensors: byte \d+: tensor \S+: its data ends after the file
? 1
$ ds-infer -t embed -m m/bad-folder-act </dev/null
! ds-infer: m/bad-folder-act: config.json: hidden_act is silu, gelu expected
? 1
$ ds-infer -t embed -m m/bad-folder-kind </dev/null
! ds-infer: m/bad-folder-kind: config.json: model_type is roberta, bert expected
? 1
$ ds-infer -t embed -m m/bad-folder-json </dev/null
!~ ds-infer: m/bad-folder-json/config.json: byte \d+: not JSON: .*
? 1

Language models: pooling
$ python3 $TOP/scripts/gen-model --lm l llama-mix
$ ds-infer -t embed -m l/llama-mix.gguf --lines --format text >mean
< the fox
< jumps
$ printf 'the fox' | ds-infer -t embed -m l/llama-mix.gguf --format text >one && head -n 1 mean | cmp - one
$ printf 'the fox' | ds-infer -t embed -m l/llama-mix.gguf --pooling last --format text | cmp -s - one
? 1
$ ds-infer -t embed -m l/llama-mix.gguf --pooling cls
! ds-infer: --pooling: 'cls' is none of: mean, last
! Try 'ds-infer --help'.
? 2
$ ds-infer -t embed -m m/bert-F32.gguf --pooling mean </dev/null
! ds-infer: m/bert-F32.gguf: the pooling of architecture bert is fixed
? 1

Inputs: the others are done, the exit status tells
$ printf 'the cat' >good; ds-infer -t embed --format jsonl good missing good | cut -c 1-20
> {"doc":"good","start
> {"doc":"good","start
! ds-infer: missing: cannot open: No such file or directory

Language models: options that make no sense are usage
$ python3 $TOP/scripts/gen-model --lm m llama-q8_0
$ ds-infer -t generate -p hello
! ds-infer: -t generate needs a language model: -m FILE
! Try 'ds-infer --help'.
? 2
$ ds-infer -p '' -m m/llama-q8_0.gguf
! ds-infer: -p: the prompt is empty
! Try 'ds-infer --help'.
? 2
$ ds-infer -t embed --temp 1
! ds-infer: --temp is not for -t embed
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score -p hello -m m/llama-q8_0.gguf
! ds-infer: --prompt is not for -t score
! Try 'ds-infer --help'.
? 2
$ ds-infer -t generate --type f16 -m m/llama-q8_0.gguf
! ds-infer: --type is not for -t generate
! Try 'ds-infer --help'.
? 2
$ ds-infer -t embed --memory 1G
! ds-infer: --memory is for language models
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score --memory much -m m/llama-q8_0.gguf
!~ ds-infer: --memory: 'much'.*
! Try 'ds-infer --help'.
? 2
$ ds-infer -t embed --skip-layers 3
! ds-infer: --skip-layers is not for -t embed
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score --skip-layers 3,x -m m/llama-q8_0.gguf
! ds-infer: --skip-layers: '3,x' is no list of layers (3,7-9) nor auto:N
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score --skip-layers 9-7 -m m/llama-q8_0.gguf
! ds-infer: --skip-layers: '9-7' is no list of layers (3,7-9) nor auto:N
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score --skip-layers 1, -m m/llama-q8_0.gguf
! ds-infer: --skip-layers: '1,' ends with a comma
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score --skip-layers auto:0 -m m/llama-q8_0.gguf
!~ ds-infer: --skip-layers auto: '0'.*
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score --skip-layers 1-3 -m m/llama-q8_0.gguf
! ds-infer: m/llama-q8_0.gguf: no layer 3 to leave out: the model has 0 to 2
? 1
$ ds-infer -t score --skip-layers 0-2 -m m/llama-q8_0.gguf
! ds-infer: m/llama-q8_0.gguf: all 3 layers left out
? 1
$ printf 'a few words' | ds-infer -t score --skip-layers auto:2 -m m/llama-q8_0.gguf
!~ ds-infer: .*2 layers cannot be left out: the model has 3, and the first and the last stay
? 1
$ ds-infer -t outline --labels a,b -m m/llama-q8_0.gguf
! ds-infer: --labels is not for -t outline
! Try 'ds-infer --help'.
? 2
$ ds-infer -t classify -m m/llama-q8_0.gguf
! ds-infer: -t classify needs --labels
! Try 'ds-infer --help'.
? 2
$ ds-infer -t classify --labels a,b --format frames -m m/llama-q8_0.gguf
! ds-infer: -t classify writes text or jsonl
! Try 'ds-infer --help'.
? 2
$ ds-infer -t classify --labels a,,b -m m/nothing.gguf
! ds-infer: --labels: a label is empty
! Try 'ds-infer --help'.
? 2
$ ds-infer -t classify --labels a,b,a -m m/nothing.gguf
! ds-infer: --labels: 'a' is there twice
! Try 'ds-infer --help'.
? 2
$ ds-infer -p hello --raw --system 'be brief' -m m/llama-q8_0.gguf
! ds-infer: --raw is without --system
! Try 'ds-infer --help'.
? 2
$ ds-infer -p hello --template klingon -m m/llama-q8_0.gguf
!~ ds-infer: --template: no chat template 'klingon', expected one of: smollm2, .*, vicuna
! Try 'ds-infer --help'.
? 2
$ ds-infer -p hello --temp hot -m m/llama-q8_0.gguf
! ds-infer: --temp: 'hot' is not a number from 0 to 100
! Try 'ds-infer --help'.
? 2
$ ds-infer -p hello --stop '' -m m/llama-q8_0.gguf
! ds-infer: --stop: the text is empty
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score --attn sparse -m m/llama-q8_0.gguf
!~ ds-infer: --attn: 'sparse' is no attention policy: dense, exact, window:W, .*
! Try 'ds-infer --help'.
? 2
$ ds-infer --require-mass 1.5 -m m/llama-q8_0.gguf
! ds-infer: --require-mass: '1.5' is not a number from 0 to 1
! Try 'ds-infer --help'.
? 2
$ python3 $TOP/scripts/gen-model --lm m llama-long
$ seq 1500 | ds-infer -t score --attn mass:0.05 --require-mass 1 --format text -o mass.txt -m m/llama-long.gguf
!~ ds-infer: attention kept 0\.\d+ of its mass in the mean, at least 1 required
? 3
$ seq 1500 | ds-infer -t score --attn window:100 --require-mass 1 --format text -o mass.txt -m m/llama-long.gguf
!~ ds-infer: attention kept 0\.\d+ of its mass in the mean, at least 1 required
? 3
$ seq 1500 | ds-infer -t score --attn topk:40 --require-mass 1 --format text -o mass.txt -m m/llama-long.gguf
!~ ds-infer: attention kept 0\.\d+ of its mass in the mean, at least 1 required
? 3
$ seq 1500 | ds-infer -t score --attn auto:1 --require-mass 0.9 --format text -o mass.txt -m m/llama-long.gguf
$ seq 1500 | ds-infer -t embed --attn window:100 --require-mass 0.9 -o mass.txt -m m/llama-long.gguf
!~ ds-infer: attention kept 0\.\d+ of its mass in the mean, at least 0\.9 required
? 3
$ seq 1500 | ds-infer -t embed --attn window:20000 --format jsonl -m m/llama-long.gguf >window.txt
$ seq 1500 | ds-infer -t embed --memory 30M --format jsonl -m m/llama-long.gguf >dense.txt
$ cmp window.txt dense.txt
$ seq 1500 | ds-infer -t embed --context 300 --format jsonl -m m/llama-long.gguf >short.txt
$ cmp -s short.txt dense.txt
? 1
$ ds-infer -t embed --attn exact
! ds-infer: --attn is for language models
! Try 'ds-infer --help'.
? 2
$ ds-infer -t embed --skip-layers 1 -m m/llama-q8_0.gguf
! ds-infer: --skip-layers is not for -t embed
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score --windows whole -m m/llama-q8_0.gguf
! ds-infer: --windows: 'whole' is none of: overlap, halves, restart
! Try 'ds-infer --help'.
? 2

and failures one line
$ ds-infer -p hello -m m/static-I8.gguf
! ds-infer: m/static-I8.gguf: architecture static is no language model
? 1
$ ds-infer -p hello -m m/llama-q8_0.gguf --context 5000
! ds-infer: m/llama-q8_0.gguf: a context of 5000 tokens, the model takes 1024 at most
? 1
$ ds-infer -p hello -m m/llama-q8_0.gguf --context 8
!~ ds-infer: \d+ tokens, the context holds 8
? 1
$ ds-infer -p hello -m m/llama-q8_0.gguf --document nothing
! ds-infer: nothing: cannot open: No such file or directory
? 1
$ ds-infer -t generate -m m/llama-q8_0.gguf </dev/null
! ds-infer: (stdin): the prompt is empty
? 1
$ ds-infer -t outline -m m/llama-q8_0.gguf </dev/null
! ds-infer: (stdin): the document is empty
? 1
$ ds-infer -t score -m m/llama-q8_0.gguf --context 1
< the cat sat on the mat
!~ ds-infer: .*
? 1
Adapters
$ $TOP/scripts/gen-model --lm a small llama-f32 llama-q8_0 lora-llama bad; printf 'The quick brown fox jumps over the lazy dog.' >fox
$ ds-infer -t score -m a/llama-f32.gguf fox >plain; ds-infer -t score -m a/llama-f32.gguf --lora a/lora-llama.gguf fox >with; ds-infer -t score -m a/llama-f32.gguf --lora-scale 0 --lora a/lora-llama.gguf fox >zero; cmp plain zero && ! cmp -s plain with && echo differs
> differs
$ ds-infer -t score -m a/llama-f32.gguf --lora a/lora-llama.gguf --lora-scale -1 --lora a/lora-llama.gguf fox | cut -f 1 | cut -c 1-5 >back; cut -f 1 plain | cut -c 1-5 | cmp - back && echo same
> same
$ ds-infer -t score -m a/llama-q8_0.gguf --lora a/none.gguf fox
! ds-infer: a/none.gguf: cannot open: No such file or directory
? 1
$ ds-infer -t score -m a/small.gguf --lora a/lora-llama.gguf fox
!~ ds-infer: a/lora-llama.gguf: byte \d+: .*
? 1
$ ds-infer -t score -m a/small.gguf --lora a/bad-lora-architecture.gguf fox
! ds-infer: a/bad-lora-architecture.gguf: general.architecture is qwen2, llama expected
? 1
$ ds-infer -t score -m a/small.gguf --lora a/bad-lora-rank.gguf fox
!~ ds-infer: a/bad-lora-rank.gguf: byte \d+: blk.0.attn_q.weight.lora_a is 32 x 4 with a lora_b of 3 x 32: no low-rank change of the model's 32 x 32
? 1
$ ds-infer -t score -m a/small.gguf --lora a/llama-f32.gguf fox
!~ ds-infer: a/llama-f32.gguf: key general.type .*
? 1
$ ds-infer -t embed -m m/bert-F32.gguf --lora a/lora-llama.gguf fox
! ds-infer: a/lora-llama.gguf: adapters are for language models, the model is of architecture bert
? 1
$ ds-infer -t score -m a/small.gguf --lora-scale 1000 --lora a/lora-llama.gguf fox
!~ ds-infer: --lora-scale: .*
! Try 'ds-infer --help'.
? 2

Experts and latent attention: one answer whatever the threads and the instruction set
$ $TOP/scripts/gen-model --lm e deepseek2-v3-mix; for j in 1 2 3; do ds-infer -m e/deepseek2-v3-mix.gguf -j $j -p 'The quick brown fox' -n 20 >e/$j; done; DS_CPU=ref ds-infer -m e/deepseek2-v3-mix.gguf -p 'The quick brown fox' -n 20 >e/ref; cmp e/1 e/2 && cmp e/1 e/3 && cmp e/1 e/ref && test -s e/1 && echo same
> same

Beyond the context
$ python3 $TOP/scripts/gen-model --lm b llama-q8_0 deepseek2-lite && for i in $(seq 900); do printf 'word %d, ' $i; done >b/long
$ ds-infer -t score -m b/llama-q8_0.gguf --context 256 --beyond carry --stats=stats b/long >whole && cut -f 3- whole && grep -o '"context_rolls":[1-9]' stats | wc -l
>~ [0-9]{4}\t.*b/long
> 1
$ (head -c 3000 b/long; sleep 0.1; tail -c +3001 b/long) | DS_CPU=ref ds-infer -t score -j 1 -m b/llama-q8_0.gguf --context 256 --beyond carry - | cut -f -3 >piece; cut -f -3 whole | cmp - piece && echo same
> same
$ ds-infer -t score -m b/llama-q8_0.gguf --context 256 --windows restart b/long | cut -f 1-3 | cmp -s - piece || echo differs
> differs
$ ds-infer -m b/llama-q8_0.gguf --raw --context 256 --beyond carry:64,64 --document b/long -p hello -n 30 --format jsonl --stats=stats | grep -c '"finish":"[sl][a-z]*","prompt_tokens":[0-9][0-9][0-9][0-9]' && grep -c '"context_rolls":[1-9]' stats
> 1
> 1
$ ds-infer -m b/llama-q8_0.gguf --raw --context 256 --document b/long -p hello
!~ ds-infer: .*tokens, the context holds 256
? 1
$ ds-infer -t score -m b/llama-q8_0.gguf --context 256 --beyond carry:128,64 b/long
! ds-infer: b/llama-q8_0.gguf: a context of 256 tokens has no room for new ones beside 128 kept ones, 64 chosen and the first 64
? 1
$ ds-infer -t score -m b/deepseek2-lite.gguf --beyond carry b/long
! ds-infer: b/deepseek2-lite.gguf: latent attention cannot carry its state beyond the context
? 1
$ ds-infer -t score -m b/llama-q8_0.gguf --beyond carry:0 b/long
! ds-infer: --beyond: '0' is not a number from 1 to 2147483647
! Try 'ds-infer --help'.
? 2
$ ds-infer -t score -m b/llama-q8_0.gguf --beyond refuse:3 b/long
! ds-infer: --beyond: only carry has numbers
! Try 'ds-infer --help'.
? 2
