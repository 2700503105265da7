# search.sh - ds-grep over archives, frames and files, and what it makes of damaged ones
# shellcheck shell=bash
mkdir docs
cp "$TOP"/man/*.5 "$TOP/CONTRIBUTING.md" docs/
query='which checksum covers the payload'

ds-compress -o a.dsz docs
(cd docs && ds-chunk -- *) >chunks
ds-infer -t embed <chunks >embedded
ds-compress -o b.dsz <embedded

ds-grep -k 3 "$query" a.dsz >archive.out
ok "an archive answers" test "$(wc -l <archive.out)" -eq 3
ok "a copy on a pipe answers the same" cmp <(ds-grep -k 3 "$query" <b.dsz) <(ds-grep -k 3 "$query" b.dsz)
ds-grep -k 5 "$query" <embedded >frames.out
ok "frames with embeddings answer" test "$(wc -l <frames.out)" -eq 5
ok "frames without embeddings answer the same" cmp frames.out <(ds-grep -k 5 "$query" <chunks)
ok "an archive of the frames answers the same" cmp frames.out <(ds-grep -k 5 "$query" b.dsz)
ok "frames are read from a file as from a pipe" cmp frames.out <(ds-grep -k 5 "$query" embedded)
for opt in -e -w; do
	ok "$opt: frames and archive agree" cmp <(ds-grep $opt -k 5 "$query" embedded) <(ds-grep $opt -k 5 "$query" b.dsz)
done
for n in 1 2 3; do
	ok "-j $n gives the same bytes" cmp archive.out <(ds-grep -j $n -k 3 "$query" a.dsz)
done
for cpu in ref avx2 avx512; do
	ok "DS_CPU=$cpu gives the same bytes" cmp archive.out <(DS_CPU=$cpu ds-grep -k 3 "$query" a.dsz)
done

# the line that is printed is the line of the passage in the file
IFS=: read -r name line _ passage <<<"$(ds-grep -k 1 "$query" docs/*.5)"
first=$(sed -n "${line}p" "$name" | tr -s ' \t' ' ' | sed 's/^ //; s/ $//')
ok "the passage begins on the line that is named" test "${passage#"$first"}" != "$passage"

ok "members are told apart when archives are several" grep -q '^[ab]\.dsz:' <(ds-grep -k 3 "$query" a.dsz b.dsz)

# damage: one line, exit 1, and the rest is searched
head -c 3000 embedded >cut
ok "a cut stream fails" exits 1 ds-grep -k 1 "$query" cut 2>cut.err
ds-grep -k 1 "$query" cut >cut.out 2>cut.err || true
ok "a cut stream is one line" one_line cut.err
head -c 2000 a.dsz >short.dsz
ds-grep -k 1 "$query" short.dsz docs/CONTRIBUTING.md >short.out 2>short.err || true
ok "a cut archive is one line" one_line short.err
ok "what is whole is searched nevertheless" test -s short.out
cp a.dsz flip.dsz
printf 'X' | dd of=flip.dsz bs=1 seek=$(($(wc -c <a.dsz) / 2)) conv=notrunc status=none
ds-grep -k 1 "$query" flip.dsz >flip.out 2>flip.err || status=$?
ok "a flipped byte is found out or does not matter" test "${status-0}" -le 1
