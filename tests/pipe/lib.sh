#!/bin/bash
# lib.sh - runs one shell test: bash tests/pipe/lib.sh TEST.sh
#
# The test is sourced in an empty folder that is removed afterwards, with `set -euo pipefail`, the
# tools first on PATH, and
#   $TOP             the source tree
#   ok WHAT CMD...   runs CMD; "ok - WHAT" when it exits 0, else "not ok - WHAT" and its output
#   exits N CMD...   succeeds when CMD exits with N (128+n for a signal)
#   one_line FILE    succeeds when FILE holds exactly one line
#   want_model NAME  path of a real model in $MODEL; fails when $MODELS does not list it
# A test of what a CMD prints: ok "counts" test "$(ds-tokenize -c file)" = 3
set -euo pipefail
TOP=$(cd "$(dirname "$0")/../.." && pwd)
test_file=$TOP/${1#"$TOP"/}
case ${BUILD:=build} in /*) ;; *) BUILD=$TOP/$BUILD ;; esac
export PATH=$BUILD:$PATH LC_ALL=C.UTF-8
unset DS_MODEL DS_LM DS_KEY DS_THREADS DS_CPU
work=$(mktemp -d "${TMPDIR:-/tmp}/ds-test.XXXXXX")
trap 'status=$?; cd /; rm -rf "$work"; exit $status' EXIT
cd "$work"
failures=0

ok() {
	local what=$1
	shift
	if "$@" >"$work/.ok.log" 2>&1; then
		echo "ok - $what"
	else
		echo "not ok - $what: $*"
		sed 's/^/    /' "$work/.ok.log" | head -n 20
		failures=$((failures + 1))
	fi
}

exits() {
	local want=$1 got=0
	shift
	"$@" || got=$?
	[ "$got" -eq "$want" ] || { echo "exit status $got, expected $want"; return 1; }
}

one_line() {
	[ "$(wc -l <"$1")" -eq 1 ] || { echo "expected one line:"; cat "$1"; return 1; }
}

want_model() {
	case " ${MODELS:-} " in *" $1 "*) ;; *) return 1 ;; esac
	MODEL=$("$TOP/scripts/get-model" "$1")
}

# shellcheck source=/dev/null
. "$test_file"
[ "$failures" -eq 0 ]
