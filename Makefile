# kedge: build, test and install. `make help` lists the targets.
#
# Everything is built out of tree under build/. A sanitizer build has a folder of its own, so that switching back and
# forth rebuilds nothing: make SANITIZE=address,undefined unit.

ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX   ?= /usr/local
# SANITIZE=address,undefined or thread; CHAOS=1: with failpoints; WERROR=1: a warning fails the build;
# FUZZ=1: instrumented for libFuzzer (`make fuzz` sets it).
SANITIZE ?=
CHAOS    ?=
# CANARIES=1: with planted bugs, for `make canaries` alone.
CANARIES ?=
WERROR   ?=
FUZZ     ?=
SECONDS  ?= 10
# How far clang's analyzer follows the paths of a function. It gives up at 225,000 steps by itself: `make prove` goes there.
TIDY_STEPS ?= 75000

comma := ,
VARIANT := $(if $(filter-out gcc,$(CC)),-$(notdir $(CC)))$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
VARIANT := $(strip $(VARIANT)$(if $(CHAOS),-chaos)$(if $(CANARIES),-canaries)$(if $(FUZZ),-fuzz))
B := build/obj$(VARIANT)
# The programs of the plain build stand at build/; those of a variant in its own folder.
BIN := $(if $(VARIANT),$(B)/bin,build)

PACKAGES := libuv libprotobuf-c libnghttp2 zlib libzstd
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wmissing-prototypes -Wstrict-prototypes -Wvla
CFLAGS   ?= -O2 -g
CPPFLAGS += -I. -I$(GEN) -D_GNU_SOURCE $(if $(CHAOS),-DKEDGE_CHAOS) $(if $(CANARIES),-DKEDGE_CANARIES)
STD      := -std=gnu11 -fno-omit-frame-pointer -ffunction-sections -fdata-sections -pthread
SANFLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all)
SANFLAGS += $(if $(FUZZ),-fsanitize=fuzzer-no-link)
WARNINGS += $(if $(WERROR),-Werror)
# Nothing reads past what it may: the compiler's own checks in the plain build, the sanitizers' in the others.
STD      += $(if $(SANITIZE),,-fstack-protector-strong -D_FORTIFY_SOURCE=2)
LDFLAGS  += -Wl,--gc-sections -pthread
LDLIBS   := -luv -lprotobuf-c -lnghttp2 -llmdb -lcrypto -lz -lzstd -lm

# --- generated code -------------------------------------------------------------------------------------------------
GEN    := build/gen
PROTOS := $(sort $(wildcard kv/*.proto raft/*.proto raft/wal/*.proto grpc/*.proto))
GEN_C  := $(PROTOS:%.proto=$(GEN)/%.pb-c.c)
GEN_H  := $(PROTOS:%.proto=$(GEN)/%.pb-c.h)

# --- sources --------------------------------------------------------------------------------------------------------
LIB_DIRS := base base/net raft raft/wal raft/peer kv core grpc snapshot
LIB_C    := $(sort $(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.c)))
CMD_C    := $(sort $(filter-out %/main.c,$(wildcard cmd/*.c cmd/*/*.c)))
SIM_C    := $(sort $(filter-out %/main.c,$(wildcard chaos/sim/*.c)))
UNIT_C   := $(sort $(wildcard tests/unit/*/*_test.c tests/unit/*/*/*_test.c tests/unit/*_test.c))
FUZZ_C   := $(sort $(wildcard tests/fuzz/*_fuzz.c))
BENCH_C  := $(sort $(wildcard tests/bench/*.c))
SUPPORT_C := $(sort $(wildcard tests/support/*.c))

obj = $(addprefix $(B)/,$(1:.c=.o))
LIB_O := $(call obj,$(LIB_C)) $(GEN_C:$(GEN)/%.c=$(B)/gen/%.o)
LIBKEDGE := $(B)/libkedge.a
LIBCMD   := $(B)/libcmd.a
LIBSIM   := $(B)/libsim.a
LIBSUPPORT := $(B)/libsupport.a
NAMES    := $(foreach p,kedge kedgectl kedgeutl,$(if $(wildcard cmd/$(p)/main.c),$(p)))
PROGRAMS := $(addprefix $(BIN)/,$(NAMES))
SIM_BIN  := $(if $(wildcard chaos/sim/main.c),$(BIN)/kedge-sim)
UNIT_BIN := $(UNIT_C:%.c=$(B)/%)
FUZZ_BIN := $(FUZZ_C:%.c=$(B)/%)
LOAD_C    := $(sort $(wildcard tests/bench/load/*.c))
BENCH_BIN := $(BIN)/bench/load $(BENCH_C:tests/bench/%.c=$(BIN)/bench/%)
OWN_C    := $(LIB_C) $(wildcard cmd/*.c cmd/*/*.c chaos/*/*.c tests/unit/*_test.c) $(UNIT_C) $(FUZZ_C) $(SUPPORT_C) \
            $(wildcard tests/bench/*.c tests/bench/*/*.c)

.PHONY: all
all: $(PROGRAMS) ## build the programs: build/kedge, build/kedgectl, build/kedgeutl
.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: %.proto
	@mkdir -p $(GEN)
	protoc-c -I. --c_out=$(GEN) $<

$(B)/gen/%.o: $(GEN)/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STD) $(CFLAGS) $(SANFLAGS) -MMD -MP -c $< -o $@

$(B)/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STD) $(WARNINGS) $(CFLAGS) $(SANFLAGS) -MMD -MP -c $< -o $@

