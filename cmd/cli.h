/*
 * cli.h - what all commands share: one option table, numbers, messages, exit status, --stats
 *
 * A command declares its options once, in a table of struct cli_opt; the table feeds getopt_long,
 * --help and the check against the man page.  Exit status: 0 done, 1 failed, 2 usage, 3 a promise
 * asked for was not met.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"
#include "base/pool.h"
#include "seal/seal.h"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_UNMET = 3 };

/* Keys of long options without a short form start here; a key below is the short option letter. */
#define CLI_LONG 256

struct cli_opt {
	int key;	   /* short letter, or >= CLI_LONG; 0 ends the table */
	const char *name;  /* long name without the dashes */
	const char *arg;   /* metavariable, or NULL for a flag */
	const char *help;  /* one line */
};

/* Rows for the options that several commands share; a command lists those it honours. */
enum { CLI_STATS = 1000, CLI_MEMORY, CLI_FORMAT, CLI_COMPLETION, CLI_KEY, CLI_PASSPHRASE };
#define CLI_OPT_MODEL                                                                     \
	{'m', "model", "MODEL",                                                           \
	 "GGUF file, HF folder or tokenizer.json (default: $DS_MODEL or built-in)"}
#define CLI_OPT_OUTPUT {'o', "output", "FILE", "write to FILE, whole or not at all"}
#define CLI_OPT_JOBS {'j', "jobs", "N", "threads (default: $DS_THREADS or one per CPU)"}
#define CLI_OPT_QUIET {'q', "quiet", NULL, "no messages but errors"}
#define CLI_OPT_VERBOSE {'v', "verbose", NULL, "tell sizes, model and plan on stderr"}
#define CLI_OPT_STATS {CLI_STATS, "stats", "[=FILE]", "one JSON line of figures on stderr or FILE"}
#define CLI_OPT_MEMORY {CLI_MEMORY, "memory", "SIZE", "use at most so much memory (K, M or G)"}
#define CLI_OPT_FORMAT {CLI_FORMAT, "format", "FORMAT", "output: auto, frames, jsonl or text"}
#define CLI_OPT_KEY                                                                       \
	{CLI_KEY, "key", "FILE", "secret of encrypted archives (reading: default: $DS_KEY)"}
#define CLI_OPT_PASSPHRASE {CLI_PASSPHRASE, "passphrase", NULL, "ask for it on the terminal"}
#define CLI_OPT_END {0, NULL, NULL, NULL}
/* -h/--help and -V/--version are added to every table. */

enum cli_format { CLI_AUTO, CLI_FRAMES, CLI_JSONL, CLI_TEXT };

struct cli {
	const char *name;	/* "ds-tokenize" */
	const char *synopsis;	/* "[OPTION]... [FILE]..." */
	const char *summary;	/* one line, as in the man page's NAME */
	const char *examples;	/* lines for the end of --help, or NULL */
	const char *version_note; /* a second line for --version ("kernels: avx2"), or NULL */
	const struct cli_opt *options;
	/* called for each option of the table that is not handled below; calls cli_usage() on bad
	 * arguments */
	void (*on_option)(struct cli *cli, int key, const char *arg);
	void *user;		/* for on_option */
	/* filled by cli_parse(), for rows that are in the table */
	const char *model, *output;
	unsigned jobs;		/* 0: one per CPU */
	bool quiet, verbose, stats;
	const char *stats_path; /* NULL: stderr */
	enum cli_format format;
	const char *key_path;	/* of --key, NULL: not given */
	bool passphrase;
	const struct ds_secret *secret; /* cli_take_secret(); NULL: none */
	char **operand;
	int n_operand;
	int status;		/* exit status so far */
	/* private */
	double start_seconds;
	char stat_text[2048];
	size_t stat_len;
};

/* Parse argv; exits on --help, --version and usage errors.  Installs the signal handlers that
 * remove temporaries. */
void cli_parse(struct cli *cli, int argc, char **argv);

/* Read the secret that --key or DS_KEY names, or ask for it, twice where it makes an archive; ends
 * the program when there is none to be had. */
void cli_take_secret(struct cli *cli, bool makes);

/* "ds-x: ..." and "Try 'ds-x --help'." on stderr, exit 2. */
_Noreturn void cli_usage(const struct cli *cli, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* An integer in [min, max], or usage error; opt is the name for the message ("-k"). */
uint64_t cli_num(const struct cli *cli, const char *arg, const char *opt, uint64_t min,
		 uint64_t max);
double cli_real(const struct cli *cli, const char *arg, const char *opt, double min, double max);
/* A size with an optional suffix K, M, G (1024). */
uint64_t cli_size(const struct cli *cli, const char *arg, const char *opt, uint64_t min,
		  uint64_t max);
/* Index of arg in the NULL-ended list of names, or usage error. */
int cli_choice(const struct cli *cli, const char *arg, const char *opt, const char *const *names);

/* Report err as "ds-x: FILE: byte N: what" and raise the exit status to 1 (an EPIPE on stdout ends
 * the program quietly instead). */
void cli_error(struct cli *cli, const struct ds_err *err);
/* A line on stderr unless -q; with cli_note() only with -v. */
void cli_warn(const struct cli *cli, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void cli_note(const struct cli *cli, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* What auto means here: frames when standard output (or -o) is not a terminal, else text.  Usage
 * error when frames are asked for on a terminal. */
enum cli_format cli_format_for_output(const struct cli *cli);
/* Usage error when input would come from a terminal and there is nothing to read. */
void cli_refuse_terminal(const struct cli *cli);
/* Usage error when an operand is the file of -o. */
void cli_refuse_overwrite(const struct cli *cli);
/* Usage error when path, which is read, is the file of -o. */
void cli_refuse_same(const struct cli *cli, const char *path);

/*
 * Each operand in order (none: "-"), opened: take(user, in, path).  One that cannot be opened is
 * reported, and the others follow; a failure of take(), given the input's name, ends the walk.
 */
enum ds_status cli_each_input(struct cli *cli,
			      enum ds_status (*take)(void *user, struct ds_in *in, const char *path,
						     struct ds_err *err),
			      void *user, struct ds_err *err);

/* Progress on stderr: shown only on a terminal, after 1 s, erased at the end; total 0: unknown. */
void cli_progress(struct cli *cli, const char *what, uint64_t done_bytes, uint64_t total_bytes);
/* The same where work is counted in steps: "fitting: 12 of 47", or "12" for total 0. */
void cli_progress_steps(struct cli *cli, const char *what, uint64_t done, uint64_t total);
/* Erase it before its time: output follows, perhaps on the same terminal. */
void cli_progress_erase(void);

/* Figures for --stats; seconds, peak_rss_bytes and threads are added by cli_finish(). */
void cli_stat_u64(struct cli *cli, const char *key, uint64_t value);
void cli_stat_real(struct cli *cli, const char *key, double value);
void cli_stat_text(struct cli *cli, const char *key, const char *value);

/* Seconds on a monotonic clock. */
double cli_seconds(void);

/* Print --stats, check stdout, return the exit status for main(). */
int cli_finish(struct cli *cli);

#endif
