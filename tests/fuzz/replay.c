/*
 * replay.c - main() of the fuzz targets in `make check`: the corpus, then mutations of it
 *
 * usage: fuzz_x CORPUS-FOLDER          every file as it is, then mutations, the same in every run
 *        fuzz_x CORPUS-FOLDER FILE K   only mutation K of FILE (0: as it is), its bytes on stdout
 *
 * The folder may also come from $DS_FUZZ_CORPUS.  Every input ends at a page that cannot be read,
 * so that reading beyond it crashes; a crash names FILE and K.  Mutations stop after MUTATIONS_MAX
 * or CPU_SECONDS.  scripts/fuzz links the same targets with libFuzzer instead.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MUTATIONS_MAX 20000
#define CPU_SECONDS 1.5
#define HANG_SECONDS 60
#define INPUT_BYTES_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

struct input {
	char *name;
	uint8_t *bytes;
	size_t len;
};

static const char *target;
static struct input *inputs;
static size_t n_inputs;
static uint8_t *guard; /* end of the buffer, where the unreadable page begins */
static const char *running_name = "?";
static unsigned long running_number;

static _Noreturn void die(const char *format, ...)
{
	va_list ap;

	printf("not ok - %s: ", target);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	_exit(1);
}

/* Which input it was; called from signal handlers, where only write() is safe. */
static void tell_input(void)
{
	char text[512];
	int n = snprintf(text, sizeof text, "not ok - %s: fails on %s, mutation %lu\n", target,
			 running_name, running_number);

	if (write(STDOUT_FILENO, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1) < 0)
		return;
}

static void on_signal(int signal_number)
{
	tell_input();
	signal(signal_number == SIGALRM ? SIGABRT : signal_number, SIG_DFL);
	raise(signal_number == SIGALRM ? SIGABRT : signal_number);
}

static void catch_failures(void)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};

	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(tell_input);
		signal(SIGALRM, on_signal);
		return;
	}
	for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
		signal(fatal[i], on_signal);
}

static void *must(void *p)
{
	if (!p)
		die("out of memory");
	return p;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

static void load(const char *folder, const char *name)
{
	struct input *in;
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "rb");
	if (!file)
		die("%s: %s", path, strerror(errno));
	inputs = must(realloc(inputs, (n_inputs + 1) * sizeof *inputs));
	in = &inputs[n_inputs++];
	in->name = must(strdup(name));
	in->bytes = must(malloc(INPUT_BYTES_MAX + 1));
	in->len = fread(in->bytes, 1, INPUT_BYTES_MAX + 1, file);
	if (ferror(file) || in->len > INPUT_BYTES_MAX)
		die("%s: cannot be read, or larger than %zu bytes", path, INPUT_BYTES_MAX);
	in->bytes = must(realloc(in->bytes, in->len + 1));
	fclose(file);
}

static void load_corpus(const char *folder)
{
	struct dirent *entry;
	DIR *dir = opendir(folder);

	if (!dir)
		die("%s: %s", folder, strerror(errno));
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			load(folder, entry->d_name);
	closedir(dir);
	if (n_inputs == 0)
		die("%s: there is no input", folder);
	qsort(inputs, n_inputs, sizeof *inputs, by_name);
}

/* A mutation may grow its input to twice the largest, and a little. */
static size_t capacity(void)
{
	return 2 * INPUT_BYTES_MAX + 4096;
}

static void map_guarded(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (capacity() + page) / page * page;
	uint8_t *p =
		mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + size, page, PROT_NONE) != 0)
		die("cannot map memory");
	guard = p + size;
}

static uint64_t rng;

static uint64_t below(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return n ? (rng * 0x9E3779B97F4A7C15u >> 11) % n : 0;
}

/* Numbers on which length checks break, written over 1, 2, 4 or 8 bytes. */
static void set_number(uint8_t *p, size_t n)
{
	uint64_t edge[] = {0,
			   1,
			   7,
			   n,
			   n - 1,
			   n + 1,
			   0x7F,
			   0x80,
			   0xFFFF,
			   0x7FFFFFFF,
			   1u << 31,
			   UINT32_MAX,
			   INT64_MAX,
			   1ull << 63,
			   UINT64_MAX,
			   1u << 20,
			   1ull << 30,
			   below(n),
			   below(65536),
			   below(UINT64_MAX)};
	uint64_t value = edge[below(sizeof edge / sizeof *edge)];
	size_t size = (size_t)1 << below(4);

	if (size > n)
		size = 1;
	p += below(n - size + 1);
	memcpy(p, &value, size);
}

