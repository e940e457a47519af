#!/usr/bin/env bash
# The steps of .ci/run that are more than one command: `bash .ci/steps.sh generated|replay|interop`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# generated: generating again changes nothing.
generated() {
	grep -rlq --include='*.go' '^//go:generate ' core/protocol || { echo "nothing in core/protocol says go:generate"; exit 1; }
	local before after
	before=$(state)
	make generate
	after=$(state)
	if [[ $before != "$after" ]]; then
		echo "generated code is not what its sources give; run make generate and commit:"
		diff <(echo "$before") <(echo "$after") || true
		git --no-pager diff --stat
		exit 1
	fi
	echo "generating changed nothing"
}

# state: the checksum of every source file and page, whether git knows the file or not.
state() {
	git ls-files -z --cached --others --exclude-standard -- '*.go' 'docs/*.md' | sort -zu | xargs -0 sha256sum 2>/dev/null || true
}

# replay: a seed gives one trace, whatever the scheduler and the garbage collector do.
replay() {
	local run one two
	for run in "--seed 1 --mode lite" "--seed 2 --mode lite" "--seed 3 --mode lite" "--seed 1 --mode cluster"; do
		# shellcheck disable=SC2086
		one=$(GOMAXPROCS=1 GOGC=5 bin/weir sim run $run | tail -n 1)
		# shellcheck disable=SC2086
		two=$(GOMAXPROCS=2 GOGC=off bin/weir sim run $run | tail -n 1)
		[[ $one =~ trace=([^[:space:]]+) ]] || { echo "$run: no trace= in: $one"; exit 1; }
		one=${BASH_REMATCH[1]}
		[[ $two =~ trace=([^[:space:]]+) ]] || { echo "$run: no trace= in: $two"; exit 1; }
		two=${BASH_REMATCH[1]}
		if [[ $one != "$two" ]]; then
			echo "$run: trace $one with GOMAXPROCS=1 GOGC=5, $two with GOMAXPROCS=2 GOGC=off"
			exit 1
		fi
		echo "$run: trace $one, twice"
	done
}

# interop: four clients of the eleven, one of each kind of library: librdkafka old and new, Java's, Go's. A new
# machine must first be given kcat; the rest comes with install.sh.
interop() {
	if ! command -v kcat >/dev/null; then
		if [[ $(id -u) -ne 0 ]]; then
			echo "kcat is not installed, and only root can install it"
			exit 1
		fi
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq
		apt-get install -qq -y --no-install-recommends kcat
	fi
	make interop CLIENTS="kcat confluent-kafka-python franz-go java-4"
}

case ${1:-} in
generated | replay | interop) "$1" ;;
*)
	echo "usage: $0 generated|replay|interop" >&2
	exit 2
	;;
esac
