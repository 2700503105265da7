/*
 * lm_route.h - which experts a token goes to, and with what weights
 *
 * Source: DeepSeek-V2 (arXiv:2405.04434, softmax) and V3 (arXiv:2412.19437, sigmoid, a bias that
 * takes part in the choice only, groups of experts); the score of a group is the sum of its two
 * best experts, as in the published code of V3.
 */
#ifndef DS_MODEL_LM_ROUTE_H
#define DS_MODEL_LM_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define DS_EXPERTS_MAX 1024

/* expert_gating_func, as GGUF files number it */
enum ds_gating { DS_GATING_SOFTMAX = 1, DS_GATING_SIGMOID = 2 };

struct ds_route {
	uint32_t n_expert, n_used;
	uint32_t n_group, n_group_used; /* n_group 0 or 1: all experts are one group */
	enum ds_gating gating;
	bool normalise; /* weights sum to scale */
	float scale;	/* of the weights */
};

/* DS_EFORMAT when the numbers do not go together. */
enum ds_status ds_route_check(const struct ds_route *route, struct ds_err *err);

struct ds_pick {
	uint32_t expert;
	float weight;
};

/*
 * picks [n_used], by ascending expert, for the router's logits [n_expert]; bias [n_expert] or NULL.
 * Of equal experts and groups the lower is taken.
 */
void ds_route(const struct ds_route *route, const float *logits, const float *bias,
	      struct ds_pick *picks);

#endif
