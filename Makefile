# Tidings. `make help` lists the targets. Quiet unless V=1.
.DEFAULT_GOAL := all
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' '$(1)' '$(2)')

# ---- variants: the same sources, other flags, another folder ----
SAN ?=
B := build$(if $(SAN),/$(SAN))
G := build/gen
CC ?= gcc
OPT_ := -O2 -D_FORTIFY_SOURCE=2
OPT_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT_tsan := -O1 -fsanitize=thread -fno-omit-frame-pointer
# fuzz: clang only
OPT_fuzz := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
    -Wformat=2 $(if $(SAN),,-Werror) # other optimizers see other phantoms
CFLAGS ?= $(if $(SAN),-g1,-g) # lines suffice for a sanitizer's report
ALL_CFLAGS := -std=c17 -D_GNU_SOURCE -I. -isystem $(G) $(OPT_$(SAN)) $(WARN) -fPIE -pthread \
    -fstack-protector-strong -fstack-clash-protection $(CFLAGS)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now $(OPT_$(SAN)) -pthread $(LDFLAGS)
LIBS := -Wl,--as-needed -lnats -lcivetweb -lgrpc -lgpr -lprotobuf-c -lcjson -lyaml \
    -luuid -lcrypto -lz -lzstd -lm

# ---- generated code: messages, and descriptors for reflection ----
PROTOS := events.proto status_log.proto retry.proto grpc/health/v1/health.proto \
    grpc/reflection/v1/reflection.proto grpc/reflection/v1alpha/reflection.proto \
    google/protobuf/timestamp.proto google/protobuf/descriptor.proto
PUBLIC_PROTOS := $(filter-out status_log.proto retry.proto,$(PROTOS))
GEN_C := $(PROTOS:%.proto=$(G)/%.pb-c.c)
GEN_O := $(GEN_C:$(G)/%.c=$(B)/gen/%.o) $(B)/gen/descriptors.o
# embed FILE,NAME: C code of `const unsigned char NAME[]` with the file's bytes, and NAME_size
embed = { echo '\#include <stddef.h>'; echo 'const unsigned char $(2)[] = {'; \
    od -An -v -tx1 $(1) | sed 's/ \(..\)/0x\1,/g'; \
    echo '}; const size_t $(2)_size = sizeof $(2);'; } > $@

SRC := $(wildcard common/*.c)
COMMON_O := $(SRC:%.c=$(B)/obj/%.o) $(GEN_O)
GATEWAY_SRC := $(wildcard http-gateway/*.c)
PROCESSOR_SRC := $(wildcard event-processor/*.c)
GATEWAY_O := $(GATEWAY_SRC:%.c=$(B)/obj/%.o)
PROCESSOR_O := $(PROCESSOR_SRC:%.c=$(B)/obj/%.o)
PARTS_A := $(B)/libgateway.a $(B)/libprocessor.a $(B)/libcommon.a
UNIT_A := $(B)/libunit.a $(PARTS_A)
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c tests/bench/limits/*.c))
UNIT_O := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/lib/*.c))

##@ Build
all: $(B)/http-gateway $(B)/event-processor ## Build both services into build/

asan: ## Build with AddressSanitizer and UBSan into build/asan
	$(Q)$(MAKE) --no-print-directory SAN=asan all unit-build
tsan: ## Build with ThreadSanitizer into build/tsan
	$(Q)$(MAKE) --no-print-directory SAN=tsan all unit-build
unit-build: $(UNIT)

$(B)/http-gateway: $(B)/obj/http-gateway/main.o $(B)/libgateway.a $(B)/libcommon.a
$(B)/event-processor: $(B)/obj/event-processor/main.o $(B)/libprocessor.a $(B)/libcommon.a
$(B)/http-gateway $(B)/event-processor:
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(B)/libcommon.a: $(COMMON_O)
$(B)/libgateway.a: $(filter-out %/main.o,$(GATEWAY_O)) $(B)/gen/openapi.o
$(B)/libprocessor.a: $(filter-out %/main.o,$(PROCESSOR_O))
$(B)/libunit.a: $(UNIT_O)
$(B)/lib%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/obj/%.o: %.c | $(GEN_C)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/gen/%.o: $(G)/%.c $(GEN_C)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -I$(G) $(OPT_$(SAN)) -fPIE $(CFLAGS) -c -o $@ $<

$(G)/google/%.pb-c.c: /usr/include/google/%.proto
	$(call say,PROTO,$<)
	@mkdir -p $(G)
	$(Q)protoc -I/usr/include --c_out=$(G) $<
$(G)/%.pb-c.c: proto/%.proto
	$(call say,PROTO,$<)
	@mkdir -p $(G)
	$(Q)protoc -Iproto -I/usr/include --c_out=$(G) $<

# descriptors.c: `const unsigned char tidings_descriptors[]`, a google.protobuf.FileDescriptorSet
$(G)/descriptors.c: $(addprefix proto/,$(filter-out google/%,$(PUBLIC_PROTOS)))
	$(call say,PROTO,$@)
	@mkdir -p $(G)
	$(Q)protoc -Iproto -I/usr/include --include_imports --descriptor_set_out=$(G)/descriptors.bin $^
	$(Q)$(call embed,$(G)/descriptors.bin,tidings_descriptors)

$(G)/openapi.c: docs/openapi.json
	$(call say,EMBED,$<)
	@mkdir -p $(G)
	$(Q)$(call embed,$<,tidings_openapi)

##@ Use
# Recursive: what is missing must be installed before anything is built; with all cores by default.
jobs = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
again = $(Q)$(MAKE) --no-print-directory $(jobs)

run: ## Start NATS, a gateway and a processor (installs what is missing, builds); Ctrl-C ends all
	@scripts/deps run
	$(again) all
	@exec scripts/run
deps: ## Only install the packages that building and running need
	@scripts/deps run
grpcurl: ## Put grpcurl into build/bin (built with Go: Debian has no package of it)
	@scripts/grpcurl

##@ Test
test: ## All tests: unit, then system (installs what is missing, builds)
	@scripts/deps test
	$(again) all unit-build
	@failed=0; scripts/unit $(UNIT) || failed=1; scripts/system || failed=1; exit $$failed
quick: ## Unit tests only
	@scripts/deps test
	$(again) unit-build
	@scripts/unit $(UNIT)
asan-test: ## All tests under AddressSanitizer and UBSan
tsan-test: ## All tests under ThreadSanitizer
asan-test tsan-test: %-test:
	@scripts/deps test
	$(again) $*
	@failed=0; scripts/sanitized $* scripts/unit $(UNIT:build/%=build/$*/%) || failed=1; \
	    scripts/sanitized $* scripts/system || failed=1; exit $$failed
