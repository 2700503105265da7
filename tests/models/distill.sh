# shellcheck disable=SC2016
# distill.sh - a small student of MiniLM, and the built-in one
want_model minilm || { echo "ok - skipped: minilm not asked for"; exit 0; }
cat "$TOP"/man/*.[15] | grep -v '^[.]' | awk 'length > 40' >lines
awk 'NR % 5' lines >fit
awk 'NR % 5 == 0' lines >held-out

small() { ds-distill -q -m "$MODEL" --vocab 500 --dims 64 --passes 20 --report held-out "$@"; }
small -o plain.gguf --weights fit >plain
small -o fitted.gguf --fit fit >fitted
cosine() { sed 's/.*cosine \([0-9.]*\),.*/\1/' "$1"; }
ok "the fit carries over to lines held out ($(cosine plain) to $(cosine fitted))" \
	awk -v a="$(cosine plain)" -v b="$(cosine fitted)" 'BEGIN { exit !(b > a && b > 0.6) }'
ok "the student embeds, in its dimensions" \
	test "$(ds-infer -t embed -m fitted.gguf --format text held-out | wc -w)" = 64

similarities() { # similarities MODEL: of every line with the one before it, and the one before that
	ds-infer -t embed -m "$1" --lines --format text held-out | awk '{
		for (k = 1; k <= 2; k++) {
			s = 0
			for (i = 1; i <= NF; i++) s += $i * old[(NR - k) % 3, i]
			if (NR > k) printf "%f\n", s
		}
		for (i = 1; i <= NF; i++) old[NR % 3, i] = $i
	}'
}
similarities "$MODEL" >teacher
similarities "$TOP/share/ds-static.gguf" >builtin
ok "the built-in model's similarities go with MiniLM's" sh -c 'paste teacher builtin | awk "
	{ n++; x += \$1; y += \$2; xx += \$1 * \$1; yy += \$2 * \$2; xy += \$1 * \$2 }
	END { r = (n * xy - x * y) / sqrt((n * xx - x * x) * (n * yy - y * y)); print r; exit !(r > 0.6) }"'
