/* lm_lora.c - low-rank adapters: files, and the products of a session */
#define XXH_INLINE_ALL
#include "model/lm_lora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "model/arch.h"
#include "model/lm.h"
#include "quant/quant.h"

typedef unsigned long long ull;

#define NAME_MAX_BYTES 200
#define SUFFIX_BYTES 7 /* ".lora_a" */

/* The matrices of a layer that products go through ds_lora_run(). */
static const char *const parts[] = {
	"attn_q",    "attn_k",	       "attn_v",       "attn_output",	 "ffn_gate",
	"ffn_up",    "ffn_down",       "attn_q_a",     "attn_q_b",	 "attn_kv_a_mqa",
	"attn_kv_b", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp",
};

/* "blk.N.PART.weight" of one of these parts, "output.weight" or "token_embd.weight". */
static bool adaptable(const char *name)
{
	const char *part;
	size_t n;

	if (!strcmp(name, "output.weight") || !strcmp(name, "token_embd.weight"))
		return true;
	if (strncmp(name, "blk.", 4) != 0)
		return false;
	part = strchr(name + 4, '.');
	n = part ? strlen(++part) : 0;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (n == strlen(parts[i]) + 7 && !memcmp(part, parts[i], n - 7) &&
		    !strcmp(part + n - 7, ".weight"))
			return true;
	return false;
}

static enum ds_status expect_str(const struct ds_gguf *gguf, const char *key, const char *want,
				 struct ds_err *err)
{
	struct ds_str got;

	DS_TRY(ds_gguf_str(gguf, key, &got, err));
	if (ds_str_is(got, want))
		return DS_OK;
	return ds_fail_at(err, DS_EFORMAT, gguf->path, DS_NO_OFFSET, "%s is %.*s, %s expected", key,
			  got.len > 60 ? 60 : (int)got.len, got.s, want);
}

static enum ds_status read_keys(const struct ds_gguf *gguf, const char *arch, double *alpha_ret,
				struct ds_err *err)
{
	DS_TRY(expect_str(gguf, "general.type", "adapter", err));
	DS_TRY(expect_str(gguf, "adapter.type", "lora", err));
	DS_TRY(expect_str(gguf, "general.architecture", arch, err));
	if (ds_gguf_find(gguf, "adapter.alora.invocation_tokens"))
		return ds_fail_at(err, DS_EUNSUPPORTED, gguf->path, DS_NO_OFFSET,
				  "adapters that tokens switch on (alora) are not supported");
	*alpha_ret = 0;
	if (ds_gguf_find(gguf, "adapter.lora.alpha"))
		DS_TRY(ds_gguf_f64(gguf, "adapter.lora.alpha", alpha_ret, err));
	if (!(fabs(*alpha_ret) <= 1e6))
		return ds_fail_at(err, DS_EFORMAT, gguf->path, DS_NO_OFFSET,
				  "adapter.lora.alpha is %g, at most 1e6 expected", *alpha_ret);
	return DS_OK;
}

/* The tensor as a matrix of finite values. */
static enum ds_status matrix_of(const struct ds_gguf *gguf, const struct ds_gguf_tensor *t,
				struct ds_matrix *matrix_ret, struct ds_err *err)
{
	enum ds_status st;
	size_t n = t->dim[0];
	float *row;

	if (t->dim[2] != 1 || t->dim[3] != 1)
		return ds_fail_at(err, DS_EUNSUPPORTED, gguf->path, t->offset,
				  "tensor %.*s has more than two dimensions", (int)t->name.len,
				  t->name.s);
	st = ds_matrix_init(matrix_ret, t->type, t->data, t->dim[1], n, err);
	if (st != DS_OK) {
		if (err)
			err->offset = t->offset;
		return st;
	}
	row = ds_alloc(n, sizeof *row);
	if (!row)
		return ds_fail_nomem(err, n * sizeof *row);
	for (size_t i = 0; i < matrix_ret->n && st == DS_OK; i++) {
		ds_quant_decoder(t->type)(t->data + i * matrix_ret->row_bytes, row, n);
		for (size_t j = 0; j < n; j++)
			if (!isfinite(row[j]))
				st = ds_fail_at(err, DS_EFORMAT, gguf->path, t->offset,
						"tensor %.*s holds NaN or infinity",
						(int)t->name.len, t->name.s);
	}
	free(row);
	return st;
}

