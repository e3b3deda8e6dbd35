# What a developer and the integration run need. Every target installs what it
# needs, or says plainly what is missing.

GO ?= go

.PHONY: test soak fuzz bench bench-large bench-code vuln lint generate check-generated install-test-tools build release check-reproducible sbom image

# The race detector leaves out SQLite itself, which is translated from C and keeps its
# memory outside of Go's: there it finds nothing and takes half of the time.
RACE = -race -gcflags='modernc.org/sqlite/lib=-race=false'

## test: everything, with the race detector, on SQLite and on PostgreSQL
test: install-test-tools
	$(GO) test $(RACE) -timeout 1500s ./...

## soak: the same properties, many more times, and each fuzz target for a while
soak: install-test-tools
	$(GO) test $(RACE) -timeout 7200s -count 5 ./store/... ./house
	$(GO) test $(RACE) -timeout 7200s $(RAPID) -rapid.checks=2000
	COUNTERSIGN_SIM_SEEDS=200 $(GO) test $(RACE) -timeout 7200s ./sim -rapid.checks=1000
	COUNTERSIGN_CHAOS_ROUNDS=10 $(GO) test -timeout 7200s -v ./chaos
	COUNTERSIGN_CHAOS_TAGS=faultpoint $(GO) test -timeout 1800s -v ./chaos -run Stopped
	@$(MAKE) --no-print-directory fuzz

# Rooms with properties, which take the flags of rapid; sim has its own line.
RAPID = . ./auth ./directory ./httpapi ./pdp ./policy ./reconcile ./target ./target/vault ./workflow

## fuzz: each fuzz target for FUZZTIME
fuzz:
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; for target in $(FUZZ); do \
		echo "fuzzing $$target for $(FUZZTIME)"; \
		$(GO) test ./$${target%%:*} -run '^$$' -fuzz "^$${target##*:}\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x 2>&1 | tee "$$log"; \
		grep -q '^ok' "$$log" && continue; \
		grep -q '^    context deadline exceeded$$' "$$log" && ! grep -q 'Failing input' "$$log" || exit 1; \
		echo "its time ran out, and no input failed: go.dev/issue/75804, mended in Go 1.27"; \
	done

# Fuzz targets, as folder and name. A test compares the list with the code.
FUZZ = ticketing:FuzzRead .:FuzzCanonicalJSON .:FuzzID .:FuzzInstant .:FuzzSeconds \
	attest:FuzzVerify backup:FuzzOpen directory:FuzzParse \
	httpapi:FuzzBody httpapi:FuzzCursor httpapi:FuzzIdempotencyKey httpapi:FuzzIdempotentCommands httpapi:FuzzQuery \
	notify:FuzzTemplates policy:FuzzAnswers policy:FuzzLoad workflow:FuzzEvent
FUZZTIME ?= 120s

## bench: the whole house over HTTP beside the limits of this machine, as one table
bench: install-test-tools
	$(GO) test ./bench -count 1 -v -timeout 1800s -measure

## bench-large: the same with more rounds, up to a million live grants; takes hours
bench-large: install-test-tools
	$(GO) test ./bench -count 1 -v -timeout 6h -measure -pairs 2000 -grants 10000,100000,1000000 -requests 100000 -watch 10m

## bench-code: benchmarks beside the code
bench-code: install-test-tools
	$(GO) test -run '^$$' -bench . -benchmem ./policy ./pdp ./reconcile ./store/sqlstore ./house

## vuln: known vulnerabilities of what is linked in (needs the Go vulnerability database)
vuln:
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

## lint: formatting, vet, staticcheck, closed lists
lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not formatted:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags openbao ./connector/openbao
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

# What a release says of itself. Built from an archive without its history, give
# them: make release VERSION=1.2.3 COMMIT=…
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
PLATFORMS ?= linux/amd64 linux/arm64
CLI = github.com/countersign/countersign/cli

## release: static binaries in dist/, the same bytes wherever they are built with the same Go
release:
	@mkdir -p dist
	@for platform in $(PLATFORMS); do \
		os=$${platform%/*}; arch=$${platform#*/}; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch GOFLAGS=-mod=readonly $(GO) build -trimpath -buildvcs=false \
			-ldflags "-s -w -buildid= -X $(CLI).Version=$(VERSION) -X $(CLI).Commit=$(COMMIT)" \
			-o dist/countersign-$$os-$$arch ./cmd/countersign || exit 1; \
	done
	@cd dist && for platform in $(PLATFORMS); do sha256sum countersign-$${platform%/*}-$${platform#*/}; done > SHA256SUMS && cat SHA256SUMS

## check-reproducible: build twice, in two folders, and compare the bytes
check-reproducible:
	@GO=$(GO) MAKE=$(MAKE) scripts/check-reproducible

## sbom: what each binary of the release is made of, as CycloneDX JSON, read from the binary itself
sbom:
	@for platform in $(PLATFORMS); do \
		name=dist/countersign-$${platform%/*}-$${platform#*/}; \
		test -f $$name || { echo "$$name is not there: make release"; exit 1; }; \
		$(GO) run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin -json -noserial -version $(VERSION) -output $$name.cdx.json $$name || exit 1; \
	done

## image: a container of the release (needs docker, podman or buildah)
CONTAINER ?= docker
CA_ROOTS ?= /etc/ssl/certs/ca-certificates.crt
image: release
	@mkdir -p dist/data && cp $(CA_ROOTS) dist/ca-certificates.crt
	$(CONTAINER) build -f deploy/Containerfile -t countersign:$(VERSION) .

install-test-tools:
	@scripts/install-test-tools
