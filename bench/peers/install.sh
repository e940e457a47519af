#!/usr/bin/env bash
# install.sh [DIR]: make what weir is compared with, in DIR (bin/peers):
#
#   kafka/lib        Apache Kafka's published jars and what they need, by Maven; running it takes Java 17
#   nats-peer        the NATS server and a client that measures it, a Go module of its own
#   rdkafka-driver   a client that measures, on Debian's librdkafka; installed if that is missing, which takes root
#
# What is there already is left alone; remove DIR to begin anew. It fails when something cannot be had.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:-bin/peers}"
dir=$(cd "${1:-bin/peers}" && pwd)

need() {
	command -v "$1" >/dev/null || { echo "install.sh: $1 is not installed ($2)" >&2; exit 1; }
}

need java "Debian: openjdk-17-jre-headless"
if [[ ! -e $dir/kafka/version ]]; then
	need mvn "Debian: maven"
	echo "install.sh: Kafka's jars"
	rm -rf "$dir/kafka"
	mkdir -p "$dir/kafka"
	mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/kafka/lib"
	cp "$here/kafka/log4j2.properties" "$dir/kafka/"
	sed -n 's:.*<kafka>\(.*\)</kafka>.*:\1:p' "$here/kafka/pom.xml" >"$dir/kafka/version"
fi

need go "Debian: golang, or from its makers"
if [[ ! -e $dir/nats-peer || $here/nats/main.go -nt $dir/nats-peer || $here/nats/go.mod -nt $dir/nats-peer ]]; then
	echo "install.sh: the NATS server"
	CGO_ENABLED=0 go build -C "$here/nats" -trimpath -buildvcs=false -o "$dir/nats-peer" .
fi

if [[ ! -e $dir/rdkafka-driver || $here/rdkafka/driver.c -nt $dir/rdkafka-driver ]]; then
	echo "install.sh: the driver on librdkafka"
	if [[ ! -e /usr/include/librdkafka/rdkafka.h ]] || ! command -v cc >/dev/null; then
		[[ $(id -u) -eq 0 ]] || { echo "install.sh: librdkafka-dev and gcc are not installed, and only root can install them" >&2; exit 1; }
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq
		apt-get install -qq -y --no-install-recommends librdkafka-dev gcc libc6-dev
	fi
	cc -O2 -Wall -Wextra -std=gnu11 -o "$dir/rdkafka-driver" "$here/rdkafka/driver.c" -lrdkafka
fi

echo "install.sh: Kafka $(cat "$dir/kafka/version"), NATS $("$dir/nats-peer" version), librdkafka $("$dir/rdkafka-driver" version)"
