# Everything here works on a machine with Go, make and a C compiler (for the race detector); generators and linters are
# Go modules, pinned under tools/ and built into bin/ at their first use.

# A target's flags are its own: what a user's GOFLAGS would change about the module graph, build tags or the cache is left
# out, the rest is kept. -mod=readonly is the default, stated so that the variable is never empty (an empty one falls back
# to `go env`).
export GOFLAGS := -mod=readonly $(filter-out -mod=% -modfile=% -tags=% -race -count=%,$(shell go env GOFLAGS))
export GOWORK := off
export LC_ALL := C

# The version stamp needs a repository that git agrees to read; without one the command is built all the same.
BUILDVCS := $(if $(shell git rev-parse --verify HEAD 2>/dev/null),true,false)

# Where goroutines meet: the packages that run under the race detector.
RACE_DIRS := engine nodehost transport plugin logdb benchmark
RACE_PACKAGES := $(patsubst %,./%/...,$(wildcard $(RACE_DIRS)))

# TIME is how long `make fuzz` spends on each target.
TIME ?= 10s

# REPORT, if set, is a file that the closing lines of each test pass are appended to.
REPORT ?=
SUMMARY = go run ./internal/testsummary $(if $(REPORT),-report $(REPORT))

LINTERS := bin/tools/.built

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build test peers-test race lint fuzz proto proto-check bench compare profile performance-page bench-check failover slow-follower sessions append open sim simulated soak mutants proof guards clean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build every package, and the command into bin/flotilla
	go build -buildvcs=$(BUILDVCS) ./...
	go build -buildvcs=$(BUILDVCS) -o bin/ ./cmd/flotilla

# Two passes: all tests with the costly assertions compiled in; then the allocation budgets, which those assertions would
# distort, without them. Packages run one test binary per core; no test measures time. The timeouts, each of one package, are for what
# hangs, and far from what a slow machine takes.
test: ## run all tests: with assertions, then the allocation budgets without
	$(SUMMARY) -name "with assertions" -- -tags invariants -timeout 20m ./...
	$(SUMMARY) -name "allocation budgets" -- -run Alloc -timeout 10m ./...

# The other engines and what they stand on are a module of their own, so that nothing of them is in the module graph of users.
peers-test: ## test the drivers of other engines, each with a short real run, the comparison's reports, and bench-check
	go -C benchmark/peers test -timeout 20m ./...
	go -C tools/benchcheck test ./...

race: ## run the tests of the concurrent packages under the race detector
	CGO_ENABLED=1 $(SUMMARY) -name "race detector" -- -race -short -tags invariants -timeout 20m $(RACE_PACKAGES)

lint: $(LINTERS) ## gofmt, go vet, staticcheck, golangci-lint
	scripts/gofmt-check
	go vet ./...
	go vet -tags invariants ./...
	go -C tools/protogen vet ./...
	go -C tools/benchcheck vet ./...
	go -C benchmark/peers vet ./...
	bin/tools/staticcheck -tests ./...
	bin/tools/golangci-lint run ./...
	cd benchmark/peers && $(CURDIR)/bin/tools/staticcheck -tests ./... && $(CURDIR)/bin/tools/golangci-lint run ./...

# One build makes all the tools of that module.
$(LINTERS): tools/lint/go.mod tools/lint/go.sum
	@echo "building the linters (some minutes, once)"
	@mkdir -p bin/tools
	go -C tools/lint build -o $(CURDIR)/bin/tools/ tool
	@touch $@

fuzz: ## run each fuzz target for TIME (10s)
	scripts/fuzz $(TIME)

# The schema's Go code comes from a compiler and a generator that are Go modules themselves.
PROTOGEN = go -C tools/protogen run .

proto: ## generate raftpb/schema from its .proto file
	$(PROTOGEN) ../.. raftpb/schema/flotilla.proto

proto-check: ## fail if generating raftpb/schema would change a byte
	$(PROTOGEN) -check ../.. raftpb/schema/flotilla.proto

bench: bin/flotilla ## three hosts, 48 shards, ten seconds: rates, latencies and a summary
	bin/flotilla bench