static enum ds_status check_shape(const struct ds_gguf *gguf, const struct ds_gguf_tensor *base,
				  const struct ds_lora_pair *p, const struct ds_gguf_tensor *a,
				  struct ds_err *err)
{
	size_t rank = p->rows ? p->a.k : p->a.n, k = p->rows ? p->a.n : p->a.k;
	uint64_t want_k = base->dim[p->rows ? 1 : 0], want_n = base->dim[p->rows ? 0 : 1];

	if (rank == 0 || rank > DS_LORA_RANK_MAX)
		return ds_fail_at(err, DS_ELIMIT, gguf->path, a->offset,
				  "%.*s has rank %zu, 1..%d expected", (int)a->name.len, a->name.s,
				  rank, DS_LORA_RANK_MAX);
	if (k == want_k && p->b.n == want_n && p->b.k == rank)
		return DS_OK;
	return ds_fail_at(err, DS_EFORMAT, gguf->path, a->offset,
			  "%.*s is %zu x %zu with a lora_b of %zu x %zu: no low-rank change of the "
			  "model's %llu x %llu",
			  (int)a->name.len, a->name.s, p->a.k, p->a.n, p->b.k, p->b.n,
			  (ull)base->dim[0], (ull)base->dim[1]);
}

/* The pair that begins with the tensor a, NAME.lora_a. */
static enum ds_status read_pair(const struct ds_gguf *gguf, const struct ds_gguf_tensor *a,
				const struct ds_gguf *model, struct ds_lora_pair *p,
				struct ds_err *err)
{
	const struct ds_gguf_tensor *b, *base;
	char name[NAME_MAX_BYTES + 1];
	size_t n = a->name.len;

	if (n > NAME_MAX_BYTES)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, a->offset,
				  "the name of a tensor has %zu bytes, at most %d expected", n,
				  NAME_MAX_BYTES);
	memcpy(name, a->name.s, n);
	name[n] = '\0';
	name[n - 1] = 'b';
	b = ds_gguf_tensor_find(gguf, name);
	name[n - SUFFIX_BYTES] = '\0';
	if (!b)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, a->offset,
				  "%s has a lora_a and no lora_b", name);
	base = ds_gguf_tensor_find(model, name);
	if (!base)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, a->offset,
				  "%s is no tensor of the model: the adapter is of another one",
				  name);
	if (!adaptable(name) || base->dim[2] != 1)
		return ds_fail_at(err, DS_EUNSUPPORTED, gguf->path, a->offset,
				  "adapters of %s are not supported", name);
	p->base = base->data;
	p->rows = !strcmp(name, "token_embd.weight");
	DS_TRY(matrix_of(gguf, a, &p->a, err));
	DS_TRY(matrix_of(gguf, b, &p->b, err));
	return check_shape(gguf, base, p, a, err);
}

static bool ends_with(struct ds_str s, const char *end)
{
	size_t n = strlen(end);

	return s.len > n && !memcmp(s.s + s.len - n, end, n);
}

static int by_base(const void *a, const void *b)
{
	const struct ds_lora_pair *p = a, *q = b;

	return (p->base > q->base) - (p->base < q->base);
}

static void digest(struct ds_lora *lora, float scale)
{
	lora->id = XXH3_64bits_withSeed(&scale, sizeof scale, 0);
	for (size_t i = 0; i < lora->gguf.n_tensor; i++) {
		const struct ds_gguf_tensor *t = &lora->gguf.tensor[i];

		lora->id = XXH3_64bits_withSeed(t->name.s, t->name.len, lora->id);
		lora->id = XXH3_64bits_withSeed(t->data, t->bytes, lora->id);
	}
}