$(LIBKEDGE): $(LIB_O)
$(LIBCMD): $(call obj,$(CMD_C))
$(LIBSIM): $(call obj,$(SIM_C))
$(LIBSUPPORT): $(call obj,$(SUPPORT_C))
# q, not r: two folders may each have a file of one name.
$(B)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) qcs $@ $^

link = $(CC) $(LDFLAGS) $(SANFLAGS) -o $@ $^

$(BIN)/kedge $(BIN)/kedgectl $(BIN)/kedgeutl: $(BIN)/%: $(B)/cmd/%/main.o $(LIBCMD) $(LIBKEDGE)
	@mkdir -p $(@D)
	$(link) $(LDLIBS)

$(BIN)/kedge-sim: $(B)/chaos/sim/main.o $(LIBSIM) $(LIBSUPPORT) $(LIBCMD) $(LIBKEDGE)
	@mkdir -p $(@D)
	$(link) $(LDLIBS)

$(BIN)/bench/load: $(call obj,$(LOAD_C)) $(LIBKEDGE)
	@mkdir -p $(@D)
	$(link) $(LDLIBS)

$(BIN)/bench/%: $(B)/tests/bench/%.o $(LIBSUPPORT) $(LIBCMD) $(LIBKEDGE)
	@mkdir -p $(@D)
	$(link) $(LDLIBS)

