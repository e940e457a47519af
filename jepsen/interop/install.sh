#!/usr/bin/env bash
# install.sh CLIENT: makes the program of one client of this directory, with what it needs, and prints where it is.
#
# Everything goes into a cache directory, ${WEIR_INTEROP_CACHE:-${XDG_CACHE_HOME:-~/.cache}/weir-interop}, and is made
# anew only when what it is made of changes. Packages come from where this machine's pip, npm, go, mvn and cargo
# take them from.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WEIR_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir-interop}
client=${1:?usage: install.sh CLIENT}
mkdir -p "$cache/bin"

# needs COMMAND WHAT-IT-IS: fails clearly without it.
needs() { command -v "$1" >/dev/null || { echo "$client needs $1: $2" >&2; exit 1; }; }

# launcher WORD...: writes the program that starts the client, and says where it is. It replaces itself, so that a
# signal hits the client.
launcher() {
	{ echo '#!/bin/sh'; printf 'exec'; printf ' %q' "$@"; echo ' "$@"'; } >"$cache/bin/$client.new"
	chmod +x "$cache/bin/$client.new"
	mv "$cache/bin/$client.new" "$cache/bin/$client"
	echo "$cache/bin/$client"
}

# once NAME FILE... -- COMMAND...: runs the command in a new directory, which becomes $made; not if that was
# done before with the same files.
once() {
	local name=$1 files=() hash
	shift
	while [[ $1 != -- ]]; do files+=("$1"); shift; done
	shift
	hash=$({ cat "${files[@]}"; printf '%s\n' "$@"; } | sha256sum | cut -c 1-16)
	made=$cache/$name-$hash
	if [[ ! -e $made/.done ]]; then
		rm -rf "$cache/$name-"*
		mkdir -p "$made"
		echo "making $name" >&2
		(cd "$made" && "$@") >&2
		touch "$made/.done"
	fi
}

python() {
	needs python3 "Python 3.9 or newer, with venv"
	once python "$here/python/requirements.txt" -- bash -c "python3 -m venv . && bin/pip install -q --disable-pip-version-check -r '$here/python/requirements.txt'"
	launcher "$made/bin/python" -B "$here/python/$1"
}

node() {
	needs node "Node.js 18 or newer"
	needs npm "it comes with Node.js"
	once node "$here/node/package.json" "$here/node/package-lock.json" -- bash -c "cp '$here/node/package.json' '$here/node/package-lock.json' . && npm ci --silent --no-audit --no-fund"
	launcher env "NODE_PATH=$made/node_modules" node "$here/node/$1"
}

golang() {
	needs go "Go 1.26"
	once go "$here"/go/* -- go build -C "$here/go" -o "$cache/go-program" .
	launcher "$cache/go-program" "$1"
}

java() {
	needs javac "a JDK, 11 or newer"
	needs mvn "Apache Maven, which fetches the client's jars"
	once "java-$1" "$here/java/pom.xml" "$here/java/Client.java" -- bash -c "
		mvn -B -q -f '$here/java/pom.xml' -Dkafka.version=$2 org.apache.maven.plugins:maven-dependency-plugin:3.7.1:copy-dependencies -DoutputDirectory=\$PWD/lib &&
		javac -nowarn -d classes -cp 'lib/*' '$here/java/Client.java'"
	launcher java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$made/classes:$made/lib/*" Client "$2"
}

rust() {
	needs cargo "Rust 1.74 or newer"
	needs cc "a C compiler: the client builds librdkafka"
	needs make "the client builds librdkafka"
	once rust "$here/rust/Cargo.toml" "$here/rust/src/main.rs" -- bash -c "cp -r '$here/rust/.' . && cargo build -q --target-dir '$cache/rust-target'"
	launcher "$cache/rust-target/debug/interop"
}

case $client in
confluent-kafka-python) python confluent.py ;;
kafka-python) python kafkapython.py ;;
aiokafka) python aio.py ;;
kafkajs) node kafkajs.js ;;
sarama | kafka-go | franz-go) golang "$client" ;;
java-3) java 3 3.9.2 ;;
java-4) java 4 4.4.0 ;;
rust-rdkafka) rust ;;
*) echo "no client is called $client" >&2; exit 2 ;;
esac
