/* cli_secret.c - the secret of encrypted archives: from a file, or asked for on the terminal */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"

#define SECRET_BYTES_MAX ((size_t)1 << 20)
#define PASSPHRASE_BYTES_MAX 1024

static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define N_HELD (sizeof held / sizeof *held)

static volatile sig_atomic_t caught;

static void catch(int sig)
{
	caught = sig;
}

static enum ds_status write_text(int fd, const char *text, struct ds_err *err)
{
	if (write(fd, text, strlen(text)) < 0)
		return ds_fail_errno(err, "/dev/tty", "write");
	return DS_OK;
}

/* A line without its end; a signal ends it. */
static enum ds_status read_line(int fd, struct ds_buf *line, struct ds_err *err)
{
	char c = 0;
	ssize_t n;

	line->len = 0;
	while ((n = read(fd, &c, 1)) == 1 && c != '\n') {
		if (line->len == PASSPHRASE_BYTES_MAX)
			return ds_fail(err, DS_ELIMIT, "a passphrase has at most %d bytes",
				       PASSPHRASE_BYTES_MAX);
		DS_TRY(ds_buf_append(line, &c, 1, err));
	}
	return n < 0 && !caught ? ds_fail_errno(err, "/dev/tty", "read") : DS_OK;
}

/* Ask with the echo off, and have it on again whatever happens. */
static enum ds_status ask(int fd, const char *prompt, struct ds_buf *line, struct ds_err *err)
{
	struct sigaction sa = {.sa_handler = catch}, old[N_HELD];
	struct termios shown, hidden;
	enum ds_status st;

	if (tcgetattr(fd, &shown) != 0)
		return ds_fail_errno(err, "/dev/tty", "tcgetattr");
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	caught = 0;
	for (size_t i = 0; i < N_HELD; i++)
		sigaction(held[i], &sa, &old[i]);
	tcsetattr(fd, TCSAFLUSH, &hidden);
	st = write_text(fd, prompt, err);
	if (st == DS_OK)
		st = read_line(fd, line, err);
	(void)!write(fd, "\n", 1);
	tcsetattr(fd, TCSAFLUSH, &shown);
	for (size_t i = 0; i < N_HELD; i++)
		sigaction(held[i], &old[i], NULL);
	if (caught)
		raise(caught);
	return caught && st == DS_OK ? ds_fail(err, DS_EINVAL, "no passphrase was given") : st;
}

static enum ds_status ask_twice(int fd, struct ds_buf *first, bool twice, struct ds_err *err)
{
	struct ds_buf second = {0};
	enum ds_status st;

	DS_TRY(ask(fd, "Passphrase: ", first, err));
	if (!twice)
		return DS_OK;
	st = ask(fd, "Again: ", &second, err);
	if (st == DS_OK && (first->len != second.len ||
			    (first->len && memcmp(first->data, second.data, first->len) != 0)))
		st = ds_fail(err, DS_EINVAL, "the two passphrases differ");
	ds_buf_fini(&second);
	return st;
}

static enum ds_status from_terminal(struct ds_buf *text, bool twice, struct ds_err *err)
{
	enum ds_status st;
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return ds_fail(err, DS_EINVAL,
			       "--passphrase: there is no terminal to ask on; --key names a file");
	st = ask_twice(fd, text, twice, err);
	close(fd);
	return st;
}

static enum ds_status from_file(const char *path, struct ds_buf *text, struct ds_err *err)
{
	DS_TRY(ds_read_all(path, SECRET_BYTES_MAX, text, err));
	if (text->len && text->data[text->len - 1] == '\n')
		text->len--;
	if (text->len && text->data[text->len - 1] == '\r')
		text->len--;
	return DS_OK;
}

void cli_take_secret(struct cli *cli, bool makes)
{
	const char *path = cli->key_path ? cli->key_path : getenv("DS_KEY");
	static struct ds_secret secret;
	static struct ds_buf text;
	struct ds_err err = {0};
	enum ds_status st;

	if (cli->key_path && cli->passphrase)
		cli_usage(cli, "--key and --passphrase exclude each other");
	if (!cli->passphrase && (!path || !*path))
		return;
	st = cli->passphrase ? from_terminal(&text, makes, &err) : from_file(path, &text, &err);
	if (st == DS_OK && !text.len)
		st = ds_fail_at(&err, DS_EINVAL, cli->passphrase ? NULL : path, DS_NO_OFFSET,
				"the key is empty");
	if (st != DS_OK) {
		cli_error(cli, &err);
		exit(cli_finish(cli));
	}
	secret.bytes = text.data;
	secret.n = text.len;
	secret.demanded = cli->passphrase || cli->key_path;
	cli->secret = &secret;
}
