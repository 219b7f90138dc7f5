# The two commands that a newcomer needs are `make demo` and `make test`; `make` lists the rest.
#
# What this file owns: the order of the steps and where build products go. What it does not know:
# compiler flags (.cargo/config.toml), lints (Cargo.toml, clippy.toml), licences (deny.toml).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Steps run one after the other even under `make -j`: cargo already uses every core.
.NOTPARALLEL:

# Build products live outside the checkout, so that a fresh clone finds RocksDB compiled.
CACHE ?= $(HOME)/.cache/raftmq
CARGO_TARGET_DIR ?= $(CACHE)/target
export CARGO_TARGET_DIR CACHE
# Flags from outside would compile RocksDB a second time: .cargo/config.toml is the only source.
unexport RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_PROFILE

CARGO := cargo
# Cargo.lock is never rewritten by a step of this file.
LOCKED := --locked
RAFTMQ := $(CARGO_TARGET_DIR)/debug/raftmq
STEP := scripts/step

# make demo: the folder whose files are published.   make dev: how many brokers.
DIR ?= .
BROKERS ?= 3
# make chaos: a range of seeds (A..B) and how many run at once; without SEEDS, a time box.
SEEDS ?=
JOBS ?= 2
BOX_SECONDS ?= 60

.PHONY: help setup tools build demo dev test check fix fmt clippy unit examples clients tidy doc deny chaos bench clean-chaos

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: ## check the tools; install libclang where root and apt-get allow it
	@scripts/setup

tools: ## install the clients that tests drive: kcat, Kafka's Java client and tools, RabbitMQ's Java client, pika
	@$(STEP) tools scripts/tools tests

build: setup ## compile the binary `raftmq`
	@$(STEP) build $(CARGO) build $(LOCKED) -p raftmq --bin raftmq

demo: build ## three brokers, every line below DIR (default: this tree), kill -9, nothing lost
	@$(RAFTMQ) demo $(DIR)

dev: build ## a local cluster of BROKERS (default 3) processes; stop it with Ctrl-C
	@$(RAFTMQ) dev --brokers $(BROKERS)

test: check unit examples chaos ## everything CI runs: check, tests, a time box of chaos

check: fmt clippy doc deny ## formatting, lints, docs, licences; never writes

fix: setup ## write what can be written: formatting and machine-applicable lints
	@$(CARGO) clippy $(LOCKED) --workspace --all-targets --fix --allow-dirty --allow-staged
	@$(CARGO) fmt --all

fmt: setup ## formatting, checked only (`make fix` writes)
	@$(STEP) fmt $(CARGO) fmt --all --check

clippy: setup ## lints; a warning is an error
	@$(STEP) clippy $(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings

unit: setup tools ## every `cargo test`, tidy included
	@$(STEP) unit scripts/unit $(LOCKED) --workspace

examples: setup ## the client's examples against a local cluster
	@$(STEP) examples scripts/examples

clients: build ## more clients (Kafka's and RabbitMQ's in Python, JavaScript, Go, Ruby, PHP, C) against a local cluster; installs them
	@$(STEP) tools scripts/tools all
	@$(STEP) clients scripts/clients

tidy: setup ## only the test that reads the tree: sizes, directions, documented names
	@$(STEP) tidy scripts/unit $(LOCKED) -p raftmq --test tidy

# RUSTDOCFLAGS reaches rustdoc alone: it is no part of the fingerprint of compiled crates.
doc: setup ## API documentation; a warning is an error
	@RUSTDOCFLAGS="-D warnings" $(STEP) doc $(CARGO) doc $(LOCKED) --workspace --no-deps

deny: setup ## licences, bans and sources of dependencies; advisories when they can be fetched
	@$(STEP) deny scripts/deny

chaos: setup ## simulated clusters under faults: SEEDS=A..B, or past failures and new seeds for BOX_SECONDS
	@$(STEP) chaos-build $(CARGO) test $(LOCKED) --workspace --no-run
	@SEEDS="$(SEEDS)" JOBS="$(JOBS)" BOX_SECONDS="$(BOX_SECONDS)" $(STEP) chaos scripts/chaos-box

bench: build ## benchmarks; run them on a quiet machine
	@$(STEP) bench scripts/bench

clean-chaos: ## remove traces and histories of chaos runs
	@rm -rf chaos-tests/out
