# Everything here works on a machine that has Rust's toolchain, make and apt, and nothing else.
#
#   make demo      build hoist, make the demo's base image, build and start examples/shop, and say how to use it
#   make test      every check there is, as CI runs it
#   make load      200 clients for two minutes, and thousands of made-up requests
#   make bench     measure against Docker Compose in the same run
#   make install   put hoist into $(PREFIX)/bin
#   make lint      formatting, clippy, documentation
#   make clean-demo   stop the demo, remove its data and its images

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PREFIX ?= /usr/local
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo "sudo -E")

# The engine needs root, and so do the tests that drive it.
ifneq ($(SUDO),)
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER := $(SUDO)
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER := $(SUDO)
endif

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

# ---- tools ----

# Debian packages: what builds hoist and the images, and what the tests want besides: a look at the kernel (ip, nft), and a
# machine with another kernel (qemu, cpio, kmod).
BUILD_PACKAGES := ca-certificates gcc libc6-dev mmdebstrap zstd
TEST_PACKAGES := git openssh-client iproute2 nftables iptables bind9-dnsutils busybox-static qemu-system-x86 cpio kmod procps python3-venv docker-registry skopeo apache2-utils openssl

.PHONY: tools
tools: tools-nextest
	@SUDO="$(SUDO)" tests/tools/apt-install.sh $(BUILD_PACKAGES) $(TEST_PACKAGES)
	@tests/tools/python-clients.sh >/dev/null
	@tests/tools/fuzzer.sh >/dev/null
	@tests/tools/rust-clients.sh >/dev/null
	@tests/tools/compose-cli.sh >/dev/null

.PHONY: tools-build
tools-build:
	@SUDO="$(SUDO)" tests/tools/apt-install.sh $(BUILD_PACKAGES)

.PHONY: tools-nextest
tools-nextest:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-nextest

# ---- build ----

.PHONY: build
build:
	$(CARGO) build --locked --bins

.PHONY: release
release:
	$(CARGO) build --locked --release --bins

.PHONY: install
install: release
	$(SUDO) install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system
	$(SUDO) install -m 755 $(TARGET)/release/hoist $(TARGET)/release/hoist-shim $(DESTDIR)$(PREFIX)/bin/
	sed 's,/usr/local,$(PREFIX),g' examples/systemd/hoist.service | $(SUDO) install -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/lib/systemd/system/hoist.service

# ---- checks ----

.PHONY: lint
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet

.PHONY: images
images: tools-build
	$(SUDO) examples/images/build.sh

# The order: what fails fastest first. The demo runs on the machine itself from a clean state, the rest in test hosts,
# with the images that the demo has built.
.PHONY: test
test: tools lint images
	$(CARGO) build --locked --bins
	tests/tools/leftovers.sh save
	HOIST="$(TARGET)/debug/hoist" $(SUDO) tests/tools/demo-check.sh
	$(CARGO) test --locked --workspace --doc --quiet
	$(CARGO) nextest run --locked --workspace 2>&1 | tee $(TARGET)/nextest.log
	tests/tools/leftovers.sh compare
	@grep -E '^ *Summary' $(TARGET)/nextest.log

# Two minutes of 200 clients, and a long time of made-up requests.
.PHONY: load
load: tools images
	HOIST_LOAD_SECONDS=120 HOIST_FUZZ_PHASES=coverage,fuzzing HOIST_FUZZ_EXAMPLES=50 $(CARGO) nextest run --locked --test clients --no-capture load:: fuzz::

.PHONY: bench
bench: tools images
	$(SUDO) benches/reference.sh
	@SUDO="$(SUDO)" tests/tools/apt-install.sh isal curl
	$(CARGO) bench --locked --bench compare
	$(CARGO) bench --locked --bench images
	$(CARGO) bench --locked --bench config

# ---- the demo ----

.PHONY: demo
demo: tools-build release
	@$(SUDO) env HOIST="$(TARGET)/release/hoist" examples/demo.sh up

.PHONY: clean-demo
clean-demo:
	@$(SUDO) env HOIST="$(TARGET)/release/hoist" examples/demo.sh clean
