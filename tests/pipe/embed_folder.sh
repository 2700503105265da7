# embed_folder.sh - a Hugging Face folder and the GGUF file made of it are one model
python3 "$TOP/scripts/gen-model" models
printf '%s\n' 'the cat sat on the mat' '' 'Either party may terminate, 30 days; 世界!' \
	"$(seq -s ' the contract ' 1 60)" >few
embed() { ds-infer -t embed -q --lines --format text "$@"; }
embed -m models/bert few >a
embed -m models/bert-F32.gguf few >b
ok "a folder and its F32 GGUF give the same bytes" cmp a b
embed -m models/bert-prefix few >c
ok "tensor names with the prefix bert." cmp a c
embed -m models/bert-cls few >c
embed -m models/bert-cls.gguf few >d
ok "CLS pooling" cmp c d
ok "which is not the mean" exits 1 cmp -s a c
DS_CPU=ref embed -m models/bert few >c
ok "the same bytes with the kernels of ref" cmp a c
