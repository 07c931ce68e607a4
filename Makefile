# make demo: see it work. make test: run every test. make help: everything else.

# libdqlite's pkg-config file asks for a linker flag that cgo does not allow by itself.
export CGO_LDFLAGS_ALLOW = -Wl,-z,now

VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)

.PHONY: help build deps demo demo-down test bench lint clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## build the three programs into bin/
	@mkdir -p bin
	go build -ldflags '$(LDFLAGS)' -o bin/fabric-node ./cmd/fabric-node
	CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o bin/fabric-router ./cmd/fabric-router
	CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o bin/fabricctl ./cmd/fabricctl

deps: ## install the Debian packages that build, demo and tests need
	@packaging/deps.sh

demo: deps build ## three members, two FRR routers, one client: form a cluster, break it, watch it heal
	@go run ./lab/cmd/demo up

demo-down: ## remove everything the demo made
	@go run ./lab/cmd/demo down

# Where milliseconds are promised, the race detector on two busy cores breaks the promise: these run without it, and whole clusters alone.
TIMED := ./bgp/bfd ./vrrp ./fabric/inside ./fabric/router ./compute/lxc ./lab/...

test: deps build ## run all tests: unit, race, integration in network namespaces
	go vet ./...
	go test -race -timeout 20m $$(go list ./... | grep -vxF "$$(go list $(TIMED))")
	go test -p 2 -timeout 20m $$(go list $(TIMED) | grep -vxF "$$(go list ./lab/system)")
	go test -timeout 20m ./lab/system

# How often a benchmark repeats is part of it: some measure hundreds of changes in one iteration.
BENCH := go test -run '^$$' -p 1 -timeout 30m

bench: deps build ## measure, each number beside a peer in the same run (docs/benchmarks.md)
	$(BENCH) -bench . -benchtime 200x ./cluster ./fabric/api
	$(BENCH) -bench 'AnnounceToKernel|Withdraw|ChangeAmong' -benchtime 1x ./fabric/router
	$(BENCH) -bench 'Scale|Install' -benchtime 5x ./fabric/router
	$(BENCH) -bench 'Change|Idle' -benchtime 1x ./lab/system
	$(BENCH) -bench Outage -benchtime 5x ./lab/system
	$(BENCH) -bench . -benchtime 11x ./bgp/bfd
	$(BENCH) -bench . -benchtime 5x ./vrrp

lint: deps ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not gofmt'ed: $$unformatted" >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...

clean: ## remove what the build made
	rm -rf bin
