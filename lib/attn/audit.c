/* audit.c - audited queries, counted by what they kept */
#include "attn/audit.h"

#define AUDIT_EVERY 256

bool ds_audit_wants(const struct ds_attn_call *call, size_t head, size_t query)
{
	return (call->pos + query + head * 37 + call->layer * 101) % AUDIT_EVERY == 3;
}

void ds_audit_note(struct ds_audited *audited, double kept)
{
	kept = kept < 1 ? kept : 1;
	atomic_fetch_add(&audited->rows[(size_t)(kept * DS_AUDIT_STEPS)], 1);
	atomic_fetch_add(&audited->mass, (uint64_t)(kept * DS_AUDIT_ONE + 0.5));
}

void ds_audit_add(const struct ds_audited *audited, struct ds_attn_audit *audit)
{
	for (size_t i = 0; i <= DS_AUDIT_STEPS; i++)
		audit->rows[i] += atomic_load(&audited->rows[i]);
	audit->mass += atomic_load(&audited->mass);
}
