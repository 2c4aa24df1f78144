# What a person types. `make help` lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export CARGO_INCREMENTAL ?= 1
export PATH := $(CURDIR)/.cache/tools/bin:$(PATH)

TARGET := $(or $(CARGO_TARGET_DIR),target)
# Links faster where it is installed, without changing what cargo has built before.
LINK := $(shell command -v mold >/dev/null 2>&1 && echo "mold -run")
# The gateway's own programs.
PROGRAMS := -p omniroute -p omniroute-control-plane -p omniroute-data-plane
CLIENTS := .cache/clients

.PHONY: help run build test test-rust bench check audit fuzz demo docs clients toolchain test-tools clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build and start the gateway on this machine; ARGS are handed to `omniroute up`
	@exec $(TARGET)/local/omniroute up $(ARGS)

build: toolchain ## Build the gateway's programs into $(TARGET)/local
	@$(LINK) cargo build --locked --profile local $(PROGRAMS)

test: test-tools clients ## All tests, with a Postgres and a Redis of their own
	@tests/scripts/with-services.sh $(MAKE) --no-print-directory test-rust

# What `test` runs once the services are there; FILTER narrows it (`make test FILTER=-E'test(chat)'`).
test-rust:
	@# The end-to-end tests start the real programs, which the test runner alone would not build.
	@$(LINK) cargo build --locked --workspace --all-targets
	@$(LINK) cargo nextest run --locked --workspace --no-fail-fast $(FILTER)

check: test-tools ## Format, lints, dependency policy, documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --workspace --no-deps --document-private-items

audit: test-tools ## Known vulnerabilities of the dependencies (needs the network)
	cargo deny --locked check advisories

bench: toolchain ## Measure the gateway against a bare reverse proxy; ARGS=--quick is the short form
	@$(LINK) cargo build --locked --release $(PROGRAMS) -p omniroute-tests --bins
	@$(TARGET)/release/bench $(ARGS)

fuzz: toolchain ## Fuzz every reader of the wire formats; SECONDS_EACH=600 TARGETS=openai_stream narrow it
	@shared/wire/fuzz/run.sh

demo: test-tools build ## A real language model behind the gateway
	@demo/run.sh $(abspath $(TARGET)/local)

docs: ## Write docs/providers.md and the generated part of docs/configuration.md anew
	@$(LINK) cargo run --locked --quiet -p omniroute-providers --example document >$(TARGET)/providers.md
	@mv $(TARGET)/providers.md docs/providers.md
	@$(LINK) cargo run --locked --quiet -p omniroute -- config docs >$(TARGET)/settings.md
	@awk -v tables=$(TARGET)/settings.md ' \
	  /<!-- end generated -->/ { skip = 0 } \
	  !skip { print } \
	  /<!-- begin generated/ { skip = 1; while ((getline line < tables) > 0) print line }' \
	  docs/configuration.md >$(TARGET)/configuration.md
	@mv $(TARGET)/configuration.md docs/configuration.md

# The official clients that tests drive the gateway with.
clients: test-tools
	@tests/scripts/clients.sh $(CLIENTS)

toolchain:
	@tests/scripts/install.sh

test-tools:
	@tests/scripts/install.sh --tests

clean: ## Remove everything that was built or installed here
	rm -rf target .cache bench-results