# A load program of several files is a folder: tests/bench/NAME/.
.SECONDEXPANSION:
$(addprefix $(BIN)/bench/,$(BENCH_DIRS)): $(BIN)/bench/%: $$(call obj,$$(wildcard tests/bench/%/*.c)) $(LIBKEDGE)
	@mkdir -p $(@D)
	$(link) $(LDLIBS)

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(LIBSIM) $(LIBSUPPORT) $(LIBCMD) $(LIBKEDGE)
	$(link) -lcmocka $(LDLIBS)

$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(LIBSUPPORT) $(LIBCMD) $(LIBKEDGE)
	$(link) -fsanitize=fuzzer $(LDLIBS)

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# --- what is made from the tables of commands and flags --------------------------------------------------------------

MAN_PAGES := $(NAMES:%=build/man/%.1)
COMPLETED := $(filter kedgectl kedgeutl,$(NAMES))

.PHONY: man
man: $(MAN_PAGES) ## the manual pages: build/man/

$(B)/man: $(B)/cmd/man/main.o $(LIBCMD) $(LIBKEDGE)
	@mkdir -p $(@D)
	$(link) $(LDLIBS)

build/man/%.1: $(B)/man
	@mkdir -p $(@D)
	$< $* >$@

# --- tests ----------------------------------------------------------------------------------------------------------
# What a kind of test consists of is found by name, so that adding one changes nothing here (docs/testing.md).

.PHONY: check
check: ## what a change must pass: unit, e2e, a short simulation, structure and documentation
	@tests/run-check $(MAKE)

.PHONY: unit
unit: $(UNIT_BIN) ## unit tests (cmocka)
	@tests/run-unit $(UNIT_BIN)

.PHONY: e2e
e2e: $(PROGRAMS) ## real processes under real clients
	@KEDGE_BIN=$(BIN) tests/run-e2e $(E2E)

.PHONY: interop
interop: $(PROGRAMS) ## against the official programs (needs Go 1.26; skipped without)
	@KEDGE_BIN=$(BIN) tests/interop/run

.PHONY: sim
sim: $(SIM_BIN) ## deterministic simulation: SEED=n for one seed, else fresh seeds for SECONDS=n
	@tests/run-sim $(SIM_BIN)
sim: export SEED := $(SEED)
sim: export SECONDS := $(SECONDS)
sim: export MEMBERS := $(MEMBERS)

.PHONY: canaries
canaries: all ## bugs planted in a simulator of its own: each must be found; says how many seeds it took
	@$(MAKE) --no-print-directory CANARIES=1 build/obj$(VARIANT)-canaries/bin/kedge-sim
	@tests/run-canaries build/obj$(VARIANT)-canaries/bin/kedge-sim $(PROGRAMS)
canaries: export CANARY := $(CANARY)

.PHONY: bench
bench: $(PROGRAMS) $(BENCH_BIN) ## compare with etcd in interleaved rounds
	@KEDGE_BIN=$(BIN) tests/bench/run

.PHONY: fuzz fuzz-run
fuzz: ## each fuzz target for SECONDS=n
	@$(MAKE) --no-print-directory CC=clang-14 SANITIZE=address,undefined FUZZ=1 fuzz-run
fuzz-run: $(FUZZ_BIN)
	@tests/run-fuzz $(SECONDS) $(FUZZ_BIN)

.PHONY: prove
prove: all ## tier two: the full numbers, for the note of an issue
	@tests/prove

.PHONY: fresh
fresh: ## both bootstrap commands in a bare Debian 12 (needs root)
	@tests/fresh

.PHONY: image
image: ## the steps of deploy/Dockerfile without Docker, and what comes out tried (needs root; downloads Debian once)
	@tests/image

# --- source ---------------------------------------------------------------------------------------------------------
.PHONY: lint tidy structure manifests docs
lint: structure manifests tidy ## clang-tidy, directions of includes, folders, manifests for Kubernetes

manifests: ## deploy/kubernetes, looked at with Kubernetes' own code (needs Go 1.26; skipped without)
	@tests/lint/manifests

structure: ## directions of includes, folders, no forgotten fault of etcd's, and that these checkers can fail
	@tests/lint/structure_test
	@tests/lint/structure .
	@tests/lint/regressions_test
	@tests/lint/regressions .

# A file is looked at again when it or a header of it changed, as its object tells.
TIDY_DEPTH := -Xclang -analyzer-config -Xclang max-nodes=$(TIDY_STEPS)
tidy: $(OWN_C:%.c=$(B)/tidy/%.ok)
	@echo "tidy: $(words $(OWN_C)) files, no findings"
$(B)/tidy/%.ok: %.c $(B)/%.o .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy-14 --quiet $< -- $(CPPFLAGS) $(STD) $(WARNINGS) $(TIDY_DEPTH) 2>$@.err >$@.out || { cat $@.out $@.err; exit 1; }
	@touch $@

docs: all ## run the commands that README.md and docs/ show
	@tests/docs/run_test
	@tests/docs/run README.md $(wildcard docs/*.md)

.PHONY: format
format: ## clang-format over all sources
	clang-format-14 -i $$(git ls-files '*.c' '*.h')

# --- installing -----------------------------------------------------------------------------------------------------
.PHONY: install
install: all man ## into DESTDIR/PREFIX/bin and share; ETCD_NAMES=1: also as etcd, etcdctl, etcdutl
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1
	$(foreach p,$(NAMES),install -s -m 755 $(BIN)/$(p) $(DESTDIR)$(PREFIX)/bin/$(p) &&) true
	install -m 644 $(MAN_PAGES) $(SHARE)/man/man1/
	@$(foreach p,$(COMPLETED),$(call install_completion,$(p),$(p)) &&) true
	$(if $(ETCD_NAMES),$(foreach p,$(NAMES),ln -sf $(p) $(DESTDIR)$(PREFIX)/bin/$(p:kedge%=etcd%) &&) true)
	$(if $(ETCD_NAMES),$(foreach p,$(NAMES),ln -sf $(p).1 $(SHARE)/man/man1/$(p:kedge%=etcd%).1 &&) true)
	@$(if $(ETCD_NAMES),$(foreach p,$(COMPLETED),$(call install_completion,$(p),$(p:kedge%=etcd%)) &&) true)

# $(1) = a program, $(2) = the name it is called by.
SHARE = $(DESTDIR)$(PREFIX)/share
define install_completion
install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d && \
bash -c 'exec -a $(2) $(BIN)/$(1) completion bash' >$(SHARE)/bash-completion/completions/$(2) && \
bash -c 'exec -a $(2) $(BIN)/$(1) completion zsh' >$(SHARE)/zsh/site-functions/_$(2) && \
bash -c 'exec -a $(2) $(BIN)/$(1) completion fish' >$(SHARE)/fish/vendor_completions.d/$(2).fish
endef

.PHONY: clean
clean: ## remove build/
	rm -rf build

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
