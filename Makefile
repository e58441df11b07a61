# kedge: build, test and install. `make help` lists the targets.
#
# Everything is built out of tree under build/. A sanitizer build has a folder of its own, so that switching back and
# forth rebuilds nothing: make SANITIZE=address,undefined unit.

CC       ?= gcc
PREFIX   ?= /usr/local
SANITIZE ?=
CHAOS    ?=

comma := ,
VARIANT := $(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))$(if $(CHAOS),-chaos)
B := build/obj$(VARIANT)
# The programs of the plain build stand at build/; those of a variant in its own folder.
BIN := $(if $(VARIANT),$(B)/bin,build)

PACKAGES := libuv libprotobuf-c libnghttp2 zlib
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wmissing-prototypes -Wstrict-prototypes -Wvla
CFLAGS   ?= -O2 -g
CPPFLAGS += -I. -I$(GEN) -D_GNU_SOURCE $(if $(CHAOS),-DKEDGE_CHAOS)
STD      := -std=gnu11 -fno-omit-frame-pointer -ffunction-sections -fdata-sections -pthread
SANFLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all)
LDFLAGS  += -Wl,--gc-sections -pthread
LDLIBS   := -luv -lprotobuf-c -lnghttp2 -llmdb -lcrypto -lz -lm

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
PROGRAMS := $(foreach p,kedge kedgectl kedgeutl,$(if $(wildcard cmd/$(p)/main.c),$(BIN)/$(p)))
UNIT_BIN := $(UNIT_C:%.c=$(B)/%)
FUZZ_BIN := $(FUZZ_C:%.c=$(B)/%)

.PHONY: all
all: $(PROGRAMS)
.DEFAULT_GOAL := all
.SECONDARY:

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
$(B)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

$(BIN)/kedge $(BIN)/kedgectl $(BIN)/kedgeutl: $(BIN)/%: $(B)/cmd/%/main.o $(LIBCMD) $(LIBKEDGE)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(SANFLAGS) -o $@ $^ $(LDLIBS)

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(LIBSUPPORT) $(LIBSIM) $(LIBCMD) $(LIBKEDGE)
	$(CC) $(LDFLAGS) $(SANFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(LIBSUPPORT) $(LIBKEDGE)
	$(CC) $(LDFLAGS) $(SANFLAGS) -o $@ $^ $(LDLIBS)

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# --- tests ----------------------------------------------------------------------------------------------------------
.PHONY: unit
unit: $(UNIT_BIN) ## unit tests (cmocka)
	@tests/run-unit $(UNIT_BIN)

.PHONY: clean
clean: ## remove build/
	rm -rf build

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
