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

# Where milliseconds are promised, the race detector on two busy cores breaks the promise: these run without it, one after the other.
TIMED := ./bgp/bfd ./vrrp ./fabric/inside ./fabric/router ./compute/lxc ./lab/...

test: deps build ## run all tests: unit, race, integration in network namespaces
	go vet ./...
	go test -race -timeout 20m $$(go list ./... | grep -vxF "$$(go list $(TIMED))")
	go test -p 1 -timeout 20m $(TIMED)

bench: deps build ## measure, each number beside a peer in the same run
	go test -run '^$$' -bench . -benchtime 200x -p 1 -timeout 30m ./cluster ./fabric/api
	go test -run '^$$' -bench AnnounceToKernel -benchtime 1x -timeout 30m ./fabric/router
	go test -run '^$$' -bench Withdraw -benchtime 20x -timeout 30m ./fabric/router
	go test -run '^$$' -bench . -benchtime 11x -p 1 -timeout 30m ./bgp/bfd
	go test -run '^$$' -bench . -benchtime 5x -p 1 -timeout 30m ./vrrp

lint: deps ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not gofmt'ed: $$unformatted" >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...

clean: ## remove what the build made
	rm -rf bin
