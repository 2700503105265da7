/* pca.c - principal components, by OpenBLAS */
#include "model/pca.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* LAPACK in libopenblas: eigenvalues, ascending, and eigenvectors of a symmetric matrix. */
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w,
	     double *work, const int *lwork, int *iwork, const int *liwork, int *info);

#define DIMS_MAX 16384 /* keeps the workspace of dsyevd in an int */

static enum ds_status column_means(struct ds_pca *pca, const float *rows, size_t n,
				   struct ds_err *err)
{
	double *sum = ds_alloc_zero(pca->dims, sizeof *sum);

	if (!sum)
		return ds_fail_nomem(err, pca->dims * sizeof *sum);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < pca->dims; j++)
			sum[j] += rows[i * pca->dims + j];
	for (size_t j = 0; j < pca->dims; j++)
		pca->mean[j] = (float)(sum[j] / (double)n);
	free(sum);
	return DS_OK;
}

/* cov [dims][dims], upper triangle: sum over rows of (row - mean) (row - mean)'. */
static enum ds_status covariance(const struct ds_pca *pca, const float *rows, size_t n, double *cov,
				 struct ds_err *err)
{
	enum { BLOCK = 256 };
	size_t dims = pca->dims;
	double *block = ds_alloc(dims, BLOCK * sizeof *block);

	if (!block)
		return ds_fail_nomem(err, dims * BLOCK * sizeof *block);
	for (size_t i = 0; i < n; i += BLOCK) {
		size_t m = n - i < BLOCK ? n - i : BLOCK;

		for (size_t r = 0; r < m; r++)
			for (size_t j = 0; j < dims; j++)
				block[r * dims + j] =
					(double)rows[(i + r) * dims + j] - pca->mean[j];
		cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)dims, (int)m, 1, block,
			    (int)dims, 1, cov, (int)dims);
	}
	free(block);
	return DS_OK;
}

/* a [dims][dims] becomes its eigenvectors, a row each, by rising eigenvalue. */
static enum ds_status eigen(double *a, size_t dims, double *value, struct ds_err *err)
{
	/* what is the upper triangle by rows is the lower one by columns */
	int n = (int)dims, info, lwork = -1, liwork = -1, iwork_size;
	double work_size, *work;
	int *iwork;

	dsyevd_("V", "L", &n, a, &n, value, &work_size, &lwork, &iwork_size, &liwork, &info);
	lwork = (int)work_size;
	liwork = iwork_size;
	work = ds_alloc((size_t)lwork, sizeof *work);
	iwork = ds_alloc((size_t)liwork, sizeof *iwork);
	if (work && iwork)
		dsyevd_("V", "L", &n, a, &n, value, work, &lwork, iwork, &liwork, &info);
	free(iwork);
	free(work);
	if (!work || !iwork)
		return ds_fail_nomem(err, (uint64_t)lwork * sizeof *work);
	if (info)
		return ds_fail(err, DS_EINVAL, "eigenvalues do not converge (dsyevd: %d)", info);
	return DS_OK;
}

/* Row `from` of vectors, of length 1 and definite sign. */
static void take_component(float *to, const double *from, size_t dims)
{
	double largest = 0;

	for (size_t j = 0; j < dims; j++)
		if (fabs(from[j]) > fabs(largest))
			largest = from[j];
	for (size_t j = 0; j < dims; j++)
		to[j] = (float)(largest < 0 ? -from[j] : from[j]);
}

static enum ds_status fit(struct ds_pca *pca, const float *rows, size_t n, double *cov,
			  double *value, struct ds_err *err)
{
	double total = 0, kept = 0;

	DS_TRY(column_means(pca, rows, n, err));
	DS_TRY(covariance(pca, rows, n, cov, err));
	DS_TRY(eigen(cov, pca->dims, value, err));
	for (size_t i = 0; i < pca->dims; i++)
		total += value[i];
	for (size_t i = 0; i < pca->kept; i++) {
		size_t from = pca->dims - 1 - i;

		take_component(pca->component + i * pca->dims, cov + from * pca->dims, pca->dims);
		kept += value[from];
	}
	if (!(total >= 0) || !isfinite(total))
		return ds_fail(err, DS_EINVAL, "the variance of the vectors is not finite");
	pca->explained = total > 0 ? kept / total : 1;
	return DS_OK;
}

enum ds_status ds_pca_fit(struct ds_pca *pca, const float *rows, size_t n, size_t dims, size_t kept,
			  struct ds_err *err)
{
	enum ds_status st = DS_ENOMEM;
	double *cov, *value;

	*pca = (struct ds_pca){.dims = dims, .kept = kept};
	if (n < 1 || dims < 1 || dims > DIMS_MAX || kept < 1 || kept > dims)
		return ds_fail(err, DS_EINVAL, "%zu of %zu components of %zu vectors", kept, dims,
			       n);
	openblas_set_num_threads(1);
	cov = ds_alloc_zero(dims, dims * sizeof *cov);
	value = ds_alloc(dims, sizeof *value);
	pca->mean = ds_alloc(dims, sizeof *pca->mean);
	pca->component = ds_alloc(kept, dims * sizeof *pca->component);
	if (cov && value && pca->mean && pca->component)
		st = fit(pca, rows, n, cov, value, err);
	else
		ds_fail_nomem(err, dims * dims * sizeof *cov);
	free(value);
	free(cov);
	if (st != DS_OK)
		ds_pca_fini(pca);
	return st;
}

void ds_pca_fini(struct ds_pca *pca)
{
	free(pca->mean);
	free(pca->component);
	*pca = (struct ds_pca){0};
}

void ds_pca_project(const struct ds_pca *pca, const float *rows, const float *mean, size_t n,
		    float *out)
{
	size_t dims = pca->dims, kept = pca->kept;

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)kept, (int)dims, 1, rows,
		    (int)dims, pca->component, (int)dims, 0, out, (int)kept);
	if (!mean)
		return;
	for (size_t k = 0; k < kept; k++) {
		double shift = 0;

		for (size_t j = 0; j < dims; j++)
			shift += (double)pca->component[k * dims + j] * mean[j];
		for (size_t i = 0; i < n; i++)
			out[i * kept + k] -= (float)shift;
	}
}
