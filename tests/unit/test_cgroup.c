/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_cgroup.c - numbers in files of control groups, the groups of a process, and their limits. */
#include "support.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"

static void a_number_ends_where_its_digits_do(void **state)
{
    uint64_t number;
    const char *text = "1048576 100000\n";

    (void)state;
    assert_ptr_equal(cgroup_parse_number(text, &number), text + 7);
    assert_int_equal(number, 1048576);
    text = "max";
    assert_ptr_equal(cgroup_parse_number(text, &number), text);
    assert_int_equal(number, 0);
    text = "18446744073709551615";
    assert_ptr_equal(cgroup_parse_number(text, &number), text + 20);
    assert_true(number == UINT64_MAX);
}

static void a_number_beyond_64_bits_is_the_largest(void **state)
{
    static const char *const texts[] = {"18446744073709551616", "18446744073709551620",
                                        "184467440737095516150", "99999999999999999999999"};
    uint64_t number;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_int_equal(*cgroup_parse_number(texts[i], &number), '\0');
        assert_true(number == UINT64_MAX);
    }
}

static bool has_path(const char *groups, const char *controller, const char *expected)
{
    char path[CGROUP_PATH_BYTES];

    return cgroup_path(groups, controller, path) && strcmp(path, expected) == 0;
}

static void each_controller_has_its_group(void **state)
{
    static const char hybrid[] = "12:pids:/\n5:cpuset:/a\n4:cpu,cpuacct:/b c:d\n"
                                 "3:memory:/e\n1:name=systemd:/f\n0::/g\n";
    char path[CGROUP_PATH_BYTES];

    (void)state;
    assert_true(has_path("0::/\n", "", "/"));
    assert_true(has_path(hybrid, "", "/g"));
    assert_true(has_path(hybrid, "cpu", "/b c:d"));
    assert_true(has_path(hybrid, "cpuacct", "/b c:d"));
    assert_true(has_path(hybrid, "memory", "/e"));
    assert_false(cgroup_path(hybrid, "io", path));
    assert_false(cgroup_path("0::/\n", "memory", path));
    assert_false(cgroup_path("", "", path));
    assert_false(cgroup_path("garbage\n0:", "", path));
}

/* Half a path is another group's. */
static void a_path_that_is_cut_off_or_too_long_is_none(void **state)
{
    char groups[2 * CGROUP_PATH_BYTES] = "1:cpu:/";
    char path[CGROUP_PATH_BYTES];
    size_t start = strlen(groups);

    (void)state;
    assert_false(cgroup_path("3:memory:/docker/0123", "memory", path));
    memset(groups + start, 'x', CGROUP_PATH_BYTES - 2);
    (void)stpcpy(groups + start + CGROUP_PATH_BYTES - 2, "\n0::/g\n");
    assert_true(cgroup_path(groups, "cpu", path));
    assert_int_equal(strlen(path), CGROUP_PATH_BYTES - 1);
    (void)stpcpy(groups + start + CGROUP_PATH_BYTES - 2, "x\n0::/g\n");
    assert_false(cgroup_path(groups, "cpu", path));
    assert_true(has_path(groups, "", "/g"));
}

/* Of a directory with files, where what a test makes of it goes again. */
static char root[] = "/tmp/breakwater-cgroup-XXXXXX";

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *position)
{
    (void)status;
    (void)type;
    (void)position;
    return remove(path);
}

