/*
 * ds-infer.c - run a model over what comes in: the options, and which task they start
 */
#include <stdio.h>
#include <string.h>

#include "infer.h"
#include "kern/kern.h"
#include "task/outline.h"

enum {
	OPT_LINES = CLI_LONG,
	OPT_TYPE,
	OPT_POOLING,
	OPT_DOCUMENT,
	OPT_SYSTEM,
	OPT_TEMPLATE,
	OPT_RAW,
	OPT_CONTEXT,
	OPT_ATTN,
	OPT_REQUIRE_MASS,
	OPT_BEYOND,
	OPT_TEMP,
	OPT_TOP_K,
	OPT_TOP_P,
	OPT_MIN_P,
	OPT_PENALTY,
	OPT_PENALTY_LAST,
	OPT_SEED,
	OPT_STOP,
	OPT_WINDOWS,
	OPT_LABELS,
	OPT_NO_CALIBRATE,
	OPT_POINTS,
	OPT_LORA,
	OPT_LORA_SCALE,
	OPT_SKIP_LAYERS,
};

static const struct cli_opt options[] = {
	{'t', "task", "TASK", "embed, generate (default with -p), score, classify or outline"},
	CLI_OPT_MODEL,
	{OPT_LORA, "lora", "FILE", "an adapter for the model (GGUF); may be repeated"},
	{OPT_LORA_SCALE, "lora-scale", "X", "of the adapters that follow (default: 1)"},
	CLI_OPT_OUTPUT,
	CLI_OPT_FORMAT,
	{OPT_LINES, "lines", NULL, "plain input: a text is a line, not a file"},
	{OPT_TYPE, "type", "TYPE", "values of embeddings: f32, f16 or i8 (default: f32)"},
	{OPT_POOLING, "pooling", "HOW", "embeddings by language models: mean or last token"},
	{'p', "prompt", "TEXT", "what is asked, of every document"},
	{OPT_DOCUMENT, "document", "FILE", "a document that all prompts are about"},
	{OPT_SYSTEM, "system", "TEXT", "the system message (default: the template's)"},
	{OPT_TEMPLATE, "template", "NAME", "chat template (default: as the model's file says)"},
	{OPT_RAW, "raw", NULL, "no chat template: the prompt as it is, special tokens count"},
	{OPT_CONTEXT, "context", "TOKENS", "prompt and answer at most (default: the model's)"},
	{OPT_SKIP_LAYERS, "skip-layers", "LIST", "leave out layers (3,7-9), or auto:N of them"},
	{OPT_ATTN, "attn", "POLICY", "how tokens attend, see ds-attention(7) (default: dense)"},
	{OPT_REQUIRE_MASS, "require-mass", "X", "exit 3 when attention keeps less of its mass"},
	{OPT_BEYOND, "beyond", "HOW", "the context: refuse, or carry[:WINDOW[,CHOSEN]] (tokens)"},
	{'n', "tokens", "N", "an answer has at most so many tokens (default: 512)"},
	{OPT_TEMP, "temp", "T", "temperature; 0 takes the likeliest token (default: 0)"},
	{OPT_TOP_K, "top-k", "K", "draw from the K likeliest tokens; 0: all (default: 40)"},
	{OPT_TOP_P, "top-p", "P", "and from those that make up P (default: 0.95)"},
	{OPT_MIN_P, "min-p", "P", "and of at least P times the likeliest (default: 0.05)"},
	{OPT_PENALTY, "repeat-penalty", "X", "divide logits of recent tokens (default: 1)"},
	{OPT_PENALTY_LAST, "repeat-last", "N", "how many are recent (default: 64)"},
	{OPT_SEED, "seed", "N", "of the draws (default: 0)"},
	{OPT_STOP, "stop", "TEXT", "end an answer before TEXT; may be repeated"},
	{OPT_WINDOWS, "windows", "KIND",
	 "score a long text by: overlap, halves or restart (default: overlap)"},
	{OPT_LABELS, "labels", "A,B,...", "what a document may be classified as"},
	{OPT_NO_CALIBRATE, "no-calibrate", NULL, "do not set right what a model likes anyway"},
	{OPT_POINTS, "points", "N", "an outline has at most so many (default: 5)"},
	CLI_OPT_JOBS,
	CLI_OPT_MEMORY,
	CLI_OPT_STATS,
	CLI_OPT_QUIET,
	CLI_OPT_VERBOSE,
	CLI_OPT_END,
};

