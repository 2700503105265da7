/* test_base_io.c - inputs, atomic outputs, spill files, the thread pool */
#include <check.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/pool.h"

static char folder[64];

static void enter(void)
{
	strcpy(folder, "/tmp/ds-unit.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
}

static int entries(void)
{
	DIR *dir = opendir(".");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static void leave(void)
{
	char command[128];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static void put(const char *path, const char *text)
{
	struct ds_err err;
	struct ds_out out;

	ck_assert_int_eq(ds_out_open(&out, path, &err), DS_OK);
	ck_assert_int_eq(ds_out_write(&out, text, strlen(text), &err), DS_OK);
	ck_assert_int_eq(ds_out_commit(&out, &err), DS_OK);
}

static void expect(const char *path, const char *text)
{
	struct ds_buf buf = {0};
	struct ds_err err;

	ck_assert_int_eq(ds_read_all(path, 1 << 20, &buf, &err), DS_OK);
	ck_assert_uint_eq(buf.len, strlen(text));
	ck_assert_mem_eq(buf.data, text, buf.len);
	ds_buf_fini(&buf);
}

START_TEST(test_out_is_whole_or_nothing)
{
	struct ds_err err;
	struct ds_out out;

	put("a", "old");
	ck_assert_int_eq(ds_out_open(&out, "a", &err), DS_OK);
	ck_assert_int_eq(ds_out_write(&out, "new", 3, &err), DS_OK);
	ck_assert_int_eq(ds_out_flush(&out, &err), DS_OK);
	expect("a", "old");
	ds_out_abort(&out);
	ds_out_abort(&out);
	expect("a", "old");
	ck_assert_int_eq(entries(), 1);
	put("a", "new");
	expect("a", "new");
	ck_assert_int_eq(entries(), 1);
}
END_TEST

START_TEST(test_out_signal_removes_temporary)
{
	struct ds_err err;
	struct ds_out out;

	ck_assert_int_eq(ds_out_open(&out, "a", &err), DS_OK);
	ck_assert_int_eq(entries(), 1);
	ds_out_unlink_all();
	ck_assert_int_eq(entries(), 0);
	ds_out_abort(&out);
}
END_TEST

START_TEST(test_out_mode_follows_umask)
{
	struct stat st;

	umask(027);
	put("a", "x");
	ck_assert_int_eq(stat("a", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(chmod("a", 0604), 0);
	put("a", "y");
	ck_assert_int_eq(stat("a", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0604);
}
END_TEST

START_TEST(test_out_patch_and_large)
{
	static char block[100000];
	struct ds_err err;
	struct ds_out out;
	struct ds_map map;

	memset(block, 'b', sizeof block);
	ck_assert_int_eq(ds_out_open(&out, "a", &err), DS_OK);
	for (int i = 0; i < 7; i++) {
		ck_assert_int_eq(ds_out_write(&out, "head", 4, &err), DS_OK);
		ck_assert_int_eq(ds_out_write(&out, block, sizeof block, &err), DS_OK);
	}
	ck_assert_int_eq(ds_out_patch(&out, 2, "XX", 2, &err), DS_OK);
	ck_assert_uint_eq(out.written, 7 * 100004);
	ck_assert_int_eq(ds_out_commit(&out, &err), DS_OK);
	ck_assert_int_eq(ds_map_open(&map, "a", &err), DS_OK);
	ck_assert_uint_eq(map.len, 7 * 100004);
	ck_assert_mem_eq(map.data, "heXXbb", 6);
	ck_assert_mem_eq(map.data + 100002, "bbheadbb", 8);
	ds_map_close(&map);
}
END_TEST

START_TEST(test_out_errors)
{
	static char block[70000];
	struct ds_err err;
	struct ds_out out;

	ck_assert_int_eq(ds_out_open(&out, ".", &err), DS_EIO);
	ck_assert_int_eq(ds_out_open(&out, "no/such", &err), DS_EIO);
	ck_assert_str_eq(err.path, "no/such");
	ck_assert_int_eq(ds_out_open(&out, "/dev/full", &err), DS_OK);
	ck_assert_int_eq(ds_out_write(&out, block, sizeof block, &err), DS_EIO);
	ds_out_abort(&out);
}
END_TEST

START_TEST(test_in_peek_and_read)
{
	struct ds_err err;
	struct ds_in in;
	const uint8_t *p;
	char bytes[8];
	size_t got;

	put("a", "hello world");
	ck_assert_int_eq(ds_in_open(&in, "a", &err), DS_OK);
	ck_assert_int_eq(ds_in_peek(&in, 5, &p, &got, &err), DS_OK);
	ck_assert_uint_eq(got, 5);
	ck_assert_mem_eq(p, "hello", 5);
	ck_assert_int_eq(ds_in_read(&in, bytes, 3, &got, &err), DS_OK);
	ck_assert_uint_eq(got, 3);
	ck_assert_int_eq(ds_in_peek(&in, 100, &p, &got, &err), DS_OK);
	ck_assert_uint_eq(got, 8);
	ck_assert_mem_eq(p, "lo world", 8);
	ck_assert_int_eq(ds_in_read(&in, bytes, 8, &got, &err), DS_OK);
	ck_assert_uint_eq(got, 8);
	ck_assert_uint_eq(in.offset, 11);
	ck_assert_int_eq(ds_in_read(&in, bytes, 8, &got, &err), DS_OK);
	ck_assert_uint_eq(got, 0);
	ds_in_close(&in);
	ck_assert_int_eq(ds_in_open(&in, ".", &err), DS_EIO);
	ck_assert_int_eq(ds_in_open(&in, "missing", &err), DS_EIO);
}
END_TEST

START_TEST(test_limits_and_maps)
{
	struct ds_buf buf = {0};
	struct ds_err err;
	struct ds_map map;

	put("a", "hello");
	put("empty", "");
	ck_assert_int_eq(ds_read_all("a", 4, &buf, &err), DS_ELIMIT);
	ds_buf_fini(&buf);
	ck_assert_int_eq(ds_map_open(&map, "empty", &err), DS_OK);
	ck_assert_uint_eq(map.len, 0);
	ds_map_close(&map);
	ck_assert_int_eq(ds_map_open(&map, "/dev/null", &err), DS_EIO);
}
END_TEST

START_TEST(test_spill)
{
	struct ds_err err;
	char bytes[4];
	int fd;

	ck_assert_int_eq(ds_spill_open(&fd, &err), DS_OK);
	ck_assert_int_eq(ds_pwrite_all(fd, "abcd", 4, 10, &err), DS_OK);
	ck_assert_int_eq(ds_pread_all(fd, bytes, 4, 10, &err), DS_OK);
	ck_assert_mem_eq(bytes, "abcd", 4);
	ck_assert_int_eq(ds_pread_all(fd, bytes, 4, 11, &err), DS_ETRUNCATED);
	close(fd);
}
END_TEST

struct tally {
	atomic_int seen[1000];
	atomic_int threads;
};

static void count_item(void *arg, size_t index, unsigned thread)
{
	struct tally *t = arg;

	atomic_fetch_add(&t->seen[index], 1);
	atomic_fetch_or(&t->threads, 1 << thread);
}

START_TEST(test_pool)
{
	static const unsigned threads[] = {1, 2, 3, 8};
	struct tally *t = calloc(1, sizeof *t);
	struct ds_pool *pool;
	struct ds_err err;

	ck_assert_int_eq(ds_pool_new(&pool, threads[_i], &err), DS_OK);
	ck_assert_uint_eq(ds_pool_threads(pool), threads[_i]);
	for (int round = 0; round < 200; round++)
		ds_pool_run(pool, (size_t)round * 5, count_item, t);
	ds_pool_run(NULL, 3, count_item, t);
	for (int i = 0; i < 995; i++)
		ck_assert_int_eq(t->seen[i], 199 - i / 5 + (i < 3));
	ck_assert_int_eq(atomic_load(&t->threads) >> threads[_i], 0);
	ds_pool_free(pool);
	ck_assert_int_eq(ds_pool_new(&pool, 1000, &err), DS_EINVAL);
	free(t);
}
END_TEST

static void slow_item(void *arg, size_t index, unsigned thread)
{
	if (index % 5 == 0)
		usleep(300);
	count_item(arg, index, thread);
}

/* Workers and caller long since parked are woken, and a parked pool takes no CPU. */
START_TEST(test_pool_parks)
{
	struct tally *t = calloc(1, sizeof *t);
	struct ds_pool *pool;
	struct ds_err err;
	clock_t before;

	ck_assert_int_eq(ds_pool_new(&pool, 3, &err), DS_OK);
	for (int round = 0; round < 20; round++) {
		ds_pool_run(pool, 10, round % 2 ? slow_item : count_item, t);
		usleep(1000);
	}
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(t->seen[i], 20);
	before = clock();
	usleep(50000);
	ck_assert_int_lt(clock() - before, CLOCKS_PER_SEC / 100);
	ds_pool_free(pool);
	free(t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base_io");
	TCase *tc = tcase_create("files"), *pool = tcase_create("pool");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, enter, leave);
	tcase_add_test(tc, test_out_is_whole_or_nothing);
	tcase_add_test(tc, test_out_signal_removes_temporary);
	tcase_add_test(tc, test_out_mode_follows_umask);
	tcase_add_test(tc, test_out_patch_and_large);
	tcase_add_test(tc, test_out_errors);
	tcase_add_test(tc, test_in_peek_and_read);
	tcase_add_test(tc, test_limits_and_maps);
	tcase_add_test(tc, test_spill);
	tcase_add_loop_test(pool, test_pool, 0, 4);
	tcase_add_test(pool, test_pool_parks);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, pool);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
