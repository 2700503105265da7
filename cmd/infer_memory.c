/*
 * infer_memory.c - --memory: how long a context fits, and passes of how many tokens
 *
 * Sizes depend on the model, the options and SIZE alone, not on the machine or the number of
 * threads, so that results do not either: what threads need is counted for INFER_MEMORY_THREADS.
 */
#include <string.h>
#include <sys/stat.h>

#include "infer.h"
#include "task/skip.h"

#define MB ((uint64_t)1 << 20)
/* The program, its libraries, buffers of files. */
#define PROGRAM_BYTES (16 * MB)
/* Measured after loading: at most 160 bytes a token of the vocabulary; and its logits. */
#define VOCAB_BYTES 224
/* Logits of several tokens at once (lib/task/predict.c). */
#define ROWS_BYTES (16 * MB)
#define ROWS_MIN 16
#define ROWS_MAX 64
/* Of a token of the context: bytes of text, held and rendered; ids and ends, with room to grow. */
#define TEXT_BYTES ((size_t)16)
#define TOKEN_BYTES (4 * TEXT_BYTES + 40)
#define TEXT_BYTES_MIN ((size_t)1 << 16)
#define CONTEXT_STEP 64
#define CONTEXT_USEFUL 2048
#define BATCH_MOST 512
#define BATCH_LEAST 16

struct fit {
	struct infer *cmd;
	struct ds_pool *pool; /* of INFER_MEMORY_THREADS */
	uint64_t model;	      /* bytes that do not depend on the context */
};

static enum ds_status add_file(uint64_t *bytes, const char *path, struct ds_err *err)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return ds_fail_errno(err, path, "cannot stat");
	*bytes += (uint64_t)st.st_size;
	return DS_OK;
}

static enum ds_status session_bytes(const struct fit *f, uint32_t context, uint32_t batch,
				    uint64_t *bytes_ret, struct ds_err *err)
{
	const struct ds_reader_options *r = &f->cmd->reading;
	struct ds_session_options o = {.context = context,
				       .batch = batch,
				       .skip = r->skip,
				       .n_skip = r->n_skip,
				       .attn = r->attn,
				       .n_attn = r->n_attn,
				       .carry = r->carry};
	struct ds_session *s;

	DS_TRY(ds_session_new(&s, f->cmd->model, f->pool, &o, err));
	*bytes_ret = ds_session_bytes(s);
	ds_session_free(s);
	return DS_OK;
}

/* Bytes in all. */
static enum ds_status total_bytes(const struct fit *f, uint32_t context, uint32_t batch,
				  uint64_t *bytes_ret, struct ds_err *err)
{
	const struct infer_skip *skip = &f->cmd->skip;
	uint64_t bytes, sample = 0;

	DS_TRY(session_bytes(f, context, batch, &bytes, err));
	if (skip->n_auto || skip->n) /* the sample has a session of its own meanwhile */
		DS_TRY(session_bytes(f, context < DS_SKIP_TOKENS ? context : DS_SKIP_TOKENS, batch,
				     &sample, err));
	*bytes_ret = f->model + bytes + 2 * sample + (uint64_t)context * TOKEN_BYTES +
		     2 * TEXT_BYTES_MIN;
	return DS_OK;
}

/* The largest pass that leaves room for the context; 0: none does. */
static enum ds_status find_batch(const struct fit *f, uint32_t context, uint32_t *batch_ret,
				 struct ds_err *err)
{
	for (*batch_ret = BATCH_MOST; *batch_ret >= BATCH_LEAST; *batch_ret /= 2) {
		uint64_t bytes;

		DS_TRY(total_bytes(f, context, *batch_ret, &bytes, err));
		if (bytes <= f->cmd->memory)
			return DS_OK;
	}
	*batch_ret = 0;
	return DS_OK;
}

/* The longest context up to most, a multiple of CONTEXT_STEP; 0: none. */
static enum ds_status find_context(const struct fit *f, uint32_t most, uint32_t batch,
				   uint32_t *context_ret, struct ds_err *err)
{
	uint32_t low = 0, high = most / CONTEXT_STEP;

	while (low < high) {
		uint32_t middle = high - (high - low) / 2;
		uint64_t bytes;

		DS_TRY(total_bytes(f, middle * CONTEXT_STEP, batch, &bytes, err));
		if (bytes <= f->cmd->memory)
			low = middle;
		else
			high = middle - 1;
	}
	*context_ret = low * CONTEXT_STEP;
	return DS_OK;
}

static enum ds_status refuse(const struct fit *f, uint32_t context, struct ds_err *err)
{
	uint64_t bytes;

	DS_TRY(total_bytes(f, context, BATCH_LEAST, &bytes, err));
	return ds_fail(err, DS_ELIMIT,
		       "--memory of %.1f MB is not enough: the model takes %.1f MB, with a context "
		       "of %u tokens %.1f MB",
		       1e-6 * (double)f->cmd->memory, 1e-6 * (double)f->model, context,
		       1e-6 * (double)bytes);
}

static enum ds_status fit(const struct fit *f, struct ds_err *err)
{
	struct ds_reader_options *r = &f->cmd->reading;
	uint32_t most = r->context ? r->context : ds_model_context(f->cmd->model), batch;

	DS_TRY(find_batch(f, most, &batch, err));
	if (!batch && r->context)
		return refuse(f, most, err);
	if (!batch) {
		/* passes of a good size where that leaves a useful context */
		uint32_t useful = most < CONTEXT_USEFUL ? most : CONTEXT_USEFUL, context;

		DS_TRY(find_batch(f, useful, &batch, err));
		batch = batch ? batch : BATCH_LEAST;
		DS_TRY(find_context(f, most, batch, &context, err));
		if (!context)
			return refuse(f, most < CONTEXT_STEP ? most : CONTEXT_STEP, err);
		most = context;
	}
	r->context = most;
	r->batch = batch;
	return DS_OK;
}

enum ds_status infer_fit_memory(struct infer *cmd, struct ds_err *err)
{
	struct fit f = {.cmd = cmd};
	uint64_t vocab = ds_model_vocab(cmd->model), row = vocab * sizeof(float), rows;
	bool skips = cmd->skip.n_auto || cmd->skip.n;
	enum ds_status st;

	rows = row * ROWS_MAX < ROWS_BYTES ? row * ROWS_MAX : ROWS_BYTES;
	rows = rows > row * ROWS_MIN ? rows : row * ROWS_MIN;
	f.model = PROGRAM_BYTES + vocab * VOCAB_BYTES + rows * (skips ? 2 : 1);
	DS_TRY(add_file(&f.model, cmd->cli.model, err));
	for (size_t i = 0; i < cmd->n_lora; i++)
		DS_TRY(add_file(&f.model, cmd->lora[i].path, err));
	DS_TRY(ds_pool_new(&f.pool, INFER_MEMORY_THREADS, err));
	st = fit(&f, err);
	ds_pool_free(f.pool);
	if (st != DS_OK)
		return st;
	cmd->text_max = cmd->reading.context * TEXT_BYTES;
	cmd->text_max = cmd->text_max > TEXT_BYTES_MIN ? cmd->text_max : TEXT_BYTES_MIN;
	cli_stat_u64(&cmd->cli, "memory_bytes", cmd->memory);
	cli_stat_u64(&cmd->cli, "context", cmd->reading.context);
	cli_note(&cmd->cli, "--memory: a context of %u tokens, passes of %u", cmd->reading.context,
		 cmd->reading.batch);
	return DS_OK;
}
