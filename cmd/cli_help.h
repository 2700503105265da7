/*
 * cli_help.h - what is printed from the option table: --help, --version, completion, suggestions
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <getopt.h>

#include "cli.h"

#define CLI_OPTIONS_MAX 48

/* The row with this key, or NULL; -h and -V are known in every table. */
const struct cli_opt *cli_help_find(const struct cli_opt *options, int key);
/* Whether the row is one of the CLI_OPT_ rows. */
bool cli_help_is_shared(const struct cli_opt *opt);
/* For getopt_long: shorts [2 * CLI_OPTIONS_MAX + 8], longs [CLI_OPTIONS_MAX + 4]. */
void cli_help_getopt(const struct cli_opt *options, char *shorts, struct option *longs);
/* " (did you mean --xyz?)" or "". */
const char *cli_help_nearest(const struct cli_opt *options, const char *word);
void cli_help_print(const struct cli *cli);
void cli_help_version(const struct cli *cli);
/* A completion script for shell on stdout; -1 when the shell is unknown. */
int cli_help_completion(const struct cli *cli, const char *shell);

#endif
