# Everything there is to do with weir's source. `make` alone, or `make help`, lists it.
#
# Building and testing need Go, make and git. `make race` needs a C compiler too; `make interop` says what each
# client needs.

GO       ?= go
SEED     ?= 1
SEEDS    ?= 1:200
MODE     ?= lite
FUZZTIME ?= 10s
ROUNDS   ?= 100
FOR      ?= 1m
CLASS    ?= A
BENCH    ?= .

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
LINT     := $(GO) run -C .ci/lint
GOFUMPT  := $(GO) tool -modfile=.ci/tools.mod gofumpt
SOURCES   = $(shell git ls-files --cached --others --exclude-standard '*.go' ':!:**/testdata/**')

# A recipe that pipes fails when any part of it does.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS   += --no-print-directory

##@ Build and run

.PHONY: help
help: ## list what can be made
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo

.PHONY: build
build: ## build bin/weir: broker, command line and simulator in one static binary
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/weir ./node/cmd/weir

.PHONY: run
run: build ## build, then start a broker for development: bin/weir dev
	@exec bin/weir dev $(ARGS)

.PHONY: run-cluster
run-cluster: build ## build, then run a cluster: three nodes over QUIC, configured in weir-cluster/*.properties
	@test -e weir-cluster/node-1.properties || bin/weir cluster init --dir weir-cluster --port 19092 --nodes-port 19192 --http-port 19644 >/dev/null
	@exec bash docs/examples/cluster/run.sh bin/weir weir-cluster

.PHONY: generate
generate: ## regenerate what is generated: the protocol's messages, pages of docs/
	$(GO) generate ./...

.PHONY: clean
clean: ## remove what make built
	rm -rf bin

##@ Test

.PHONY: test
test: ## run every test that needs nothing but Go
	$(GO) test ./...

.PHONY: check
check: format vet lint ## look before you commit: format, analyzers, imports, short tests, ten seeds; two minutes
	$(GO) test -short ./...
	@$(MAKE) seeds SEEDS=1:10

.PHONY: race
race: ## test what has goroutines under the race detector: transports, node, clients
	@for dir in transport node clients; do \
		test -n "$$($(GO) list ./$$dir/... 2>/dev/null)" || { echo "race: no packages under $$dir/"; exit 1; }; \
	done
	$(GO) test -race ./transport/... ./node/... ./clients/...

.PHONY: fuzz
fuzz: ## fuzz every target in the module for FUZZTIME=10s each; PKG=./core/record/... for some of them
	@mkdir -p bin
	@$(GO) build -C .ci/lint -o $(CURDIR)/bin/fuzz ./cmd/fuzz
	bin/fuzz -time $(FUZZTIME) $(FUZZFLAGS) $(PKG)

.PHONY: bench
bench: ## run the Go benchmarks; BENCH=regexp PKG=./core/record for some of them
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(or $(PKG),./...)

.PHONY: compare
compare: build ## measure weir beside Kafka, NATS and the machine: bin/compare.md and .html; ARGS=--quick for a minute
	@case " $(ARGS) " in *" --quick "*|*" -quick "*|*" --list "*) ;; *) bash bench/peers/install.sh bin/peers ;; esac
	$(GO) run ./bench $(ARGS)

##@ Simulate

.PHONY: sim
sim: build ## simulate one seed and print what happened: SEED=1 MODE=lite
	bin/weir sim run --seed $(SEED) --mode $(MODE) $(ARGS)

.PHONY: seeds
seeds: build ## simulate many seeds: SEEDS=1:200 MODE=lite
	bin/weir sim fleet --mode $(MODE) --seeds $(SEEDS) $(ARGS)

.PHONY: mutants
mutants: ## put known bugs into copies of the tree; the simulator must catch each: CLASS=A, B, C or all; ONLY=id
	@mkdir -p bin
	@$(GO) build -C .ci/lint -o $(CURDIR)/bin/mutants ./cmd/mutants
	bin/mutants -class $(CLASS) -only '$(ONLY)'

##@ From outside

.PHONY: crash
crash: build ## kill -9 a broker under load, ROUNDS=100 times, and look for lost writes
	$(GO) run ./jepsen/crash --rounds $(ROUNDS) --weir bin/weir $(ARGS)

.PHONY: chaos
chaos: build ## kill, pause and cut off the nodes of a cluster under load, FOR=1m: is anything lost? ARGS='--seed 7 --rate 5000'
	bin/weir dev --nodes 3 --chaos --for $(FOR) $(ARGS)

.PHONY: replicated
replicated: build ## measure three nodes, acks=all on three disks, over TCP and QUIC between them: ARGS='--rounds 3'
	$(GO) run ./bench/replicated --weir bin/weir $(ARGS)

.PHONY: failover
failover: build ## kill -9, stop and restart nodes of three under load, and measure what clients see: ARGS='--kills 100 --stops 20'
	$(GO) run ./jepsen/failover --weir bin/weir $(ARGS)

.PHONY: scale
scale: build ## what 100,000 partitions cost: memory, start, stop, kill; ARGS='--bytes 20GiB --partitions 100' for much data
	$(GO) run ./jepsen/scale --weir bin/weir $(or $(ARGS),--partitions 100000)

.PHONY: abuse
abuse: build ## let hostile clients loose on a broker while honest ones work: ARGS=--short, ARGS='--only idle,storm'
	$(GO) run ./jepsen/abuse --weir bin/weir $(ARGS)

.PHONY: interop
interop: build ## let eleven clients that others wrote work with a broker; CLIENTS="kcat franz-go" for some of them
	$(GO) run ./jepsen/interop --weir bin/weir --clients "$(CLIENTS)" $(ARGS)

.PHONY: interop-table
interop-table: build ## the same with all of them, and write what was found into docs/CLIENTS.md
	$(GO) run ./jepsen/interop --weir bin/weir --table docs/CLIENTS.md --results bin/interop.json

.PHONY: readme
readme: ## run the shell blocks of README.md and docs/ as a reader would
	@mkdir -p bin
	@$(GO) build -C .ci/lint -o $(CURDIR)/bin/shellblocks ./cmd/shellblocks
	@for dir in weir-data weir-cluster; do test ! -e $$dir || { echo "readme: $$dir is in the way; the blocks start brokers with new data there"; exit 1; }; done
	@trap 'rm -rf weir-data weir-cluster quickstart' EXIT; bin/shellblocks README.md $(wildcard docs/*.md)

##@ Look at the source

.PHONY: format
format: ## list files that gofumpt would change, and fail if there are any; make fix formats them
	@files="$$($(GOFUMPT) -l $(SOURCES))"; test -z "$$files" || { echo "not formatted (make fix):"; echo "$$files"; exit 1; }

.PHONY: fix
fix: ## format the source
	$(GOFUMPT) -w $(SOURCES)

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: lint
lint: imports ## our analyzers (determ, sealed), staticcheck, errcheck, exhaustive; who imports whom
	@mkdir -p bin
	@$(GO) build -C .ci/lint -o $(CURDIR)/bin/weirlint .
	$(GO) vet -vettool=$(CURDIR)/bin/weirlint ./...
	cd .ci/lint && $(GO) vet -vettool=$(CURDIR)/bin/weirlint ./...

.PHONY: imports
imports: ## who imports whom, against .ci/imports.txt
	@$(LINT) ./cmd/imports -C $(CURDIR) -policy $(CURDIR)/.ci/imports.txt
