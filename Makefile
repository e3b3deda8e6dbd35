# What a developer and the integration run need. Every target installs what it
# needs, or says plainly what is missing.

GO ?= go

.PHONY: test soak bench vuln lint generate check-generated install-test-tools build

## test: everything, with the race detector, on SQLite and on PostgreSQL
test: install-test-tools
	$(GO) test -race -timeout 540s ./...

## soak: the same properties, many more times; takes a while
soak: install-test-tools
	$(GO) test -race -timeout 3600s -count 5 -rapid.checks=2000 ./workflow ./store/... ./house . 
	COUNTERSIGN_SIM_SEEDS=200 $(GO) test -race -timeout 7200s -rapid.checks=1000 ./sim
	$(GO) test ./policy -run '^$$' -fuzz FuzzLoad -fuzztime 120s -fuzzminimizetime 5x
	$(GO) test ./directory -run '^$$' -fuzz Fuzz -fuzztime 120s -fuzzminimizetime 5x

## bench: benchmarks beside the code
bench: install-test-tools
	$(GO) test -run '^$$' -bench . -benchmem ./policy ./pdp ./store/sqlstore ./house

## vuln: known vulnerabilities of what is linked in (needs the Go vulnerability database)
vuln:
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

## lint: formatting, vet, staticcheck, closed lists
lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not formatted:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) tool exhaustive -typeignore '^reflect\.Kind$$' ./...

## generate: write generated files anew
generate:
	$(GO) generate ./...

## check-generated: fail if a generated file is not what its source gives
check-generated: generate
	@git diff --exit-code --stat -- '*.gen.go' docs/lifecycle.md || { echo "generated files are out of date: make generate"; exit 1; }

## build: the one binary
build:
	CGO_ENABLED=0 $(GO) build -trimpath -o countersign ./cmd/countersign

install-test-tools:
	@scripts/install-test-tools
