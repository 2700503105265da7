/* test_archive_extract.c - names that lead out of the folder, links in the way */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/archive.h"
#include "archive/extract.h"

static char folder[64];

/* An archive in the folder whose only document has this name. */
static struct ds_archive *archive_of(const char *name)
{
	static const struct ds_archive_options plain = {.level = 1, .block_bytes = 16384};
	struct ds_document d = {.name = name, .name_len = strlen(name), .mode = 0600};
	struct ds_archive_writer *w;
	struct ds_archive *a;
	struct ds_err err;

	ck_assert_int_eq(ds_archive_create(&w, "a.dsz", &plain, &err), DS_OK);
	ck_assert_int_eq(ds_archive_document(w, &d, &err), DS_OK);
	ck_assert_int_eq(ds_archive_bytes(w, "x", 1, &err), DS_OK);
	ck_assert_int_eq(ds_archive_document_end(w, NULL, &err), DS_OK);
	ck_assert_int_eq(ds_archive_commit(w, NULL, &err), DS_OK);
	ck_assert_msg(ds_archive_open(&a, "a.dsz", NULL, &err) == DS_OK, "%s", err.message);
	return a;
}

static enum ds_status extract(const char *name, int replace, struct ds_err *err)
{
	struct ds_archive *a = archive_of(name);
	struct ds_extract x;
	enum ds_status st;

	ck_assert_int_eq(ds_extract_open(&x, "below", replace, err), DS_OK);
	st = ds_extract_member(&x, a, 0, err);
	ds_extract_close(&x);
	ds_archive_close(a);
	return st;
}

static void setup(void)
{
	strcpy(folder, "/tmp/test_archive_extract.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
	ck_assert_int_eq(mkdir("below", 0700), 0);
	ck_assert_int_eq(mkdir("outside", 0700), 0);
}

static void teardown(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(system("rm -rf /tmp/test_archive_extract.??????"), 0);
}

START_TEST(test_hostile_names_are_refused)
{
	static const char *const name[] = {
		"",    "/x",   "../x",	"a/../x", "a/../../x", "..",   ".",
		"./x", "a//x", "a/./x", "a/",	  "/",	       "a/..", "outside/../../outside/x",
	};

	for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
		struct ds_err err;

		ck_assert_msg(extract(name[i], 1, &err) == DS_EINVAL, "'%s'", name[i]);
		ck_assert(err.message[0]);
	}
	ck_assert_int_ne(access("x", F_OK), 0);
	ck_assert_int_ne(access("outside/x", F_OK), 0);
	ck_assert_int_eq(rmdir("below"), 0); /* nothing was made in it */
}
END_TEST

START_TEST(test_names_of_any_bytes_are_files)
{
	static const char *const name[] = {"a b", "-rf", "a/b/c", "..x/y", "\377\n", "below/x"};

	for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
		char path[64] = "below/";
		struct stat st;
		struct ds_err err;

		ck_assert_msg(extract(name[i], 0, &err) == DS_OK, "%s", err.message);
		ck_assert_int_eq(stat(strcat(path, name[i]), &st), 0);
		ck_assert_uint_eq(st.st_mode & 07777, 0600);
		ck_assert_int_eq(extract(name[i], 0, &err), DS_EIO);
		ck_assert_str_eq(err.message, "is there already; -f replaces it");
		ck_assert_int_eq(extract(name[i], 1, &err), DS_OK);
	}
}
END_TEST

START_TEST(test_links_are_not_followed)
{
	struct ds_err err;

	ck_assert_int_eq(symlink("../outside", "below/out"), 0);
	ck_assert_int_eq(symlink("../outside/y", "below/y"), 0);
	ck_assert_int_eq(extract("out/x", 1, &err), DS_EIO);
	ck_assert_int_eq(extract("y", 0, &err), DS_EIO);
	ck_assert_int_eq(extract("y", 1, &err), DS_OK); /* the link itself is replaced */
	ck_assert_int_ne(access("outside/x", F_OK), 0);
	ck_assert_int_ne(access("outside/y", F_OK), 0);
}
END_TEST

START_TEST(test_paths_become_names)
{
	static const struct {
		const char *path, *name;
	} row[] = {
		{"a", "a"},	   {"/a/b", "a/b"},    {"./a", "a"},	   {"a/./b//c", "a/b/c"},
		{"../a", "a"},	   {"a/../b", "b"},    {"a/..", ""},	   {"//", ""},
		{"../../x/", "x"}, {"..a/b", "..a/b"}, {"a/...", "a/..."}, {"", ""},
	};

	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		char path[32];

		strcpy(path, row[i].path);
		ck_assert_uint_eq(ds_member_name(path), strlen(row[i].name));
		ck_assert_str_eq(path, row[i].name);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archive extraction");
	TCase *tc = tcase_create("archive extraction");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_hostile_names_are_refused);
	tcase_add_test(tc, test_names_of_any_bytes_are_files);
	tcase_add_test(tc, test_links_are_not_followed);
	tcase_add_test(tc, test_paths_become_names);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
