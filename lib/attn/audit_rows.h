/*
 * audit_rows.h - the audit of policies that do not choose by mass (internal to lib/attn)
 *
 * The choice of an audited row is made once more, and its scores with all keys before its page are
 * summed twice: all, and those chosen.
 */
#ifndef DS_ATTN_AUDIT_ROWS_H
#define DS_ATTN_AUDIT_ROWS_H

#include "attn/policy.h"
#include "attn/tile.h"

struct ds_audit_rows;
enum ds_status ds_audit_rows_new(struct ds_audit_rows **audit_ret, struct ds_attn *attn,
				 struct ds_err *err);
/* Audit attn->call, which rounded.c attended to. */
void ds_audit_rows_call(const struct ds_attn *attn);
/* Add what was audited so far. */
void ds_audit_rows_add(const struct ds_audit_rows *rows, struct ds_attn_audit *audit);

#endif
