/*
 * audit.h - which queries are audited, and what they kept of their mass (internal to lib/attn)
 */
#ifndef DS_ATTN_AUDIT_H
#define DS_ATTN_AUDIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "attn/attn.h"

/* As struct ds_attn_audit, added to by threads. */
struct ds_audited {
	atomic_ullong rows[DS_AUDIT_STEPS + 1], mass;
};

/* One of 256 queries of a head. */
bool ds_audit_wants(const struct ds_attn_call *call, size_t head, size_t query);
/* A query kept so much: 0 to 1, but for rounding. */
void ds_audit_note(struct ds_audited *audited, double kept);
void ds_audit_add(const struct ds_audited *audited, struct ds_attn_audit *audit);

#endif
