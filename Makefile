# Makefile - GNU make.  `make` builds, `make check` tests, `make demo` shows; see README.md.
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

BUILD ?= build
goals := $(or $(MAKECMDGOALS),all)
ifneq ($(filter-out clean distclean format help,$(goals)),)
include config.mk
endif

# Everything that a machine lacks is installed and probed on the way.
config.mk: configure scripts/deps VERSION
	@scripts/deps --if-missing
	@./configure

EXTRA_CFLAGS ?=
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
# -ffp-contract=off: where a fused multiply-add is meant it is written; results never depend on -O
FLAGS = -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(EXTRA_CFLAGS) $(WARN) -ffp-contract=off -fno-math-errno -pthread \
	-Ilib -Icmd -I. -MMD -MP

lib_src := $(sort $(wildcard lib/*/*.c lib/*/*/*.c))
lib_obj := $(lib_src:%.c=$(BUILD)/%.o)
cmd_src := $(sort $(wildcard cmd/ds-*.c))
cmd_obj := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(cmd_src),$(wildcard cmd/*.c)))
cmd_lib := $(BUILD)/libcmd.a
tools := $(cmd_src:cmd/%.c=$(BUILD)/%)
unit := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))
fuzz := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
models := $(patsubst tests/models/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/models/*.c)))
benches := $(patsubst tests/bench/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/bench/*.c)))
lib := $(BUILD)/libds.a

# The pipe tools stay small: only what works on archives or models pulls these in, and static
# linking takes no object that is not used.
LIBS = -lzstd -lxxhash -lutf8proc -ljansson -lpcre2-8 -lsodium -lm
BLAS_TOOLS := $(BUILD)/ds-distill $(BUILD)/tests/test_model_pca $(BUILD)/tests/test_model_student
$(BLAS_TOOLS): LIBS += -lopenblas

.PHONY: all
all: $(tools)

# One translation unit an instruction set, each with its own flags.
%_avx2.o: ISA = -mavx2 -mfma -mf16c -mbmi2
%_avx512.o: ISA = -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mbmi2
%_vnni.o: ISA = -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c -mbmi2

$(BUILD)/%.o: %.c config.mk
	@mkdir -p $(@D)
	$(CC) $(FLAGS) $(ISA) -c -o $@ $<

$(cmd_lib): $(cmd_obj)
$(lib): $(lib_obj)
$(cmd_lib) $(lib):
	@rm -f $@
	$(AR) rcs $@ $^

$(tools): $(BUILD)/%: $(BUILD)/cmd/%.o $(cmd_lib) $(lib)
	$(CC) $(FLAGS) $(LDFLAGS) -o $@ $< $(cmd_lib) $(lib) -Wl,--as-needed $(LIBS)

$(unit): $(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(lib)
	@mkdir -p $(@D)
	$(CC) $(FLAGS) $(LDFLAGS) -o $@ $< $(lib) -Wl,--as-needed -lcheck -lsubunit -lrt $(LIBS)

$(fuzz): $(BUILD)/tests/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/replay.o $(lib)
	@mkdir -p $(@D)
	$(CC) $(FLAGS) $(LDFLAGS) -o $@ $^ -Wl,--as-needed $(LIBS)

$(models): $(BUILD)/tests/%: $(BUILD)/tests/models/%.o
$(benches): $(BUILD)/tests/%: $(BUILD)/tests/bench/%.o
$(models) $(benches): $(lib)
	@mkdir -p $(@D)
	$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(lib) -Wl,--as-needed $(LIBS)

.PHONY: tests
tests: $(tools) $(unit) $(fuzz)

.PHONY: check
check: tests
	@BUILD=$(BUILD) tests/run

.PHONY: check-models
check-models: tests $(models)
	@BUILD=$(BUILD) tests/run-models

# The whole suite again under a sanitizer, in a build folder of its own.
.PHONY: check-asan check-ubsan check-valgrind
check-asan:
	@$(MAKE) --no-print-directory BUILD=build-asan check \
		EXTRA_CFLAGS='-O1 -DDS_KERN_ROLLED -fsanitize=address -fno-omit-frame-pointer'
check-ubsan:
	@$(MAKE) --no-print-directory BUILD=build-ubsan check \
		EXTRA_CFLAGS='-O1 -DDS_KERN_ROLLED -fsanitize=undefined -fno-sanitize-recover=all'
check-valgrind: tests
	@BUILD=$(BUILD) tests/run --valgrind

# Coverage-guided fuzzing with clang (Debian: clang libclang-rt-14-dev), SECONDS a target.
.PHONY: fuzz
fuzz: config.mk
	@scripts/fuzz

.PHONY: lint
lint: $(tools)
	@BUILD=$(BUILD) scripts/lint

.PHONY: demo
demo: $(tools)
	@BUILD=$(BUILD) DOC='$(DOC)' scripts/demo

.PHONY: bench
bench: $(tools) $(models) $(benches)
	@BUILD=$(BUILD) scripts/bench

.PHONY: install
install: $(tools)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/ds \
		$(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 \
		$(DESTDIR)$(PREFIX)/share/man/man7
	install -m 755 $(tools) $(DESTDIR)$(PREFIX)/bin
	install -m 644 share/* $(DESTDIR)$(PREFIX)/share/ds
	install -m 644 man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 644 man/*.7 $(DESTDIR)$(PREFIX)/share/man/man7

.PHONY: clean distclean format
clean:
	rm -rf build build-*
distclean: clean
	rm -f config.h config.mk config.log
format:
	clang-format -i $$(git ls-files '*.[ch]')

-include $(shell [ -d $(BUILD) ] && find $(BUILD) -name '*.d')
