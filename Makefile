# "make help" lists the targets. The scripts in .ci/ do what takes more than a
# line; each says at its top what it does and can be run alone.

# Where Go's own archive puts it, should it not be on PATH.
export PATH := $(PATH):/usr/local/go/bin
export GO ?= go
# What was compiled in one folder serves another, such as a fresh clone.
export GOFLAGS := -trimpath -buildvcs=false $(filter-out -trimpath -buildvcs=false,$(GOFLAGS))
export XDG_CACHE_HOME ?= $(HOME)/.cache

SERIES   := bookworm
ARCH     := $(shell dpkg --print-architecture)
CACHE    := $(XDG_CACHE_HOME)/lpbuildd
VERSION  := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
FUZZTIME ?= 10000x
COUNT    ?= 1
BENCH    ?= .

# What the integration tests build in and from; they skip what is not there.
export LPBUILDD_TEST_IMAGE := $(CACHE)/base-$(SERIES)-$(ARCH).tar.gz
export LPBUILDD_TEST_SOURCE := $(CACHE)/hello
export LPBUILDD_TEST_CONTAINER_IMAGE := $(shell .ci/container-image --path)

GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.1.4

# Tests of cmd/lpbuildd/e2e that build in containers.
CONTAINER_TESTS := ^TestContainers
# And the one on a machine of its own.
PACKAGE_TEST := ^TestPackage$$

# Folders of the packages that have the given text in a test file.
packages_with = $(addprefix ./,$(sort $(dir $(shell grep -rlE --include='*_test.go' '$(1)' *))))

# The conformance program, if it is there.
export LPCONFORM ?= $(wildcard ../shared/conformance/lpconform.py)

# The long stages of "make check" run three at a time, begun in this order: two of
# them wait for disks, archives and containers more than they compute.
STAGES := containers integration lint vet test deb fuzz deb-test $(if $(LPCONFORM),conformance)

.DELETE_ON_ERROR:
.PHONY: help build install fmt fmt-check vet lint test fuzz integration containers bench conformance demo deb deb-test check vuln clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

build: ## bin/lpbuildd and bin/lpbuild
	@echo "== build $(VERSION)"
	CGO_ENABLED=0 $(GO) build -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/...

demo: ## a fresh machine builds Debian's hello through the daemon (root)
	@.ci/demo

check: ## everything: install what is needed, format, vet, lint, tests, fuzzing, real builds (root)
	@for stage in install build fmt-check; do $(MAKE) --no-print-directory "timed-$$stage" || exit; done
	@echo "== three at a time, each shown when it has ended: $(STAGES)"
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=recurse $(STAGES:%=timed-%)
	@echo "== check: all passed"

timed-%:
	@began=$$(date +%s); $(MAKE) --no-print-directory $* && echo "== $* took $$(($$(date +%s) - began)) s"

# It tests what the one makes, and its machine has a network that tests of the other
# may choose too.
timed-deb-test: timed-deb timed-containers

install: ## Debian packages and the user that demo, check and conformance need (root)
	@echo "== install"
	@.ci/install check

fmt: ## format the Go code
	.ci/golangci-lint fmt ./...

fmt-check:
	@echo "== format"
	@.ci/golangci-lint fmt --diff ./... || { echo "make: run 'make fmt'" >&2; exit 1; }

vet: ## go vet, of all tests too
	@echo "== vet"
	@$(GO) vet -tags integration ./...

lint: ## golangci-lint, in its pinned version, and shellcheck
	@echo "== lint"
	@.ci/golangci-lint config verify
	@.ci/golangci-lint run ./...
	@shellcheck $$(grep -rlE '^#!/bin/(ba)?sh' .ci debian)

test: ## unit tests, with the race detector, in random order
	@echo "== unit tests"
	@.ci/gotest -race -shuffle=on -timeout 1h ./...

fuzz: ## every fuzz target for FUZZTIME (10000 inputs)
	@echo "== fuzz"
	@.ci/fuzz $(FUZZTIME)

integration: ## tests that need root, sbuild or a base image (root)
	@echo "== integration tests"
	@.ci/base-image $(SERIES) $(LPBUILDD_TEST_IMAGE)
	@.ci/source hello $(LPBUILDD_TEST_SOURCE) $(SERIES)
	@.ci/gotest -tags integration -count=1 -timeout 3h -p 1 -skip '$(CONTAINER_TESTS)|$(PACKAGE_TEST)' \
		$(filter-out ./backends/incus/,$(call packages_with,^//go:build .*integration))

containers: ## tests that need LXD and Incus, which it installs and starts (root)
	@echo "== container tests"
	@.ci/containers start
	@.ci/containers sweep
	@.ci/fixtures/fixture-squid --install
	@.ci/container-image $(LPBUILDD_TEST_CONTAINER_IMAGE)
	@.ci/gotest -tags integration -count=1 -timeout 2h ./backends/incus
	@.ci/gotest -tags integration -count=1 -timeout 2h -run '$(CONTAINER_TESTS)' ./cmd/lpbuildd/e2e

# On an idle machine: the benchmarks of the daemon share the processors with it.
# Takes about a quarter of an hour. Prints what benchstat reads; compare ten runs
# before and after a change:
#   make -s bench COUNT=10 >before.txt; ...; make -s bench COUNT=10 >after.txt
#   go run golang.org/x/perf/cmd/benchstat@latest before.txt after.txt
# Without root it skips what needs a chroot, a container or a daemon. Those of
# the daemon alone: BENCH='StatusBuilding|StatusDuringDownload|DaemonMemory|WarmBuild';
# those of containers: BENCH='ColdBuild|WarmBuild|GatherLayers'.
bench: ## benchmarks, COUNT times each (1), those matching BENCH (all); made for benchstat
	@[ "$$(id -u)" -ne 0 ] || .ci/base-image $(SERIES) $(LPBUILDD_TEST_IMAGE) >&2
	@[ "$$(id -u)" -ne 0 ] || { .ci/containers start && .ci/container-image $(LPBUILDD_TEST_CONTAINER_IMAGE); } >&2 || \
		echo "bench: there are no containers to measure" >&2
	@image=$(LPBUILDD_TEST_IMAGE); if [ -e "$$image" ]; then export BENCH_IMAGE="$$image"; fi; \
	$(GO) test -tags integration -run '^$$' -bench '$(BENCH)' -benchmem -count=$(COUNT) -timeout 2h $(call packages_with,^func Benchmark)

deb: ## the Debian package, in dist/, and what lintian and systemd say about it
	@echo "== deb"
	@.ci/deb --twice

deb-test: ## the package in a container with systemd: install, build, upgrade, reboot, purge (root)
	@echo "== deb-test"
	@.ci/deb-test

conformance: ## the black-box conformance program, if it is there (root)
	@.ci/conformance

vuln: ## known vulnerabilities in what we use; needs the network's database
	$(GO) run $(GOVULNCHECK) ./...

clean: ## remove what was built here; the cache stays
	rm -rf bin dist coverage.out
