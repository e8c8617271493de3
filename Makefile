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
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Werror
CFLAGS ?= -g
ALL_CFLAGS := -std=c17 -D_GNU_SOURCE -I. -isystem $(G) $(OPT_$(SAN)) $(WARN) -fPIE -pthread \
    -fstack-protector-strong -fstack-clash-protection $(CFLAGS)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now $(OPT_$(SAN)) -pthread $(LDFLAGS)
LIBS := -lnats -lcivetweb -lgrpc -lgpr -lprotobuf-c -lcjson -lcyaml -lyaml -luuid -lm

# ---- generated code: messages, and descriptors for reflection ----
PROTOS := events.proto status_log.proto grpc/health/v1/health.proto grpc/reflection/v1/reflection.proto \
    grpc/reflection/v1alpha/reflection.proto google/protobuf/timestamp.proto
PUBLIC_PROTOS := $(filter-out status_log.proto,$(PROTOS))
GEN_C := $(PROTOS:%.proto=$(G)/%.pb-c.c)
GEN_O := $(GEN_C:$(G)/%.c=$(B)/gen/%.o) $(B)/gen/descriptors.o

SRC := $(wildcard common/*.c)
COMMON_O := $(SRC:%.c=$(B)/obj/%.o) $(GEN_O)
GATEWAY_SRC := $(wildcard http-gateway/*.c)
PROCESSOR_SRC := $(wildcard event-processor/*.c)
GATEWAY_O := $(GATEWAY_SRC:%.c=$(B)/obj/%.o)
PROCESSOR_O := $(PROCESSOR_SRC:%.c=$(B)/obj/%.o)
PARTS_A := $(B)/libgateway.a $(B)/libprocessor.a $(B)/libcommon.a
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
UNIT_LIB_O := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/lib/*.c))

##@ Build
all: $(B)/http-gateway $(B)/event-processor ## Build both services (build/http-gateway, build/event-processor)

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
$(B)/libgateway.a: $(filter-out %/main.o,$(GATEWAY_O))
$(B)/libprocessor.a: $(filter-out %/main.o,$(PROCESSOR_O))
$(B)/lib%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/obj/%.o: %.c | $(GEN_C)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/gen/%.o: $(G)/%.c $(GEN_C)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -I$(G) $(OPT_$(SAN)) -fPIE -g -c -o $@ $<

$(G)/google/%.pb-c.c: /usr/include/google/%.proto
	$(call say,PROTO,$<)
	@mkdir -p $(G)
	$(Q)protoc-c -I/usr/include --c_out=$(G) $<
$(G)/%.pb-c.c: proto/%.proto
	$(call say,PROTO,$<)
	@mkdir -p $(G)
	$(Q)protoc-c -Iproto -I/usr/include --c_out=$(G) $<

# descriptors.c: `const unsigned char tidings_descriptors[]`, a google.protobuf.FileDescriptorSet
$(G)/descriptors.c: $(addprefix proto/,$(filter-out google/%,$(PUBLIC_PROTOS)))
	$(call say,PROTO,$@)
	@mkdir -p $(G)
	$(Q)protoc -Iproto -I/usr/include --include_imports --descriptor_set_out=$(G)/descriptors.bin $^
	$(Q){ echo '#include <stddef.h>'; echo 'const unsigned char tidings_descriptors[] = {'; \
	  od -An -v -tx1 $(G)/descriptors.bin | sed 's/ \(..\)/0x\1,/g'; \
	  echo '}; const size_t tidings_descriptors_size = sizeof tidings_descriptors;'; } > $@

##@ Test
$(B)/tests/%: $(B)/obj/tests/unit/%.o $(UNIT_LIB_O) $(PARTS_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(PARTS_A) -lcmocka $(LIBS)

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

clean: ## Remove build/ (var/, the data, stays)
	$(Q)rm -rf build

.PHONY: all asan tsan unit-build help clean
.SECONDARY:
-include $(shell find build -name '*.d' 2>/dev/null)
