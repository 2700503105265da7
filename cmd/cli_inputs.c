/* cli_inputs.c - the walk over the operands that filters share */
#include "cli.h"

enum ds_status cli_each_input(struct cli *cli,
			      enum ds_status (*take)(void *user, struct ds_in *in, const char *path,
						     struct ds_err *err),
			      void *user, struct ds_err *err)
{
	static char *standard_input[] = {"-"};
	char **path = cli->n_operand ? cli->operand : standard_input;
	int n = cli->n_operand ? cli->n_operand : 1;

	for (int i = 0; i < n; i++) {
		enum ds_status st;
		struct ds_in in;

		if (ds_in_open(&in, path[i], err) != DS_OK) {
			cli_error(cli, err);
			continue;
		}
		st = take(user, &in, path[i], err);
		if (st != DS_OK)
			ds_err_set_path(err, in.name);
		ds_in_close(&in);
		if (st != DS_OK)
			return st;
	}
	return DS_OK;
}