enum task { EMBED, GENERATE, SCORE, CLASSIFY, OUTLINE, TASKS };
static const struct infer_task tasks[TASKS] = {
	[EMBED] = {"embed", infer_embed},	[GENERATE] = {"generate", infer_generate},
	[SCORE] = {"score", infer_score},	[CLASSIFY] = {"classify", infer_classify},
	[OUTLINE] = {"outline", infer_outline},
};

/* Options that are not for every task. */
#define BIT(task) (1u << (task))
#define WRITING (BIT(GENERATE) | BIT(OUTLINE))
#define TALKING (WRITING | BIT(CLASSIFY))
#define READING (TALKING | BIT(SCORE))
static const struct {
	int key;
	unsigned tasks;
} limited[] = {
	{OPT_TYPE, BIT(EMBED)},
	{OPT_POOLING, BIT(EMBED)},
	{'p', BIT(GENERATE) | BIT(CLASSIFY)},
	{OPT_DOCUMENT, BIT(GENERATE)},
	{OPT_SYSTEM, TALKING},
	{OPT_TEMPLATE, TALKING},
	{OPT_RAW, TALKING},
	{OPT_CONTEXT, READING | BIT(EMBED)},
	{OPT_SKIP_LAYERS, READING},
	{CLI_MEMORY, READING | BIT(EMBED)},
	{OPT_ATTN, READING | BIT(EMBED)},
	{OPT_REQUIRE_MASS, READING | BIT(EMBED)},
	{OPT_BEYOND, BIT(GENERATE) | BIT(SCORE)},
	{'n', WRITING},
	{OPT_TEMP, WRITING},
	{OPT_TOP_K, WRITING},
	{OPT_TOP_P, WRITING},
	{OPT_MIN_P, WRITING},
	{OPT_PENALTY, WRITING},
	{OPT_PENALTY_LAST, WRITING},
	{OPT_SEED, WRITING},
	{OPT_STOP, WRITING},
	{OPT_WINDOWS, BIT(SCORE)},
	{OPT_LABELS, BIT(CLASSIFY)},
	{OPT_NO_CALIBRATE, BIT(CLASSIFY)},
	{OPT_POINTS, BIT(OUTLINE)},
};
#define LIMITED (sizeof limited / sizeof *limited)

static const char examples[] =
	"Examples:\n"
	"  ds-chunk report.txt | ds-infer -t embed | ds-compress -o report.dsz\n"
	"  ds-infer -t embed --lines --format jsonl questions.txt\n"
	"  ds-infer -m qwen.gguf --document report.txt -p 'List the deadlines.'\n";

/* Which of them are given. */
static bool given[LIMITED];

static void add_stop(struct infer *cmd, const char *text)
{
	struct ds_generate_options *g = &cmd->generation;

	if (!*text)
		cli_usage(&cmd->cli, "--stop: the text is empty");
	if (g->n_stop == INFER_STOPS_MAX)
		cli_usage(&cmd->cli, "--stop: at most %d texts", INFER_STOPS_MAX);
	g->stop = cmd->stop;
	cmd->stop[g->n_stop++] = (struct ds_part){text, strlen(text)};
}

static void add_lora(struct infer *cmd, const char *path)
{
	if (cmd->n_lora == DS_LORA_MAX)
		cli_usage(&cmd->cli, "--lora: at most %d adapters", DS_LORA_MAX);
	cmd->lora[cmd->n_lora++] = (struct infer_lora){path, cmd->lora_scale};
}