# Flotilla, other engines and the limit (the same client against hosts that only copy, send, write and sync) under the same loads, in turns,
# so that ratios mean something on a machine that drifts. All rows take about 100 minutes, with QUICK=1 ten; ROWS="P1 P3" chooses. DATA is
# the directory for the hosts' files, OUT that of the reports: compare.json, compare.md and compare.html. A run goes on from the report that OUT
# holds: rows that are there whole are kept, AGAIN=1 measures them anew. So all rows may be run in pieces.
REPEAT ?= 3
OUT ?= bin/compare

COMMIT = $(or $(shell git describe --always --abbrev=12 --dirty 2>/dev/null),unknown)

compare: bin/peers ## flotilla beside other engines and the limit, with targets: ROWS="P1 P3" QUICK=1 OUT=bin/compare AGAIN=1
	bin/peers compare --rows "$(ROWS)" $(if $(QUICK),--quick,--repeat $(REPEAT)) $(if $(DATA),--data $(DATA)) --out $(OUT) $(if $(AGAIN),--again) \
		--commit '$(COMMIT)' --command 'make compare$(if $(ROWS), ROWS="$(ROWS)")$(if $(QUICK), QUICK=$(QUICK))$(if $(filter-out 3,$(REPEAT)), REPEAT=$(REPEAT))'

ROW ?= P1

profile: bin/peers ## profiles of a row of the comparison, and where its time goes: ROW=P1
	bin/peers profile --row "$(ROW)" $(if $(DATA),--data $(DATA))

# docs/performance.md holds the tables of a run between two marks.
performance-page: bin/peers ## write the tables of OUT/compare.json into docs/performance.md
	bin/peers page --json $(OUT)/compare.json --page docs/performance.md

# Benchmarks of this tree beside those of another revision, in turns, judged by benchstat's rules; some minutes. ONLY is a regular
# expression of benchmarks, ROUNDS how often each is run.
ONLY ?= .
ROUNDS ?= 10

bench-check: ## fail if a benchmark is slower than at revision BASE: BASE=main ONLY=Harness ROUNDS=10
	$(if $(BASE),,$(error want BASE=revision))
	@mkdir -p bin/tools
	go -C tools/benchcheck build -o $(CURDIR)/bin/tools/ tool
	go -C tools/benchcheck build -o $(CURDIR)/bin/tools/benchcheck .
	bin/tools/benchcheck -base "$(BASE)" -rounds $(ROUNDS) -only '$(ONLY)' -benchstat $(CURDIR)/bin/tools/benchstat

# If nothing but the timeouts counts, the median over 48 outages is at most a tenth above its expectation 99 times in 100; that
# over the 16 of one repeat, 92 times.
failover: bin/flotilla ## close and kill hosts under load, with the required outages
	bin/flotilla bench --workload failover --repeat $(REPEAT) $(if $(DATA),--data $(DATA)) \
		--require 'kill.median_ms<=1.1*floor' --require 'kill.max_ms<=1.5*floor' \
		--require 'close.median_ms<=1.1*floor' --require 'close.max_ms<=1.5*floor' \
		--require 'kill.unrecovered==0' --require 'close.unrecovered==0'

# With --logdb pebble the rate falls by itself once memtables are flushed, whoever is stopped, which would hide what is asked.
slow-follower: bin/flotilla ## stop a follower for 30 s under full load, with the rate that is required of the others
	bin/flotilla bench --workload slow-follower --duration 30s --repeat $(REPEAT) $(if $(DATA),--data $(DATA)) \
		--require 'stopped.rate_ratio>=0.9' --require 'catch_up.log_reads_elsewhere==0' --require 'catch_up.leader_changes==0'

sessions: bin/flotilla ## what client sessions cost, with the rate that is required
	bin/flotilla bench --workload sessions --repeat $(REPEAT) $(if $(DATA),--data $(DATA)) --require 'sessions.rate_ratio>=0.75' \
		--require 'sessions.errors==0'

