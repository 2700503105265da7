/*
 * pca.h - principal components, by OpenBLAS
 *
 * The one room of OpenBLAS: only ds-distill links it.  What comes out may differ in the last bits
 * from one machine to another.
 */
#ifndef DS_MODEL_PCA_H
#define DS_MODEL_PCA_H

#include <stddef.h>

#include "base/err.h"

struct ds_pca {
	size_t dims, kept;
	float *mean;	  /* [dims] */
	float *component; /* [kept][dims], orthonormal, by falling variance */
	double explained; /* share of the variance that the kept components carry, 0..1 */
};

/*
 * The first kept (1..dims) components of rows [n][dims].  Their signs are fixed: the entry of
 * largest magnitude is positive.  One thread, so that a machine repeats its result.
 */
enum ds_status ds_pca_fit(struct ds_pca *pca, const float *rows, size_t n, size_t dims, size_t kept,
			  struct ds_err *err);
void ds_pca_fini(struct ds_pca *pca);
/* out [n][kept] = components times (rows [n][dims] - mean); mean NULL: nothing is taken off. */
void ds_pca_project(const struct ds_pca *pca, const float *rows, const float *mean, size_t n,
		    float *out);

#endif