static size_t cut_out(uint8_t *p, size_t n)
{
	size_t from = below(n), len = 1 + below(n - from);

	memmove(p + from, p + from + len, n - from - len);
	return n - len;
}

static size_t insert(uint8_t *p, size_t n, const uint8_t *bytes, size_t len)
{
	size_t at = below(n + 1);

	if (len > capacity() - n)
		len = capacity() - n;
	memmove(p + at + len, p + at, n - at);
	memcpy(p + at, bytes, len);
	return n + len;
}

/* A piece of the corpus, or of random bytes, into the middle. */
static size_t insert_piece(uint8_t *p, size_t n)
{
	const struct input *other = &inputs[below(n_inputs)];
	uint8_t noise[64];
	size_t from = below(other->len);

	if (below(4))
		return insert(p, n, other->bytes + from, below(other->len - from + 1));
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)below(256);
	return insert(p, n, noise, 1 + below(sizeof noise));
}

/* The head of this with the tail of another. */
static size_t splice(uint8_t *p, size_t n)
{
	const struct input *other = &inputs[below(n_inputs)];
	size_t keep = below(n + 1), from = below(other->len + 1);

	memcpy(p + keep, other->bytes + from, other->len - from);
	return keep + other->len - from;
}

static size_t mutate_once(uint8_t *p, size_t n)
{
	if (n == 0)
		return insert_piece(p, n);
	switch (below(8)) {
	case 0:
	case 1:
		p[below(n)] ^= (uint8_t)(1 << below(8));
		return n;
	case 2:
		p[below(n)] = (uint8_t)below(256);
		return n;
	case 3:
	case 4:
		set_number(p, n);
		return n;
	case 5:
		return below(2) ? below(n) : cut_out(p, n);
	case 6:
		return insert_piece(p, n);
	default:
		return splice(p, n);
	}
}

/* Mutation number of input, 0 being the input itself; the result ends at the guard page. */
static size_t prepare(const struct input *in, unsigned long number)
{
	static uint8_t *work;
	size_t n = in->len;

	if (!work)
		work = must(malloc(capacity() + INPUT_BYTES_MAX));
	memcpy(work, in->bytes, n);
	if (number) {
		rng = 0x2545F4914F6CDD1Du;
		for (const char *s = in->name; *s; s++)
			rng = (rng ^ (uint8_t)*s) * 0x100000001B3u;
		rng = (rng ^ number) * 0x9E3779B97F4A7C15u | 1;
		for (uint64_t ops = 1 + below(4); ops; ops--)
			n = mutate_once(work, n);
		if (n > capacity())
			n = capacity();
	}
	memcpy(guard - n, work, n);
	return n;
}

static void run_one(const struct input *in, unsigned long number)
{
	size_t n = prepare(in, number);

	running_name = in->name;
	running_number = number;
	alarm(HANG_SECONDS);
	LLVMFuzzerTestOneInput(guard - n, n);
	alarm(0);
}

static int run_single(const char *name, unsigned long number)
{
	for (size_t i = 0; i < n_inputs; i++)
		if (strcmp(inputs[i].name, name) == 0) {
			size_t n = prepare(&inputs[i], number);

			if (fwrite(guard - n, 1, n, stdout) != n || fflush(stdout))
				die("cannot write");
			run_one(&inputs[i], number);
			return 0;
		}
	die("there is no input %s", name);
}

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : getenv("DS_FUZZ_CORPUS");
	unsigned long mutations = 0;
	double end;

	target = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	if (!folder || (argc != 1 && argc != 2 && argc != 4))
		die("usage: %s CORPUS-FOLDER [FILE K]", target);
	load_corpus(folder);
	map_guarded();
	catch_failures();
	if (argc == 4)
		return run_single(argv[2], strtoul(argv[3], NULL, 10));
	for (size_t i = 0; i < n_inputs; i++)
		run_one(&inputs[i], 0);
	end = (double)clock() / CLOCKS_PER_SEC + CPU_SECONDS;
	while (mutations < MUTATIONS_MAX && (double)clock() / CLOCKS_PER_SEC < end) {
		run_one(&inputs[mutations % n_inputs], 1 + mutations / n_inputs);
		mutations++;
	}
	printf("ok - %s: %zu inputs, %lu mutations\n", target, n_inputs, mutations);
	for (size_t i = 0; i < n_inputs; i++) {
		free(inputs[i].name);
		free(inputs[i].bytes);
	}
	free(inputs);
	return 0;
}