/* Options of how an answer is made. */
static void on_sampling(struct infer *cmd, int key, const char *arg)
{
	struct ds_sampling *s = &cmd->generation.sampling;
	struct cli *cli = &cmd->cli;

	switch (key) {
	case 'n':
		cmd->generation.n_max = cli_num(cli, arg, "-n", 1, UINT32_MAX);
		break;
	case OPT_TEMP:
		s->temperature = (float)cli_real(cli, arg, "--temp", 0, 100);
		break;
	case OPT_TOP_K:
		s->top_k = (uint32_t)cli_num(cli, arg, "--top-k", 0, UINT32_MAX);
		break;
	case OPT_TOP_P:
		s->top_p = (float)cli_real(cli, arg, "--top-p", 0, 1);
		break;
	case OPT_MIN_P:
		s->min_p = (float)cli_real(cli, arg, "--min-p", 0, 1);
		break;
	case OPT_PENALTY:
		s->repeat_penalty = (float)cli_real(cli, arg, "--repeat-penalty", 0.01, 100);
		break;
	case OPT_PENALTY_LAST:
		s->repeat_last = (uint32_t)cli_num(cli, arg, "--repeat-last", 0, 1 << 20);
		break;
	case OPT_SEED:
		s->seed = cli_num(cli, arg, "--seed", 0, UINT64_MAX);
		break;
	case OPT_STOP:
		add_stop(cmd, arg);
		break;
	}
}

static void on_task(struct infer *cmd, const char *arg)
{
	const char *names[TASKS + 1] = {NULL};

	for (int i = 0; i < TASKS; i++)
		names[i] = tasks[i].name;
	cmd->task = &tasks[cli_choice(&cmd->cli, arg, "-t", names)];
}

static void on_attn(struct infer *cmd, const char *arg)
{
	struct ds_err err;

	cmd->profile_path = *arg == '@' ? arg + 1 : NULL;
	if (*arg == '@')
		return;
	if (ds_attn_policy_parse(&cmd->attn, arg, &err) != DS_OK)
		cli_usage(&cmd->cli, "--attn: %s", err.message);
	cmd->reading.attn = &cmd->attn;
}

static void on_beyond(struct infer *cmd, const char *arg)
{
	static const char *const names[] = {"refuse", "carry", NULL};
	const char *window = strchr(arg, ':'), *chosen;
	char text[40];

	cmd->carry = (struct ds_carry){.chosen = DS_CARRY_DEFAULT};
	snprintf(text, sizeof text, "%.*s", window ? (int)(window - arg) : 39, arg);
	if (!window) {
		cmd->reading.carry =
			cli_choice(&cmd->cli, arg, "--beyond", names) ? &cmd->carry : NULL;
		return;
	}
	if (strcmp(text, "carry") != 0)
		cli_usage(&cmd->cli, "--beyond: only carry has numbers");
	chosen = strchr(++window, ',');
	snprintf(text, sizeof text, "%.*s", chosen ? (int)(chosen - window) : 39, window);
	cmd->carry.window = (uint32_t)cli_num(&cmd->cli, text, "--beyond", 1, INT32_MAX);
	if (chosen)
		cmd->carry.chosen =
			(uint32_t)cli_num(&cmd->cli, chosen + 1, "--beyond", 0, INT32_MAX);
	cmd->reading.carry = &cmd->carry;
}

/* Options of how documents are read. */
static void on_reading(struct infer *cmd, int key, const char *arg)
{
	static const char *const windows[] = {"overlap", "halves", "restart", NULL};

	switch (key) {
	case OPT_CONTEXT:
		cmd->reading.context =
			(uint32_t)cli_num(&cmd->cli, arg, "--context", 1, UINT32_MAX);
		break;
	case CLI_MEMORY:
		cmd->memory = cli_size(&cmd->cli, arg, "--memory", 1, UINT64_MAX);
		break;
	case OPT_SKIP_LAYERS:
		infer_parse_skip(cmd, arg);
		break;
	case OPT_ATTN:
		on_attn(cmd, arg);
		break;
	case OPT_REQUIRE_MASS:
		cmd->require_mass = cli_real(&cmd->cli, arg, "--require-mass", 0, 1);
		break;
	case OPT_BEYOND:
		on_beyond(cmd, arg);
		break;
	case OPT_WINDOWS:
		cmd->windows = (enum ds_windows)cli_choice(&cmd->cli, arg, "--windows", windows);
		break;
	default:
		on_sampling(cmd, key, arg);
	}
}