static void remove_root(void)
{
    assert_int_equal(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void a_file_is_read_up_to_its_size(void **state)
{
    char text[CGROUP_FILE_BYTES];
    char line[2 * CGROUP_FILE_BYTES];
    int directory;

    (void)state;
    assert_non_null(mkdtemp(root));
    directory = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(directory >= 0);
    assert_false(cgroup_read_file(directory, "a.limit", text));
    write_file(root, "a.limit", "");
    assert_false(cgroup_read_file(directory, "a.limit", text));
    write_file(root, "a.limit", "999");
    assert_true(cgroup_read_file(directory, "a.limit", text));
    assert_string_equal(text, "999");
    assert_int_equal(cgroup_read_number(directory, "a.limit"), 999);
    memset(line, '9', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    write_file(root, "a.limit", line);
    assert_true(cgroup_read_file(directory, "a.limit", text));
    assert_int_equal(strlen(text), CGROUP_FILE_BYTES - 1);
    write_file(root, "a.limit", "max\n");
    assert_true(cgroup_read_number(directory, "a.limit") == UINT64_MAX);
    (void)close(directory);
    remove_root();
}

static uint64_t limit_of(int directory)
{
    return cgroup_read_number(directory, "a.limit");
}

static uint64_t least_of(const char *group)
{
    return cgroup_least_under(root, group, limit_of);
}

/* In a container the root is the container's group, and has the limits. */
static void of_a_group_and_all_above_it_the_least_limit_counts(void **state)
{
    char outer[PATH_MAX];
    char inner[PATH_MAX];

    (void)state;
    assert_non_null(mkdtemp(root));
    (void)stpcpy(stpcpy(outer, root), "/outer");
    (void)stpcpy(stpcpy(inner, outer), "/inner");
    assert_int_equal(mkdir(outer, S_IRWXU), 0);
    assert_int_equal(mkdir(inner, S_IRWXU), 0);
    assert_true(least_of("/outer/inner") == UINT64_MAX);
    write_file(inner, "a.limit", "max\n");
    assert_true(least_of("/outer/inner") == UINT64_MAX);
    write_file(root, "a.limit", "500\n");
    assert_int_equal(least_of("/outer/inner"), 500);
    assert_int_equal(least_of("/outer"), 500);
    assert_int_equal(least_of("/"), 500);
    write_file(outer, "a.limit", "300\n");
    assert_int_equal(least_of("/outer/inner"), 300);
    write_file(inner, "a.limit", "400\n");
    assert_int_equal(least_of("/outer/inner"), 300);
    assert_int_equal(least_of("/other"), 500);
    remove_root();
}

static uint64_t none_of(int directory)
{
    (void)directory;
    return UINT64_MAX;
}

static uint64_t seven_of(int directory)
{
    (void)directory;
    return 7;
}

static void every_process_is_in_a_group(void **state)
{
    (void)state;
    assert_true(cgroup_least("memory", none_of) == UINT64_MAX);
    assert_int_equal(cgroup_least("memory", seven_of), 7);
}

static void a_group_of_either_version_limits_memory(void **state)
{
    int directory;

    (void)state;
    assert_non_null(mkdtemp(root));
    directory = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(directory >= 0);
    assert_true(cgroup_memory_of_one(directory) == UINT64_MAX);
    write_file(root, "memory.max", "max\n");
    assert_true(cgroup_memory_of_one(directory) == UINT64_MAX);
    write_file(root, "memory.max", "1000000\n");
    assert_int_equal(cgroup_memory_of_one(directory), 1000000);
    assert_int_equal(unlinkat(directory, "memory.max", 0), 0);
    write_file(root, "memory.limit_in_bytes", "2000000\n");
    assert_int_equal(cgroup_memory_of_one(directory), 2000000);
    (void)close(directory);
    remove_root();
}

static void the_groups_leave_the_process_some_memory(void **state)
{
    (void)state;
    assert_true(cgroup_memory_bytes() > 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_number_ends_where_its_digits_do),
        ISOLATED(a_number_beyond_64_bits_is_the_largest),
        ISOLATED(each_controller_has_its_group),
        ISOLATED(a_path_that_is_cut_off_or_too_long_is_none),
        ISOLATED(a_file_is_read_up_to_its_size),
        ISOLATED(of_a_group_and_all_above_it_the_least_limit_counts),
        ISOLATED(every_process_is_in_a_group),
        ISOLATED(a_group_of_either_version_limits_memory),
        ISOLATED(the_groups_leave_the_process_some_memory),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
