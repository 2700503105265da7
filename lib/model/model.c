/* model.c - opening models, whatever their file and architecture */
#define XXH_STATIC_LINKING_ONLY
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/paths.h"
#include "model/arch.h"
#include "model/bert.h"
#include "model/lm_net.h"

static const struct ds_arch *const archs[] = {&ds_arch_static,	  &ds_arch_bert,
					      &ds_lm_llama.arch,  &ds_lm_qwen2.arch,
					      &ds_lm_gemma3.arch, &ds_lm_deepseek2.arch};
#define N_ARCH (sizeof archs / sizeof *archs)

static enum ds_status find_arch(struct ds_model *model, struct ds_str name, struct ds_err *err)
{
	char known[160];
	size_t len = 0;

	for (size_t i = 0; i < N_ARCH; i++) {
		if (ds_str_is(name, archs[i]->name)) {
			model->arch = archs[i];
			return DS_OK;
		}
		len += (size_t)snprintf(known + len, sizeof known - len, "%s%s",
					i == 0		 ? ""
					: i + 1 < N_ARCH ? ", "
							 : " or ",
					archs[i]->name);
	}
	return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
			  "architecture %.*s, %s expected", name.len > 60 ? 60 : (int)name.len,
			  name.s, known);
}

static const struct ds_gguf_tensor *gguf_find(const void *source, const char *name)
{
	return ds_gguf_tensor_find(source, name);
}

/* What enters the fingerprint before the weights do. */
static void begin_digest(const struct ds_model *model, struct ds_weights *weights)
{
	uint64_t tok_id = ds_tokenizer_id(model->tok);

	XXH3_64bits_reset(weights->digest);
	ds_weights_digest(weights, model->arch->name, strlen(model->arch->name));
	ds_weights_digest(weights, &tok_id, sizeof tok_id);
}

static enum ds_status open_gguf(struct ds_model *model, struct ds_err *err)
{
	XXH3_state_t digest;
	struct ds_weights weights = {
		.path = model->path, .find = gguf_find, .source = &model->gguf, .digest = &digest};
	struct ds_str name;

	DS_TRY(ds_gguf_open(&model->gguf, model->path, err));
	DS_TRY(ds_gguf_str(&model->gguf, "general.architecture", &name, err));
	DS_TRY(find_arch(model, name, err));
	DS_TRY(ds_tokenizer_open_gguf(&model->tok, &model->gguf, err));
	begin_digest(model, &weights);
	DS_TRY(model->arch->open_gguf(model, &weights, err));
	model->id = XXH3_64bits_digest(&digest);
	return DS_OK;
}

static const struct ds_gguf_tensor *safetensors_find(const void *source, const char *name)
{
	return ds_safetensors_find(source, name);
}

/* A Hugging Face folder: config.json, tokenizer.json, model.safetensors. */
static enum ds_status open_folder(struct ds_model *model, struct ds_err *err)
{
	XXH3_state_t digest;
	struct ds_weights weights = {
		.find = safetensors_find, .source = &model->st, .digest = &digest};
	struct ds_bert_config config;
	char path[4096];

	DS_TRY(ds_bert_folder_config(model, &config, err));
	snprintf(path, sizeof path, "%s/model.safetensors", model->path);
	DS_TRY(ds_safetensors_open(&model->st, path, err));
	weights.path = model->st.path;
	model->arch = &ds_arch_bert;
	DS_TRY(ds_tokenizer_open(&model->tok, model->path, err));
	begin_digest(model, &weights);
	DS_TRY(ds_bert_open_folder(model, &weights, &config, err));
	model->id = XXH3_64bits_digest(&digest);
	return DS_OK;
}

static enum ds_status open_path(struct ds_model *model, const char *path, struct ds_err *err)
{
	struct stat st;

	model->path = strdup(path);
	if (!model->path)
		return ds_fail_nomem(err, strlen(path) + 1);
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return open_folder(model, err);
	return open_gguf(model, err);
}

enum ds_status ds_model_open(struct ds_model **model_ret, const char *path, struct ds_err *err)
{
	const struct ds_kern *kern;
	struct ds_model *model;
	char builtin[4096];
	enum ds_status st;

	DS_TRY(ds_kern_choose(&kern, err));
	if (!path) {
		DS_TRY(ds_builtin_path(builtin, sizeof builtin, err));
		path = builtin;
	}
	model = ds_alloc_zero(1, sizeof *model);
	if (!model)
		return ds_fail_nomem(err, sizeof *model);
	model->kern = kern;
	st = open_path(model, path, err);
	if (st != DS_OK) {
		ds_err_set_path(err, path);
		ds_model_close(model);
		return st;
	}
	*model_ret = model;
	return DS_OK;
}

void ds_model_close(struct ds_model *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->n_lora; i++)
		ds_lora_close(&model->lora[i]);
	free(model->lora);
	if (model->net)
		model->arch->close(model->net);
	ds_tokenizer_close(model->tok);
	ds_gguf_close(&model->gguf);
	ds_safetensors_close(&model->st);
	free(model->path);
	free(model);
}

enum ds_status ds_model_set_pooling(struct ds_model *model, enum ds_pooling pooling,
				    struct ds_err *err)
{
	uint64_t salt = (uint64_t)pooling + 1;

	if (!ds_model_is_lm(model))
		return ds_fail_at(err, DS_EINVAL, model->path, DS_NO_OFFSET,
				  "the pooling of architecture %s is fixed", model->arch->name);
	if (pooling != model->pooling)
		model->id = XXH3_64bits_withSeed(&salt, sizeof salt, model->id);
	model->pooling = pooling;
	return DS_OK;
}

const struct ds_tokenizer *ds_model_tokenizer(const struct ds_model *model)
{
	return model->tok;
}

uint64_t ds_model_id(const struct ds_model *model)
{
	return model->id;
}

enum ds_status ds_model_file(const struct ds_model *model, struct ds_model_file *file_ret,
			     struct ds_err *err)
{
	const char *slash = strrchr(model->path, '/');

	if (!model->gguf.data || model->n_lora)
		return ds_fail_at(err, DS_EUNSUPPORTED, model->path, DS_NO_OFFSET,
				  model->n_lora ? "a model with adapters, a file alone expected"
						: "a folder, a GGUF file expected");
	*file_ret = (struct ds_model_file){
		.name = slash ? slash + 1 : model->path,
		.hash = XXH3_64bits(model->gguf.data, model->gguf.len),
		.bytes = model->gguf.len,
	};
	return DS_OK;
}

const char *ds_model_describe(const struct ds_model *model)
{
	return model->describe;
}

const char *ds_model_kernels(const struct ds_model *model)
{
	return model->kern->name;
}

uint32_t ds_model_dims(const struct ds_model *model)
{
	return model->dims;
}

uint32_t ds_model_context(const struct ds_model *model)
{
	return model->context;
}