# Each store alone, beside what one goroutine gets out of the disk with the same bytes per sync; the second also needs 10 GiB of free space.
append: bin/flotilla ## append to the log stores, with the required ratios to the limit, bytes on the device and in memory
	bin/flotilla bench --workload append --repeat $(REPEAT) $(if $(DATA),--data $(DATA)) \
		--require 'append.1x65536.ratio>=0.9' --require 'append.8x65536.ratio>=0.9' --require 'append.64x65536.ratio>=0.9' \
		--require 'append.1x16.ratio>=0.88' --require 'append.1x1024.ratio>=0.88' \
		--require 'append.8x16.ratio>=0.95' --require 'append.8x1024.ratio>=0.95' \
		--require 'append.64x16.ratio>=0.95' --require 'append.64x1024.ratio>=0.95' \
		--require 'append.device_bytes<=1.3' --require 'append.light_device_bytes<=1.3' \
		--require 'append.disk_use<=1.5' --require 'append.light_disk_use<=1.5' --require 'append.idle_shard_bytes<=200'

open: bin/flotilla ## open log stores of 10,000 shards and 4 GiB with a cold page cache, with the required times and bytes of memory
	bin/flotilla bench --workload open $(if $(DATA),--data $(DATA)) \
		--require 'open.closed_s<2' --require 'open.killed_s<2' --require 'open.bytes_per_batch<=64'

.PHONY: bin/peers
bin/peers:
	@mkdir -p bin
	go -C benchmark/peers build -buildvcs=$(BUILDVCS) -o $(CURDIR)/bin/ .

.PHONY: bin/flotilla
bin/flotilla:
	@mkdir -p bin
	go build -buildvcs=$(BUILDVCS) -o bin/ ./cmd/flotilla

# Fresh seeds for BUDGET, drawn from the clock unless SEEDS names them.
BUDGET ?= 1m
PROFILE ?= everything
SEEDS ?= $(shell now=$$(date +%s); echo $${now}000..$${now}999)

sim: bin/flotilla ## simulate fresh seeds for BUDGET (1m) in PROFILE (everything)
	bin/flotilla sim --seeds $(SEEDS) --budget $(BUDGET) --profile $(PROFILE) --quiet || [ $$? -eq 2 ]

SOAK ?= 50

# Kills are paired with power cuts, which drop what was not synced, and those with runs without syncs, which have to lose something.
soak: ## kill processes under load and during streams, each kill paired with power cuts, and cut the power, SOAK (50) times each; stream 1 GiB through cuts
	go test ./engine -run '^TestAPowerCut' -count=1 -v -tags invariants
	go test ./nodehost -run '^(TestKill|TestNothingAcknowledgedIsLostInAPowerCut|TestAPowerCutWithoutSyncs|TestALargeStateIsStreamed)' -count=1 -v \
		-tags invariants -timeout 3h -soak=$(SOAK)

PROOF ?= bin/proof

# Two at a time, four minutes of CPU at most for each; what is found is written to PROOF/mutants.tsv as it is found. RESUME=1 leaves out what stands there,
# MUTANTS=3 draws three.
mutants: ## the simulator has to find each patch of simulation/mutants; MUTANTS=3 draws three, RESUME=1 goes on
	@mkdir -p $(PROOF)
	go run ./simulation/mutants $(if $(MUTANTS),--random $(MUTANTS),--results $(PROOF)/mutants.tsv $(if $(RESUME),--resume))

# What PROOF does not have, the page keeps.
proof: ## write the tables of PROOF/mutants.tsv and PROOF/simulated.json into docs/proof.md
	go run ./simulation/mutants --page docs/proof.md --results $(PROOF)/mutants.tsv --simulated $(PROOF)/simulated.json

# SEEDS and BUDGET as for sim, in each profile; docs/proof.md is made of what is added to PROOF/simulated.json.
simulated: bin/flotilla ## simulate fresh seeds for BUDGET (1m) in every profile, for docs/proof.md
	@mkdir -p $(PROOF)
	for profile in calm crashy partitions leases clocks disks snapshots sessions operator everything; do \
		bin/flotilla sim --seeds $(SEEDS) --budget $(BUDGET) --profile $$profile --quiet --report $(PROOF)/simulated.json || [ $$? -eq 2 ] || exit 1; \
	done

GUARDS ?= all

guards: ## each guard of raft/testdata/guards is taken out; its scripts have to notice; GUARDS=5 draws five
	go test ./raft -run '^TestGuards$$' -count=1 -v -timeout 30m -guards=$(GUARDS)

clean: ## remove what was built
	rm -rf bin
