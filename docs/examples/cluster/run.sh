#!/usr/bin/env bash
# Runs all nodes of a cluster on this machine, each a process of its own, until Ctrl-C or SIGTERM.
#
#	run.sh WEIR DIR     the binary, and the directory of `weir cluster init`
#
# It prints one line that begins with "ready" when all of them are. Each node's log is DIR/node-N.log. It exits with 0 if
# every node does.
set -euo pipefail
weir=$1
dir=$2
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT

pids=()
for file in "$dir"/node-*.properties; do
	name=$(basename "$file" .properties)
	"$weir" node --config "$file" >"$said/$name" 2>>"$dir/$name.log" &
	pids+=($!)
done
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' TERM
trap : INT # a terminal's Ctrl-C reaches the nodes as well

# ready waits until every node has said so.
ready() {
	local i=0 file kafka='' http=''
	for file in "$dir"/node-*.properties; do
		file=$said/$(basename "$file" .properties)
		until grep -q '^ready ' "$file"; do
			kill -0 "${pids[$i]}" 2>/dev/null || return 1
			sleep 0.1
		done
		kafka+=,$(sed -n 's/^ready .*kafka=\([^ ]*\).*/\1/p' "$file")
		[[ -n $http ]] || http=$(sed -n 's/^ready .*http=\([^ ]*\).*/\1/p' "$file")
		i=$((i + 1))
	done
	echo "ready kafka=${kafka#,} http=$http nodes=$i data=$dir"
}
ready || {
	echo "a node ended before it was ready: see $dir/node-*.log" >&2
	kill -TERM "${pids[@]}" 2>/dev/null || true
}

code=0
for pid in "${pids[@]}"; do
	while :; do
		ended=0
		wait "$pid" || ended=$?
		kill -0 "$pid" 2>/dev/null || break # it was a signal that ended the waiting
	done
	[[ $ended -eq 0 ]] || code=1
done
exit $code