static void on_option(struct cli *cli, int key, const char *arg)
{
	static const char *const types[] = {"f32", "f16", "i8", NULL};
	static const char *const poolings[] = {"mean", "last", NULL};
	struct infer *cmd = cli->user;

	for (size_t i = 0; i < LIMITED; i++)
		given[i] |= limited[i].key == key;
	switch (key) {
	case 't':
		on_task(cmd, arg);
		break;
	case OPT_LORA:
		add_lora(cmd, arg);
		break;
	case OPT_LORA_SCALE:
		cmd->lora_scale = (float)cli_real(cli, arg, "--lora-scale", -100, 100);
		break;
	case OPT_LINES:
		cmd->lines = true;
		break;
	case OPT_TYPE:
		cmd->type = (enum ds_vector_type)cli_choice(cli, arg, "--type", types);
		break;
	case OPT_POOLING:
		cmd->pooling =
			cli_choice(cli, arg, "--pooling", poolings) ? DS_POOL_LAST : DS_POOL_MEAN;
		break;
	case 'p':
		cmd->prompt = arg;
		break;
	case OPT_DOCUMENT:
		cmd->document = arg;
		break;
	case OPT_SYSTEM:
		cmd->system = arg;
		break;
	case OPT_TEMPLATE:
		cmd->reading.chat = arg;
		break;
	case OPT_RAW:
		cmd->reading.raw = true;
		break;
	case OPT_LABELS:
		cmd->labels = arg;
		break;
	case OPT_NO_CALIBRATE:
		cmd->no_calibrate = true;
		break;
	case OPT_POINTS:
		cmd->points = cli_num(cli, arg, "--points", 1, DS_POINTS_MAX);
		break;
	default:
		on_reading(cmd, key, arg);
	}
}

static void check_template(const struct infer *cmd)
{
	struct ds_chat chat;
	struct ds_err err;

	if (cmd->reading.raw && (cmd->system || cmd->reading.chat))
		cli_usage(&cmd->cli, "--raw is without --%s", cmd->system ? "system" : "template");
	if (cmd->reading.chat && ds_chat_find(&chat, cmd->reading.chat, NULL, 0, &err) != DS_OK)
		cli_usage(&cmd->cli, "--template: %s", err.message);
}

/* Standard input cannot be the document and the prompts. */
static void check_document(const struct infer *cmd)
{
	bool input = !cmd->prompt && cmd->cli.n_operand == 0;

	for (int i = 0; i < cmd->cli.n_operand; i++)
		input |= strcmp(cmd->cli.operand[i], "-") == 0;
	if (input && strcmp(cmd->document, "-") == 0)
		cli_usage(&cmd->cli, "standard input is --document and input");
	cli_refuse_same(&cmd->cli, cmd->document);
}

/* Options that contradict the task or each other. */
static void check_options(struct infer *cmd)
{
	if (!cmd->task && cmd->prompt)
		cmd->task = &tasks[GENERATE];
	if (!cmd->task)
		cli_usage(&cmd->cli, "no task: -t embed, generate, score, classify or outline");
	for (size_t i = 0; i < LIMITED; i++)
		if (given[i] && !(limited[i].tasks & BIT(cmd->task - tasks))) {
			const struct cli_opt *o = options;

			while (o->key != limited[i].key)
				o++;
			cli_usage(&cmd->cli, "--%s is not for -t %s", o->name, cmd->task->name);
		}
	if (cmd->task == &tasks[EMBED])
		return;
	check_template(cmd);
	if (!cmd->cli.model)
		cli_usage(&cmd->cli, "-t %s needs a language model: -m FILE", cmd->task->name);
	if (cmd->task == &tasks[CLASSIFY] && !cmd->labels)
		cli_usage(&cmd->cli, "-t classify needs --labels");
	if (cmd->labels)
		infer_check_labels(cmd);
	if (cmd->task == &tasks[CLASSIFY] && cmd->cli.format == CLI_FRAMES)
		cli_usage(&cmd->cli, "-t classify writes text or jsonl");
	if (cmd->document)
		check_document(cmd);
	if (cmd->prompt && !*cmd->prompt && !cmd->document && !cmd->cli.n_operand)
		cli_usage(&cmd->cli, "-p: the prompt is empty");
}

/* Text, unless asked for more, where text is what a task is about. */
static enum cli_format choose_format(const struct infer *cmd)
{
	if (cmd->task != &tasks[EMBED] && cmd->cli.format == CLI_AUTO)
		return CLI_TEXT;
	return cli_format_for_output(&cmd->cli);
}

