/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_cgroup.c - numbers in files of control groups, and what is said where there are none. */
#include "support.h"

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
}

static uint64_t seven(const char *text)
{
    (void)text;
    return 7;
}

static void a_file_that_no_group_has_limits_nothing(void **state)
{
    (void)state;
    assert_true(cgroup_least("no.such.file", seven) == UINT64_MAX);
}

static void a_file_is_read_up_to_its_size(void **state)
{
    char text[CGROUP_FILE_BYTES];
    char path[] = "/tmp/breakwater-cgroup-XXXXXX";
    char line[2 * CGROUP_FILE_BYTES];
    int file = mkstemp(path);

    (void)state;
    assert_true(file >= 0);
    memset(line, '9', sizeof(line));
    assert_false(cgroup_read_file(path, text));
    assert_int_equal(write(file, line, 3), 3);
    assert_true(cgroup_read_file(path, text));
    assert_string_equal(text, "999");
    assert_int_equal(write(file, line, sizeof(line)), (ssize_t)sizeof(line));
    assert_true(cgroup_read_file(path, text));
    assert_int_equal(strlen(text), CGROUP_FILE_BYTES - 1);
    (void)close(file);
    (void)unlink(path);
    assert_false(cgroup_read_file(path, text));
}

static void write_limit(const char *directory, const char *text)
{
    char path[PATH_MAX];
    FILE *file;

    (void)stpcpy(stpcpy(path, directory), "/a.limit");
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static uint64_t number(const char *text)
{
    uint64_t value;

    return cgroup_parse_number(text, &value) != text ? value : UINT64_MAX;
}

static uint64_t least_of(const char *root, const char *group)
{
    char path[CGROUP_FILE_BYTES];

    (void)stpcpy(path, group);
    return cgroup_least_under(root, path, "a.limit", number);
}

/* In a container the root is the container's group, and has the limits. */
static void of_a_group_and_all_above_it_the_least_limit_counts(void **state)
{
    char root[] = "/tmp/breakwater-cgroup-XXXXXX";
    char outer[PATH_MAX];
    char inner[PATH_MAX];

    (void)state;
    assert_non_null(mkdtemp(root));
    (void)stpcpy(stpcpy(outer, root), "/outer");
    (void)stpcpy(stpcpy(inner, outer), "/inner");
    assert_int_equal(mkdir(outer, S_IRWXU), 0);
    assert_int_equal(mkdir(inner, S_IRWXU), 0);
    assert_true(least_of(root, "/outer/inner") == UINT64_MAX);
    write_limit(inner, "max\n");
    assert_true(least_of(root, "/outer/inner") == UINT64_MAX);
    write_limit(root, "500\n");
    assert_int_equal(least_of(root, "/outer/inner"), 500);
    assert_int_equal(least_of(root, "/outer"), 500);
    assert_int_equal(least_of(root, "/"), 500);
    write_limit(outer, "300\n");
    assert_int_equal(least_of(root, "/outer/inner"), 300);
    write_limit(inner, "400\n");
    assert_int_equal(least_of(root, "/outer/inner"), 300);
    assert_int_equal(least_of(root, "/other"), 500);
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
        ISOLATED(a_file_that_no_group_has_limits_nothing),
        ISOLATED(a_file_is_read_up_to_its_size),
        ISOLATED(of_a_group_and_all_above_it_the_least_limit_counts),
        ISOLATED(the_groups_leave_the_process_some_memory),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
