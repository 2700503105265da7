/* cli.c - options, numbers, messages and exit status shared by all commands */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli_help.h"

double cli_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static void on_signal(int sig)
{
	ds_out_unlink_all();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void install_signals(void)
{
	static const int fatal[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction sa = {.sa_handler = on_signal};

	for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
		struct sigaction old;

		/* nohup and background jobs of old shells stay as they are */
		if (sigaction(fatal[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			continue;
		sigaction(fatal[i], &sa, NULL);
	}
	/* EPIPE and EFBIG are seen by the writer, which cleans up */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

void cli_usage(const struct cli *cli, const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", cli->name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\nTry '%s --help'.\n", cli->name);
	exit(CLI_USAGE);
}

uint64_t cli_num(const struct cli *cli, const char *arg, const char *opt, uint64_t min,
		 uint64_t max)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(arg, &end, 10);
	if (end == arg || *end || errno || *arg < '0' || *arg > '9' || v < min || v > max)
		cli_usage(cli, "%s: '%s' is not a number from %llu to %llu", opt, arg,
			  (unsigned long long)min, (unsigned long long)max);
	return v;
}

double cli_real(const struct cli *cli, const char *arg, const char *opt, double min, double max)
{
	char *end;
	double v = strtod(arg, &end);

	if (end == arg || *end || !isfinite(v) || v < min || v > max)
		cli_usage(cli, "%s: '%s' is not a number from %g to %g", opt, arg, min, max);
	return v;
}

uint64_t cli_size(const struct cli *cli, const char *arg, const char *opt, uint64_t min,
		  uint64_t max)
{
	static const char suffixes[] = "KMG";
	unsigned long long v;
	unsigned shift = 0;
	char *end;

	errno = 0;
	v = strtoull(arg, &end, 10);
	if (end != arg && *end) {
		const char *s = strchr(suffixes, *end & ~0x20);

		if (s && *s) {
			shift = 10 * (unsigned)(s - suffixes + 1);
			end++;
		}
	}
	if (end == arg || *end || errno || *arg < '0' || *arg > '9' || v > UINT64_MAX >> shift ||
	    v << shift < min || v << shift > max)
		cli_usage(cli, "%s: '%s' is not a size from %llu to %llu bytes (suffixes K, M, G)",
			  opt, arg, (unsigned long long)min, (unsigned long long)max);
	return v << shift;
}

int cli_choice(const struct cli *cli, const char *arg, const char *opt, const char *const *names)
{
	char list[256] = "";
	size_t len = 0;

	for (int i = 0; names[i]; i++)
		if (strcmp(arg, names[i]) == 0)
			return i;
	for (int i = 0; names[i] && len < sizeof list; i++)
		len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "",
					names[i]);
	cli_usage(cli, "%s: '%s' is none of: %s", opt, arg, list);
}

static const char *const format_names[] = {"auto", "frames", "jsonl", "text", NULL};

/* Options that mean the same everywhere; 0 when key is not one of them. */
static int take_shared(struct cli *cli, int key, const char *arg)
{
	switch (key) {
	case 'm':
		cli->model = arg;
		return 1;
	case 'o':
		cli->output = arg;
		return 1;
	case 'j':
		cli->jobs = (unsigned)cli_num(cli, arg, "-j", 1, 256);
		return 1;
	case 'q':
		cli->quiet = true;
		return 1;
	case 'v':
		cli->verbose = true;
		return 1;
	case CLI_STATS:
		cli->stats = true;
		cli->stats_path = arg;
		return 1;
	case CLI_KEY:
		cli->key_path = arg;
		return 1;
	case CLI_PASSPHRASE:
		cli->passphrase = true;
		return 1;
	case CLI_FORMAT:
		cli->format = (enum cli_format)cli_choice(cli, arg, "--format", format_names);
		return 1;
	default:
		return 0;
	}
}

static void take(struct cli *cli, int key, const char *arg)
{
	const struct cli_opt *opt = cli_help_find(cli->options, key);

	/* ds-chunk's -o is the overlap: a row that is not the shared one goes to the command */
	if (opt && cli_help_is_shared(opt) && take_shared(cli, key, arg))
		return;
	cli->on_option(cli, key, arg);
}

static void take_environment(struct cli *cli)
{
	const char *jobs = getenv("DS_THREADS");
	const char *model = getenv("DS_MODEL");

	if (!cli->model && model && *model)
		cli->model = model;
	if (!cli->jobs && jobs && *jobs)
		cli->jobs = (unsigned)cli_num(cli, jobs, "DS_THREADS", 1, 256);
}

static _Noreturn void unknown_option(const struct cli *cli, char **argv)
{
	/* optopt is 0 for an unknown long option; its word is the one just scanned */
	const char *word = argv[optind - 1];

	if (optopt && optopt < CLI_LONG)
		cli_usage(cli, "unknown option -%c", optopt);
	word += strspn(word, "-");
	cli_usage(cli, "unknown option --%.*s%s", (int)strcspn(word, "="), word,
		  cli_help_nearest(cli->options, word));
}

static void take_option(struct cli *cli, int key, char **argv)
{
	const struct cli_opt *opt;

	switch (key) {
	case '?':
		/* set for a known long option that was given an argument it does not take */
		opt = cli_help_find(cli->options, optopt);
		if (opt)
			cli_usage(cli, "option --%s takes no argument", opt->name);
		unknown_option(cli, argv);
	case ':':
		opt = cli_help_find(cli->options, optopt);
		cli_usage(cli, "option %s needs an argument", argv[optind - 1]);
	case 'h':
		cli_help_print(cli);
		exit(cli_finish(cli));
	case 'V':
		cli_help_version(cli);
		exit(cli_finish(cli));
	case CLI_COMPLETION:
		if (cli_help_completion(cli, optarg) != 0)
			cli_usage(cli, "--completion: '%s' is none of: bash, zsh, fish", optarg);
		exit(cli_finish(cli));
	default:
		take(cli, key, optarg);
	}
}

/* A closed standard stream stays one: else the next file opened would get its number, and be read
 * or written in its place. */
static void occupy_closed_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

void cli_parse(struct cli *cli, int argc, char **argv)
{
	struct option longs[CLI_OPTIONS_MAX + 4];
	char shorts[2 * CLI_OPTIONS_MAX + 8];
	int key;

	occupy_closed_streams();
	cli->start_seconds = cli_seconds();
	install_signals();
	cli_help_getopt(cli->options, shorts, longs);
	opterr = 0;
	while ((key = getopt_long(argc, argv, shorts, longs, NULL)) != -1)
		take_option(cli, key, argv);
	cli->operand = argv + optind;
	cli->n_operand = argc - optind;
	take_environment(cli);
}

void cli_error(struct cli *cli, const struct ds_err *err)
{
	if (err->errno_value == EPIPE && strcmp(err->path, "(stdout)") == 0) {
		/* the reader has left: end as SIGPIPE would have */
		ds_out_unlink_all();
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	fprintf(stderr, "%s: ", cli->name);
	if (err->path[0])
		fprintf(stderr, "%s: ", err->path);
	if (err->offset != DS_NO_OFFSET)
		fprintf(stderr, "byte %llu: ", (unsigned long long)err->offset);
	fprintf(stderr, "%s\n", err->message);
	if (cli->status < CLI_FAILED)
		cli->status = CLI_FAILED;
}

static void say(const struct cli *cli, const char *format, va_list ap)
{
	fprintf(stderr, "%s: ", cli->name);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
}

void cli_warn(const struct cli *cli, const char *format, ...)
{
	va_list ap;

	if (cli->quiet)
		return;
	va_start(ap, format);
	say(cli, format, ap);
	va_end(ap);
}

void cli_note(const struct cli *cli, const char *format, ...)
{
	va_list ap;

	if (!cli->verbose || cli->quiet)
		return;
	va_start(ap, format);
	say(cli, format, ap);
	va_end(ap);
}

enum cli_format cli_format_for_output(const struct cli *cli)
{
	bool terminal = (!cli->output || strcmp(cli->output, "-") == 0) && isatty(STDOUT_FILENO);

	if (cli->format == CLI_FRAMES && terminal)
		cli_usage(cli, "frames are not for a terminal; name a file with -o");
	if (cli->format != CLI_AUTO)
		return cli->format;
	return terminal ? CLI_TEXT : CLI_FRAMES;
}

void cli_refuse_terminal(const struct cli *cli)
{
	if (cli->n_operand == 0 && isatty(STDIN_FILENO))
		cli_usage(cli, "nothing to read: no file named, standard input is a terminal");
}

void cli_refuse_same(const struct cli *cli, const char *path)
{
	struct stat out, in;

	if (cli->output && stat(cli->output, &out) == 0 && S_ISREG(out.st_mode) &&
	    stat(path, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
		cli_usage(cli, "%s is input and output", path);
}

void cli_refuse_overwrite(const struct cli *cli)
{
	for (int i = 0; i < cli->n_operand; i++)
		cli_refuse_same(cli, cli->operand[i]);
}

static bool progress_shown;

static bool progress_wanted(const struct cli *cli)
{
	const char *term = getenv("TERM");

	return !cli->quiet && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

/* Whether a line is due; begins it, for the caller to go on with. */
static bool progress_begin(const struct cli *cli, const char *what)
{
	static double last;
	double now = cli_seconds();

	if (now - cli->start_seconds < 1 || now - last < 0.2 || !progress_wanted(cli))
		return false;
	last = now;
	progress_shown = true;
	fprintf(stderr, "\r\033[K%s: %s: ", cli->name, what);
	return true;
}

void cli_progress(struct cli *cli, const char *what, uint64_t done_bytes, uint64_t total_bytes)
{
	double rate = (double)done_bytes / (cli_seconds() - cli->start_seconds);

	if (!progress_begin(cli, what))
		return;
	fprintf(stderr, "%.1f MB, %.1f MB/s", 1e-6 * (double)done_bytes, 1e-6 * rate);
	if (total_bytes && rate > 0)
		fprintf(stderr, ", %3.0f %%, %.0f s left",
			100 * (double)done_bytes / (double)total_bytes,
			(double)(total_bytes - done_bytes) / rate);
	fflush(stderr);
}

void cli_progress_steps(struct cli *cli, const char *what, uint64_t done, uint64_t total)
{
	if (!progress_begin(cli, what))
		return;
	fprintf(stderr, "%llu", (unsigned long long)done);
	if (total)
		fprintf(stderr, " of %llu", (unsigned long long)total);
	fflush(stderr);
}

void cli_progress_erase(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

static void stat_add(struct cli *cli, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void stat_add(struct cli *cli, const char *key, const char *format, ...)
{
	size_t room = sizeof cli->stat_text - cli->stat_len;
	va_list ap;
	int n, m;

	if (!cli->stats)
		return;
	n = snprintf(cli->stat_text + cli->stat_len, room, "%s\"%s\":", cli->stat_len ? "," : "",
		     key);
	if (n < 0 || (size_t)n >= room)
		return;
	va_start(ap, format);
	m = vsnprintf(cli->stat_text + cli->stat_len + n, room - (size_t)n, format, ap);
	va_end(ap);
	if (m >= 0 && (size_t)(n + m) < room)
		cli->stat_len += (size_t)(n + m);
	cli->stat_text[cli->stat_len] = '\0';
}

void cli_stat_u64(struct cli *cli, const char *key, uint64_t value)
{
	stat_add(cli, key, "%llu", (unsigned long long)value);
}

void cli_stat_real(struct cli *cli, const char *key, double value)
{
	if (isfinite(value))
		stat_add(cli, key, "%.6g", value);
	else
		stat_add(cli, key, "null");
}

void cli_stat_text(struct cli *cli, const char *key, const char *value)
{
	char text[256];
	size_t n = 0;

	for (; *value && n + 3 < sizeof text; value++) {
		if (*value == '"' || *value == '\\')
			text[n++] = '\\';
		text[n++] = (unsigned char)*value < 0x20 ? ' ' : *value;
	}
	text[n] = '\0';
	stat_add(cli, key, "\"%s\"", text);
}

static void print_stats(struct cli *cli)
{
	struct ds_err err;
	struct ds_out out;
	struct rusage ru;
	enum ds_status st;

	getrusage(RUSAGE_SELF, &ru);
	cli_stat_real(cli, "seconds", cli_seconds() - cli->start_seconds);
	cli_stat_real(cli, "cpu_seconds",
		      (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			      1e-6 * (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec));
	cli_stat_u64(cli, "peak_rss_bytes", (uint64_t)ru.ru_maxrss * 1024);
	if (!cli->stats_path) {
		fprintf(stderr, "{%s}\n", cli->stat_text);
		return;
	}
	st = ds_out_open(&out, cli->stats_path, &err);
	if (st == DS_OK) {
		char line[sizeof cli->stat_text + 4];
		int n = snprintf(line, sizeof line, "{%s}\n", cli->stat_text);

		st = ds_out_write(&out, line, (size_t)n, &err);
		if (st == DS_OK)
			st = ds_out_commit(&out, &err);
		else
			ds_out_abort(&out);
	}
	if (st != DS_OK)
		cli_error(cli, &err);
}

int cli_finish(struct cli *cli)
{
	cli_progress_erase();
	if (cli->stats)
		print_stats(cli);
	/* what was written with stdio: --help and the like */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		struct ds_err err;

		ds_fail_errno(&err, "(stdout)", "cannot write");
		cli_error(cli, &err);
	}
	return cli->status;
}
