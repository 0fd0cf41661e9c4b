/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_fatal.c - a fault is one line, written at once, and then the process is aborted. */
#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fatal.h"

enum { LINE_BYTES = 256 };

static void stop(void *fault)
{
    fatal((const char *)fault);
}

static void stop_at(void *address)
{
    fatal_at("invalid free of", (uintptr_t)address);
}

static void warn(void *parts)
{
    warn_line((const char *const *)parts);
}

static void a_fault_is_one_line_and_an_abort(void **state)
{
    char fault[] = "something is wrong";

    (void)state;
    assert_dies(stop, fault, "something is wrong");
}

static void an_address_is_written_in_hexadecimal(void **state)
{
    static const uintptr_t addresses[] = {0, 1, 0xf, 0x10, 0x7fffdeadbeef, UINTPTR_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        assert_dies_at(stop_at, (void *)addresses[i], "invalid free of", addresses[i]);
    }
}

static void a_long_fault_is_cut_to_one_line(void **state)
{
    char fault[2 * LINE_BYTES];
    char cut[LINE_BYTES];

    (void)state;
    memset(fault, 'x', sizeof(fault) - 1);
    fault[sizeof(fault) - 1] = '\0';
    memset(cut, 'x', sizeof(cut));
    /* Prefix and newline are of the line. */
    cut[LINE_BYTES - strlen("breakwater: ") - 1] = '\0';
    assert_dies(stop, fault, cut);
}

static void a_warning_joins_its_parts_and_goes_on(void **state)
{
    const char *parts[] = {"one", ", ", "", "two", NULL};
    const char *none[] = {NULL};

    (void)state;
    assert_warns(warn, parts, "breakwater: one, two\n");
    assert_warns(warn, none, "breakwater: \n");
}

static void what_would_end_or_change_the_line_is_not_written(void **state)
{
    const char *parts[] = {"one\n", "\033[2J", "\x7f\xc3\xa9", NULL};

    (void)state;
    assert_warns(warn, parts, "breakwater: one??[2J?\xc3\xa9\n");
}

static void a_line_leaves_in_one_write(void **state)
{
    const char *parts[] = {"one", " two", " three", NULL};
    char line[LINE_BYTES];
    int pipe_ends[2];
    int saved = dup(STDERR_FILENO);

    (void)state;
    /* In packet mode a read returns what one write wrote. */
    assert_int_equal(pipe2(pipe_ends, O_DIRECT | O_CLOEXEC), 0);
    (void)dup2(pipe_ends[1], STDERR_FILENO);
    warn_line(parts);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    ssize_t length = read(pipe_ends[0], line, sizeof(line) - 1);

    assert_true(length > 0);
    line[length] = '\0';
    assert_string_equal(line, "breakwater: one two three\n");
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_fault_is_one_line_and_an_abort),
        ISOLATED(an_address_is_written_in_hexadecimal),
        ISOLATED(a_long_fault_is_cut_to_one_line),
        ISOLATED(a_warning_joins_its_parts_and_goes_on),
        ISOLATED(what_would_end_or_change_the_line_is_not_written),
        ISOLATED(a_line_leaves_in_one_write),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