lint: ## Format, clang-tidy, lengths, shellcheck
	@scripts/deps check
	$(again) $(GEN_C)
	@scripts/lint
fuzz: ## Each tests/fuzz/fuzz_*.c for FUZZ_SECONDS (10)
	@scripts/deps check
	$(again) SAN=fuzz CC=clang-14 WARN= fuzz-build
	@scripts/fuzz $(FUZZ:build/%=build/fuzz/%)
compose-test: ## docker compose up, scaled and killed under load (where a Docker engine answers)
	@scripts/deps test
	@scripts/compose-test
SEED ?= 1
COUNT ?= 2000
sim: ## Simulated histories: COUNT (2000) of them from SEED (1) on
	@scripts/deps test
	$(again) $(B)/sim
	@$(B)/sim $(SEED) $(COUNT) $(shell nproc)
marathon: ## Every event ends: a million events, kills and freezes for minutes, with real parts
	@scripts/deps test
	$(again) all
	@scripts/marathon
cost: ## Instructions and allocations of an event, against those that are kept
	@scripts/deps check
	$(again) $(B)/cost
	@tests/cost/run
bench: ## Tidings beside its peers in Go and Rust, and the limits (QUICK=1: one short round)
	@scripts/deps bench
	@scripts/venv
	$(again) all $(BENCH)
	@$(B)/venv/bin/python tests/bench/compare
soak: ## Half of what Tidings takes for SECONDS (600): does memory grow, do latencies drift?
	@scripts/deps bench
	@scripts/venv
	$(again) all $(B)/bench/open_loop
	@$(B)/venv/bin/python tests/bench/soak

# What the simulation stands in for: its threads take turns, and its clock is its own.
SIM_CALLS := pthread_create pthread_join pthread_mutex_init pthread_mutex_destroy \
    pthread_mutex_lock pthread_mutex_unlock pthread_cond_init pthread_cond_destroy \
    pthread_cond_wait pthread_cond_timedwait pthread_cond_broadcast pthread_cond_signal \
    pthread_rwlock_init pthread_rwlock_destroy pthread_rwlock_rdlock pthread_rwlock_wrlock \
    pthread_rwlock_unlock clock_gettime nanosleep getrandom flock close syscall abort \
    timer_add timer_cancel run_done run_failed
SIM_O := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/sim/*.c))
$(B)/sim: $(SIM_O) $(PARTS_A)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(SIM_CALLS:%=-Wl,--wrap=%) -o $@ $(SIM_O) $(PARTS_A) $(LIBS)
fuzz-build: $(FUZZ)
$(B)/tests/%: $(B)/obj/tests/unit/%.o $(UNIT_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(UNIT_A) -lcmocka $(LIBS)
$(B)/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(PARTS_A)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< $(PARTS_A) $(LIBS)

$(B)/cost: $(B)/obj/tests/cost/cost.o $(PARTS_A)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(PARTS_A) $(LIBS)
$(B)/bench/%: $(B)/obj/tests/bench/%.o $(PARTS_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(PARTS_A) $(LIBS)

help: ## List the targets
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} \
	    /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

clean: ## Remove build/ (var/, the data, stays)
	$(Q)rm -rf build

.PHONY: all asan tsan unit-build run deps grpcurl test quick asan-test tsan-test lint fuzz sim \
    marathon cost compose-test bench soak fuzz-build help clean
.SECONDARY:
-include $(shell find build -path build/bench/rust -prune -o -name '*.d' -print 2>/dev/null)
