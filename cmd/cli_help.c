/* cli_help.c - what is printed from the option table */
#include "cli_help.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

static const struct cli_opt everywhere[] = {
	{CLI_COMPLETION, "completion", "SHELL", "print a completion script: bash, zsh or fish"},
	{'h', "help", NULL, "print this help"},
	{'V', "version", NULL, "print the version"},
	CLI_OPT_END,
};

static const struct cli_opt shared[] = {
	CLI_OPT_MODEL, CLI_OPT_OUTPUT, CLI_OPT_JOBS, CLI_OPT_QUIET, CLI_OPT_VERBOSE,
	CLI_OPT_STATS, CLI_OPT_FORMAT,  CLI_OPT_KEY,  CLI_OPT_PASSPHRASE, CLI_OPT_END,
};

/* Row i of the command's table followed by the rows that every command has. */
static const struct cli_opt *row(const struct cli_opt *options, size_t i)
{
	size_t n = 0;

	while (options[n].key && n < i)
		n++;
	if (options[n].key)
		return &options[n];
	i -= n;
	return i < sizeof everywhere / sizeof *everywhere - 1 ? &everywhere[i] : NULL;
}

const struct cli_opt *cli_help_find(const struct cli_opt *options, int key)
{
	const struct cli_opt *opt;

	for (size_t i = 0; (opt = row(options, i)); i++)
		if (opt->key == key)
			return opt;
	return NULL;
}

bool cli_help_is_shared(const struct cli_opt *opt)
{
	for (size_t i = 0; shared[i].key; i++)
		if (shared[i].key == opt->key && strcmp(shared[i].name, opt->name) == 0)
			return true;
	return false;
}

static int optional(const struct cli_opt *opt)
{
	return opt->arg && opt->arg[0] == '[';
}

void cli_help_getopt(const struct cli_opt *options, char *shorts, struct option *longs)
{
	const struct cli_opt *opt;
	size_t i;

	*shorts++ = ':';
	for (i = 0; (opt = row(options, i)); i++) {
		assert(i < CLI_OPTIONS_MAX + 3);
		longs[i] = (struct option){
			.name = opt->name,
			.has_arg = !opt->arg ? no_argument
				   : optional(opt) ? optional_argument : required_argument,
			.val = opt->key,
		};
		if (opt->key >= CLI_LONG)
			continue;
		*shorts++ = (char)opt->key;
		if (opt->arg)
			*shorts++ = ':';
	}
	longs[i] = (struct option){0};
	*shorts = '\0';
}

/* Levenshtein distance of a to the first n bytes of b; words are short. */
static size_t distance(const char *a, const char *b, size_t n)
{
	size_t line[64];

	if (n > 60)
		return n;
	for (size_t j = 0; j <= n; j++)
		line[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = line[0];

		line[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = line[j];
			if (line[j] + 1 < best)
				best = line[j] + 1;
			if (line[j - 1] + 1 < best)
				best = line[j - 1] + 1;
			line[j] = best;
		}
	}
	return line[n];
}

const char *cli_help_nearest(const struct cli_opt *options, const char *word)
{
	static char text[96];
	const struct cli_opt *opt, *best = NULL;
	size_t len = strcspn(word, "="), least = len / 2 + 1;

	for (size_t i = 0; (opt = row(options, i)); i++) {
		size_t d = distance(opt->name, word, len);

		if (d < least) {
			least = d;
			best = opt;
		}
	}
	if (!best)
		return "";
	snprintf(text, sizeof text, " (did you mean --%s?)", best->name);
	return text;
}

static void print_row(const struct cli_opt *opt)
{
	char left[64];
	int n = 0;

	if (opt->key < CLI_LONG)
		n = snprintf(left, sizeof left, "  -%c, --%s", opt->key, opt->name);
	else
		n = snprintf(left, sizeof left, "      --%s", opt->name);
	if (opt->arg && n > 0 && (size_t)n < sizeof left)
		snprintf(left + n, sizeof left - (size_t)n, "%s%s", optional(opt) ? "" : " ",
			 opt->arg);
	if (strlen(left) > 26)
		printf("%s\n%28s%s\n", left, "", opt->help);
	else
		printf("%-28s%s\n", left, opt->help);
}

void cli_help_print(const struct cli *cli)
{
	const struct cli_opt *opt;

	printf("Usage: %s %s\n%s.\n\n", cli->name, cli->synopsis, cli->summary);
	for (size_t i = 0; (opt = row(cli->options, i)); i++)
		print_row(opt);
	if (cli->examples)
		printf("\n%s", cli->examples);
}

void cli_help_version(const struct cli *cli)
{
	printf("%s (ds) %s\n", cli->name, DS_VERSION);
	if (cli->version_note)
		printf("%s\n", cli->version_note);
}

static void complete_bash(const struct cli *cli)
{
	const struct cli_opt *opt;

	printf("complete -o default -W '");
	for (size_t i = 0; (opt = row(cli->options, i)); i++)
		printf("%s--%s", i ? " " : "", opt->name);
	printf("' %s\n", cli->name);
}

static void complete_zsh(const struct cli *cli)
{
	const struct cli_opt *opt;

	printf("#compdef %s\n_arguments -s", cli->name);
	for (size_t i = 0; (opt = row(cli->options, i)); i++) {
		printf(" \\\n\t'--%s%s[", opt->name, opt->arg ? "=" : "");
		for (const char *p = opt->help; *p; p++)
			printf(strchr("[]:\\", *p) ? "\\%c" : *p == '\'' ? "'\\''" : "%c", *p);
		printf("]%s'", !opt->arg ? "" : strstr(opt->arg, "FILE") ? ":file:_files" : ": :");
	}
	printf(" \\\n\t'*:file:_files'\n");
}

static void complete_fish(const struct cli *cli)
{
	const struct cli_opt *opt;

	for (size_t i = 0; (opt = row(cli->options, i)); i++) {
		printf("complete -c %s -l %s", cli->name, opt->name);
		if (opt->key < CLI_LONG)
			printf(" -s %c", opt->key);
		printf("%s -d '", opt->arg && !optional(opt) ? " -r" : "");
		for (const char *p = opt->help; *p; p++)
			printf(*p == '\'' ? "\\'" : "%c", *p);
		printf("'\n");
	}
}

int cli_help_completion(const struct cli *cli, const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		complete_bash(cli);
	else if (strcmp(shell, "zsh") == 0)
		complete_zsh(cli);
	else if (strcmp(shell, "fish") == 0)
		complete_fish(cli);
	else
		return -1;
	return 0;
}