/* What encoders and static models do not have. */
static void check_encoder(const struct infer *cmd)
{
	const char *option = cmd->reading.attn || cmd->profile_path ? "attn"
			     : cmd->require_mass > 0		    ? "require-mass"
			     : cmd->reading.context		    ? "context"
			     : cmd->memory			    ? "memory"
								    : NULL;

	if (option && !ds_model_is_lm(cmd->model))
		cli_usage(&cmd->cli, "--%s is for language models", option);
}

static enum ds_status open_model(struct infer *cmd, struct ds_err *err)
{
	double start = cli_seconds();

	DS_TRY(ds_model_open(&cmd->model, cmd->cli.model, err));
	if (cmd->task == &tasks[EMBED])
		check_encoder(cmd);
	for (size_t i = 0; i < cmd->n_lora; i++)
		DS_TRY(ds_model_lora_add(cmd->model, cmd->lora[i].path, cmd->lora[i].scale, err));
	if (cmd->pooling != DS_POOL_OTHER)
		DS_TRY(ds_model_set_pooling(cmd->model, cmd->pooling, err));
	if (cmd->profile_path && ds_model_is_lm(cmd->model)) {
		DS_TRY(ds_attn_profile_read(&cmd->profile, cmd->profile_path,
					    ds_model_id(cmd->model), ds_model_layers(cmd->model),
					    err));
		cmd->reading.attn = cmd->profile.policy;
		cmd->reading.n_attn = cmd->profile.n_layer;
	}
	cli_stat_real(&cmd->cli, "load_ms", 1e3 * (cli_seconds() - start));
	DS_TRY(ds_pool_new(&cmd->pool, cmd->cli.jobs, err));
	if (cmd->memory && ds_pool_threads(cmd->pool) > INFER_MEMORY_THREADS) {
		ds_pool_free(cmd->pool);
		cmd->pool = NULL;
		DS_TRY(ds_pool_new(&cmd->pool, INFER_MEMORY_THREADS, err));
	}
	cli_note(&cmd->cli, "model %s, kernels %s, %u threads", ds_model_describe(cmd->model),
		 ds_model_kernels(cmd->model), ds_pool_threads(cmd->pool));
	cli_stat_u64(&cmd->cli, "threads", ds_pool_threads(cmd->pool));
	cli_stat_text(&cmd->cli, "cpu", ds_model_kernels(cmd->model));
	return DS_OK;
}

static void close_all(struct infer *cmd)
{
	cli_stat_u64(&cmd->cli, "input_bytes", cmd->input_bytes);
	ds_attn_profile_fini(&cmd->profile);
	ds_out_abort(&cmd->out);
	ds_frame_writer_fini(&cmd->writer);
	ds_pool_free(cmd->pool);
	ds_model_close(cmd->model);
}

static const char *kernels(char *text, size_t size)
{
	const struct ds_kern *kern;

	if (ds_kern_choose(&kern, NULL) != DS_OK)
		return NULL;
	snprintf(text, size, "kernels: %s", kern->name);
	return text;
}

int main(int argc, char **argv)
{
	struct infer cmd = {.out.fd = -1,
			    .out.slot = -1,
			    .lora_scale = 1,
			    .pooling = DS_POOL_OTHER,
			    .text_max = INFER_TEXT_BYTES_MAX};
	char note[40];
	struct ds_err err;

	cmd.generation.sampling = ds_sampling_default;
	cmd.cli = (struct cli){
		.name = "ds-infer",
		.synopsis = "-t TASK [OPTION]... [FILE]...",
		.summary = "run a model over documents: embed, answer, score, classify, outline",
		.examples = examples,
		.options = options,
		.version_note = kernels(note, sizeof note),
		.on_option = on_option,
		.user = &cmd,
	};
	cli_parse(&cmd.cli, argc, argv);
	check_options(&cmd);
	if (!cmd.prompt || cmd.task != &tasks[GENERATE])
		cli_refuse_terminal(&cmd.cli);
	cli_refuse_overwrite(&cmd.cli);
	cmd.format = choose_format(&cmd);
	if (open_model(&cmd, &err) != DS_OK || cmd.task->run(&cmd, &err) != DS_OK)
		cli_error(&cmd.cli, &err);
	close_all(&cmd);
	return cli_finish(&cmd.cli);
}
