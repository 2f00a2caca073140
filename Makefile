# gdpr: personal data sealed under one key per person, inside PostgreSQL.
#
# make && make install	build and install with PGXS (PG_CONFIG= chooses the server)
# make installcheck	tests against a running server that preloads gdpr
# make demo		a guided tour on a private throw-away server
# make test		every test, on private throw-away servers
# make bench		figures, protected and unprotected side by side (ROWS=)
# make instructions	the same in instructions, with valgrind (ROWS=)
# make lint sanitize	static analysis; the tests with sanitizers
# make fuzz		libFuzzer on whatever parses bytes (SECONDS_EACH=)

MODULE_big = gdpr
EXTENSION = gdpr
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" gdpr.control)
PGFILEDESC = "gdpr - personal data sealed under one key per person"

SOURCES = $(sort $(wildcard src/*.c))
OBJS = $(SOURCES:.c=.o)
PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -MMD -MP $(if $(WERROR),-Werror)
# Our own functions are ours, whatever else the server has loaded (libcap has a cap_init).
SHLIB_LINK = -lcrypto -Wl,-Bsymbolic

FRAGMENTS = $(sort $(wildcard sql/[0-9][0-9]_*.sql))
DATA_built = gdpr--$(EXTVERSION).sql
DATA = $(sort $(wildcard sql/gdpr--*--*.sql))

# Tests.  pg_regress looks in sql/ before test/sql/: fragments are named NN_*,
# tests NNN_*, so the two never collide.
TESTS = $(sort $(wildcard test/sql/*.sql))
REGRESS = $(patsubst test/sql/%.sql,%,$(TESTS))
REGRESS_OPTS = --inputdir=test
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=gdpr
TAP_TESTS = 1
PROVE_TESTS = $(sort $(wildcard test/t/*.pl))

# Unit tests: plain C programs that print TAP, no server.
UNIT_SOURCES = src/crypto.c src/envelope.c src/keytree.c $(sort $(wildcard src/keyfile*.c))
UNIT_TESTS = $(patsubst %.c,%,$(sort $(wildcard test/unit/*_test.c)))
UNIT_CFLAGS = -std=gnu11 -Wall -Wextra -Wno-unused-parameter \
	-Wmissing-prototypes -O2 -g $(if $(WERROR),-Werror)
UNIT_SANITIZE =

EXTRA_CLEAN = $(SOURCES:.c=.d) $(SOURCES:.c=.gcno) $(SOURCES:.c=.gcda) \
	$(UNIT_TESTS) $(UNIT_TESTS:=.d) $(FUZZERS) test/bench/aead output_iso

# These run without PostgreSQL's development files: test/setup brings them.
SETUP_GOALS = demo test bench instructions sanitize
ifneq ($(filter-out $(SETUP_GOALS),$(or $(MAKECMDGOALS),all)),)
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error $(PG_CONFIG) does not run: install PostgreSQL's server development files, or say PG_CONFIG=)
endif
include $(PGXS)
PROVE ?= prove

# A changed header rebuilds what includes it.
-include $(wildcard $(SOURCES:.c=.d))
$(OBJS:.o=.bc): $(wildcard src/*.h)

$(DATA_built): $(FRAGMENTS) gdpr.control Makefile
	@test -n "$(FRAGMENTS)" || { echo "no fragments in sql/" >&2; exit 1; }
	cat $(FRAGMENTS) >$@.tmp && mv $@.tmp $@

test/unit/%_test: test/unit/%_test.c $(UNIT_SOURCES) $(wildcard src/*.h)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -Isrc -o $@ $< $(UNIT_SOURCES) \
		-pthread -lcrypto

unitcheck: $(UNIT_TESTS)
	@echo "+++ unit tests +++"
	$(if $(UNIT_TESTS),$(PROVE) $(PROVE_FLAGS) --exec '' $(UNIT_TESTS),@echo "none")

# Fuzzing: a corpus of well-formed inputs is written first, then each harness
# runs for so many seconds, on one core.  What it finds stays in its corpus.
FUZZERS = $(patsubst %.c,%,$(sort $(wildcard test/fuzz/*_fuzz.c)))
FUZZ_SECONDS = $(or $(SECONDS_EACH),60)
FUZZ_CORPUS = $(or $(TMPDIR),/tmp)/gdpr-fuzz
FUZZ_CLANG = $(or $(firstword $(shell command -v clang clang-14)),none)
FUZZ_CFLAGS = -std=gnu11 -Wall -Wextra -Wno-unused-parameter \
	-Wno-ignored-attributes -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all

test/fuzz/%_fuzz: test/fuzz/%_fuzz.c test/fuzz/fuzz.h $(UNIT_SOURCES) $(wildcard src/*.h)
	$(FUZZ_CLANG) $(FUZZ_CFLAGS) $(CPPFLAGS) -Isrc -o $@ $< $(UNIT_SOURCES) \
		-L$(libdir) -L$(pkglibdir) -lpgcommon -lpgport -lcrypto

fuzz:
	@if echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
		$(FUZZ_CLANG) -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null; \
	then $(MAKE) -s fuzzers && test/fuzz/run $(FUZZ_SECONDS) $(FUZZ_CORPUS) $(FUZZERS); \
	else echo "clang with libFuzzer is not installed: skipped"; fi

fuzzers: $(FUZZERS)

# cppcheck does not know that ereport(ERROR) does not return, nor that && stops:
# what it says of uninitialized variables is left to the compiler and clang-tidy.
CPPCHECK = cppcheck --quiet --enable=warning,performance,portability \
	--inline-suppr --error-exitcode=1 --suppress=missingInclude \
	--suppress=unknownMacro --suppress=nullPointerRedundantCheck \
	--suppress=legacyUninitvar --suppress=ctuuninitvar -I src
CLANG_TIDY = clang-tidy --quiet --warnings-as-errors='*' \
	--header-filter='^src/' --checks='-*,clang-analyzer-*,bugprone-*,$\
	-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,$\
	-bugprone-narrowing-conversions,-bugprone-assignment-in-if-condition,$\
	-bugprone-macro-parentheses,-bugprone-implicit-widening-of-multiplication-result,$\
	-bugprone-sizeof-expression,-bugprone-branch-clone,-bugprone-suspicious-include,-bugprone-not-null-terminated-result,$\
	-clang-analyzer-security.insecureAPI.strcpy,$\
	-clang-analyzer-optin.performance.Padding,$\
	-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling'

lint:
	@status=0; \
	if command -v cppcheck >/dev/null; then \
		echo "+++ cppcheck +++"; $(CPPCHECK) $(SOURCES) || status=1; \
	else echo "cppcheck is not installed: skipped"; fi; \
	if command -v clang-tidy >/dev/null; then \
		echo "+++ clang-tidy +++"; \
		$(CLANG_TIDY) $(SOURCES) -- $(CPPFLAGS) -std=gnu11 || status=1; \
	else echo "clang-tidy is not installed: skipped"; fi; \
	if command -v shellcheck >/dev/null; then \
		echo "+++ shellcheck +++"; \
		shellcheck -x .ci/run test/setup test/setup-* \
			test/demo/run test/bench/run test/bench/decision test/bench/audit test/bench/rights test/bench/retention test/bench/instructions test/fuzz/run || status=1; \
	else echo "shellcheck is not installed: skipped"; fi; \
	exit $$status

.PHONY: unitcheck lint fuzz fuzzers
endif

# MAKEFLAGS would carry this make's PG_CONFIG into the build against the
# private copy; test/setup hands on what it knows.
export PG_CONFIG WERROR ROWS ROUNDS SECONDS_EACH FORGOTTEN RECORDS PEOPLE VISITS CLIENTS ONLY KEEP SANITIZE
SETUP = @exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL test/setup

demo:
	$(SETUP) test/demo/run

test:
	$(SETUP) test/setup-suite

bench:
	@env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL test/setup test/bench/run
	@env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL test/setup test/bench/decision
	@env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL test/setup test/bench/audit
	$(SETUP) test/bench/rights
	$(SETUP) test/bench/retention

instructions:
	$(SETUP) test/bench/instructions

# AddressSanitizer and UBSan on the unit tests; in the server, which must not
# be preloaded with their libraries, UBSan traps instead of reporting.
sanitize: SANITIZE = 1
sanitize:
	$(SETUP) test/setup-suite

.PHONY: demo test bench instructions sanitize
