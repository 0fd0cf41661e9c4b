/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_cgroup.c - numbers in files of control groups, and what is said where there are none. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
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
        ISOLATED(the_groups_leave_the_process_some_memory),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