static enum ds_status read_pairs(struct ds_lora *lora, float scale, double alpha,
				 const struct ds_gguf *model, struct ds_err *err)
{
	const struct ds_gguf *gguf = &lora->gguf;

	lora->pair = ds_alloc(gguf->n_tensor, sizeof *lora->pair);
	if (!lora->pair)
		return ds_fail_nomem(err, gguf->n_tensor * sizeof *lora->pair);
	for (size_t i = 0; i < gguf->n_tensor; i++) {
		const struct ds_gguf_tensor *t = &gguf->tensor[i];
		struct ds_lora_pair *p = &lora->pair[lora->n];
		size_t rank;

		if (ends_with(t->name, ".lora_b"))
			continue;
		if (!ends_with(t->name, ".lora_a"))
			return ds_fail_at(err, DS_EUNSUPPORTED, gguf->path, t->offset,
					  "tensor %.*s: NAME.lora_a or NAME.lora_b expected",
					  t->name.len > 80 ? 80 : (int)t->name.len, t->name.s);
		DS_TRY(read_pair(gguf, t, model, p, err));
		rank = p->b.k;
		p->scale =
			(float)(alpha != 0 ? (double)scale * alpha / (double)rank : (double)scale);
		if (rank > lora->rank_max)
			lora->rank_max = rank;
		lora->n++;
	}
	if (lora->n == 0 || lora->n * 2 != gguf->n_tensor)
		return ds_fail_at(err, DS_EFORMAT, gguf->path, DS_NO_OFFSET,
				  "%zu tensors with %zu lora_a, pairs expected", gguf->n_tensor,
				  lora->n);
	qsort(lora->pair, lora->n, sizeof *lora->pair, by_base);
	digest(lora, scale);
	return DS_OK;
}

static enum ds_status read_file(struct ds_lora *lora, const char *path, float scale,
				const struct ds_lora_base *base, struct ds_err *err)
{
	enum ds_status st;
	double alpha;

	st = read_keys(&lora->gguf, base->arch, &alpha, err);
	if (st == DS_OK)
		st = read_pairs(lora, scale, alpha, base->gguf, err);
	if (st == DS_OK)
		return DS_OK;
	ds_err_set_path(err, path);
	ds_lora_close(lora);
	return st;
}

enum ds_status ds_lora_open(struct ds_lora *lora, const char *path, float scale,
			    const struct ds_lora_base *base, struct ds_err *err)
{
	*lora = (struct ds_lora){0};
	DS_TRY(ds_gguf_open(&lora->gguf, path, err));
	return read_file(lora, path, scale, base, err);
}

enum ds_status ds_lora_open_memory(struct ds_lora *lora, struct ds_part bytes, const char *name,
				   const struct ds_lora_base *base, struct ds_err *err)
{
	*lora = (struct ds_lora){0};
	DS_TRY(ds_gguf_open_memory(&lora->gguf, bytes.bytes, bytes.len, name, err));
	return read_file(lora, name, 1, base, err);
}

void ds_lora_close(struct ds_lora *lora)
{
	ds_gguf_close(&lora->gguf);
	free(lora->pair);
	*lora = (struct ds_lora){0};
}

const struct ds_lora_pair *ds_lora_find(const struct ds_lora *lora, const uint8_t *base, bool rows)
{
	size_t low = 0, high = lora->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (lora->pair[mid].base < base)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < lora->n && lora->pair[low].base == base && lora->pair[low].rows == rows)
		return &lora->pair[low];
	return NULL;
}

enum ds_status ds_model_lora_add(struct ds_model *model, const char *path, float scale,
				 struct ds_err *err)
{
	struct ds_lora_base base = {&model->gguf, model->arch->name};
	struct ds_lora *lora;

	if (!ds_model_is_lm(model))
		return ds_fail_at(
			err, DS_EINVAL, path, DS_NO_OFFSET,
			"adapters are for language models, the model is of architecture %s",
			model->arch->name);
	if (model->n_lora == DS_LORA_MAX)
		return ds_fail_at(err, DS_ELIMIT, path, DS_NO_OFFSET, "more than %d adapters",
				  DS_LORA_MAX);
	if (!(fabsf(scale) <= 1e6f))
		return ds_fail_at(err, DS_EINVAL, path, DS_NO_OFFSET,
				  "an adapter %g times: at most 1e6 expected", (double)scale);
	lora = ds_resize(model->lora, model->n_lora + 1, sizeof *lora);
	if (!lora)
		return ds_fail_nomem(err, (model->n_lora + 1) * sizeof *lora);
	model->lora = lora;
	DS_TRY(ds_lora_open(&lora[model->n_lora], path, scale, &base, err));
	model->id = XXH3_64bits_withSeed(&lora[model->n_lora].id, sizeof lora->id, model->id);
	model->n_lora++;
	return DS_OK;
}
