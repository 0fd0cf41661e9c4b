/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_conf.c - good options are taken, bad ones are named once and change nothing. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "os.h"

static void parse(void *text)
{
    conf_parse((const char *)text);
}

static void load(void *unused)
{
    (void)unused;
    conf_load();
}

/* conf_parse() of `text` writes `warnings`. */
static void assert_parse_warns(const char *text, const char *warnings)
{
    assert_warns(parse, (void *)(uintptr_t)text, warnings);
}

static void assert_conf(bool stats_print, bool checked, uint32_t arenas)
{
    assert_int_equal(conf.stats_print, stats_print);
    assert_int_equal(conf.checked, checked);
    assert_int_equal(conf.arenas, arenas);
}

static void everything_is_off_by_default(void **state)
{
    (void)state;
    assert_conf(false, false, 0);
}

static void every_key_is_read_and_nothing_is_said(void **state)
{
    (void)state;
    assert_parse_warns("checked:true,arenas:12,stats_print:true", "");
    assert_conf(true, true, 12);
    assert_parse_warns("checked:false,stats_print:false,arenas:0", "");
    assert_conf(false, false, 0);
    assert_parse_warns("process_madvise:true", "");
    assert_true(conf.process_madvise);
    assert_parse_warns("process_madvise:false", "");
    assert_false(conf.process_madvise);
}

static void limits_are_bytes_with_a_unit_or_a_percentage(void **state)
{
    (void)state;
    assert_parse_warns("soft_limit:1000,hard_limit:3G", "");
    assert_int_equal(conf.soft_limit, 1000);
    assert_int_equal(conf.hard_limit, UINT64_C(3) << 30);
    assert_parse_warns("soft_limit:7K,hard_limit:5M", "");
    assert_int_equal(conf.soft_limit, 7 * 1024);
    assert_int_equal(conf.hard_limit, 5 * 1024 * 1024);
    assert_parse_warns("soft_limit:50%,hard_limit:100%", "");
    assert_in_range(conf.hard_limit, 1, os_memory_bytes());
    assert_in_range(conf.soft_limit, conf.hard_limit / 2 - 100, conf.hard_limit / 2 + 100);
    assert_int_equal(conf.cache_limit, CACHE_LIMIT_AUTO);
    assert_parse_warns("cache_limit:30K", "");
    assert_int_equal(conf.cache_limit, 30 * 1024);
    assert_parse_warns("cache_limit:auto", "");
    assert_int_equal(conf.cache_limit, CACHE_LIMIT_AUTO);
    assert_parse_warns("soft_limit:0,hard_limit:0", "");
    assert_int_equal(conf.soft_limit, 0);
    assert_int_equal(conf.hard_limit, 0);
}

static void a_soft_limit_above_the_hard_one_voids_both(void **state)
{
    (void)state;
    assert_parse_warns("soft_limit:2M,hard_limit:1M",
                       "breakwater: BREAKWATER_CONF: soft_limit is above hard_limit, both "
                       "ignored\n");
    assert_int_equal(conf.soft_limit, 0);
    assert_int_equal(conf.hard_limit, 0);
    assert_parse_warns("soft_limit:1M,hard_limit:1M", "");
    assert_int_equal(conf.soft_limit, 1024 * 1024);
    assert_int_equal(conf.hard_limit, 1024 * 1024);
}

static void the_largest_values_are_read(void **state)
{
    (void)state;
    assert_parse_warns("arenas:64,decay_ms:1000000000", "");
    assert_int_equal(conf.arenas, 64);
    assert_int_equal(conf.decay_ms, 1000000000);
    assert_parse_warns("cache_limit:9223372036854775807,hard_limit:8589934591G", "");
    assert_int_equal(conf.cache_limit, PTRDIFF_MAX);
    assert_int_equal(conf.hard_limit, UINT64_C(8589934591) << 30);
    assert_parse_warns("hard_limit:0000000000000000000001K", "");
    assert_int_equal(conf.hard_limit, 1024);
}

static void huge_pages_are_asked_for_by_name(void **state)
{
    (void)state;
    assert_int_equal(conf.thp, THP_AUTO);
    assert_parse_warns("thp:always", "");
    assert_int_equal(conf.thp, THP_ALWAYS);
    assert_parse_warns("thp:never", "");
    assert_int_equal(conf.thp, THP_NEVER);
    assert_parse_warns("thp:auto", "");
    assert_int_equal(conf.thp, THP_AUTO);
}

static void empty_text_and_empty_options_say_nothing(void **state)
{
    (void)state;
    assert_parse_warns("", "");
    assert_parse_warns(",,arenas:3,,", "");
    assert_conf(false, false, 3);
}

static void an_unknown_key_is_named_and_the_rest_is_read(void **state)
{
    (void)state;
    assert_parse_warns("colour:red,arenas:2",
                       "breakwater: BREAKWATER_CONF: unknown key in 'colour:red', ignored\n");
    assert_conf(false, false, 2);
}

static void a_key_must_match_whole(void **state)
{
    (void)state;
    assert_parse_warns("arena:2",
                       "breakwater: BREAKWATER_CONF: unknown key in 'arena:2', ignored\n");
    assert_parse_warns(":2", "breakwater: BREAKWATER_CONF: unknown key in ':2', ignored\n");
    assert_parse_warns("ARENAS:2",
                       "breakwater: BREAKWATER_CONF: unknown key in 'ARENAS:2', ignored\n");
    assert_conf(false, false, 0);
}

static void a_bad_value_is_named_and_the_default_stays(void **state)
{
    static const char *const bad[] = {
        "arenas:",
        "arenas:x",
        "arenas:-1",
        "arenas:1x",
        "arenas:65",
        "decay_ms:1000000001",
        "decay_ms:4294967296",
        "decay_ms:18446744073709551617",
        "checked:",
        "checked:yes",
        "checked:TRUE",
        "stats_print:truee",
        "stats_print:1",
        "arenas: 1",
        "arenas:1 ",
        "checked:t",
        "arenas:4294967297",
        "arenas:0x1",
        "arenas:1:2",
        "thp:",
        "thp:Always",
        "thp:alway",
        "hard_limit:",
        "hard_limit:%",
        "hard_limit:0%",
        "hard_limit:101%",
        "hard_limit:1T",
        "hard_limit:1MM",
        "soft_limit:M",
        "soft_limit:1.5G",
        "soft_limit:-1",
        "soft_limit:9000000000G",
        "soft_limit:9223372036854775808",
        "hard_limit:99999999999999999999999999",
        "hard_limit:99999999999999999999999999%",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char warning[KIB] = "breakwater: BREAKWATER_CONF: bad value in '";

        (void)strcat(strcat(warning, bad[i]), "', ignored\n");
        assert_parse_warns(bad[i], warning);
        assert_conf(false, false, 0);
    }
}

static void an_option_without_a_colon_is_named(void **state)
{
    (void)state;
    assert_parse_warns("checked", "breakwater: BREAKWATER_CONF: no ':' in 'checked', ignored\n");
    assert_conf(false, false, 0);
}

static void an_option_that_is_too_long_is_cut_in_the_warning(void **state)
{
    char text[65];
    char warning[KIB] = "breakwater: BREAKWATER_CONF: option too long: '";

    (void)state;
    memset(text, 'k', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    (void)strcat(strncat(warning, text, 63), "', ignored\n");
    assert_parse_warns(text, warning);
}

static void a_text_of_a_kilobyte_is_ignored_as_a_whole(void **state)
{
    char text[KIB + 1];

    (void)state;
    memset(text, ',', sizeof(text));
    memcpy(text, "arenas:9", strlen("arenas:9"));
    text[KIB] = '\0';
    assert_parse_warns(text, "breakwater: BREAKWATER_CONF: over 1023 bytes long, ignored\n");
    assert_conf(false, false, 0);
    text[KIB - 1] = '\0';
    assert_parse_warns(text, "");
    assert_conf(false, false, 9);
}

static void the_last_of_two_values_counts(void **state)
{
    (void)state;
    assert_parse_warns("arenas:4,arenas:5", "");
    assert_conf(false, false, 5);
}

static void the_environment_is_read(void **state)
{
    (void)state;
    assert_int_equal(setenv("BREAKWATER_CONF", "arenas:7", 1), 0);
    assert_warns(load, NULL, "");
    assert_conf(false, false, 7);
}

static void no_variable_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("BREAKWATER_CONF"), 0);
    assert_warns(load, NULL, "");
    assert_conf(false, false, 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(everything_is_off_by_default),
        ISOLATED(every_key_is_read_and_nothing_is_said),
        ISOLATED(limits_are_bytes_with_a_unit_or_a_percentage),
        ISOLATED(a_soft_limit_above_the_hard_one_voids_both),
        ISOLATED(the_largest_values_are_read),
        ISOLATED(huge_pages_are_asked_for_by_name),
        ISOLATED(empty_text_and_empty_options_say_nothing),
        ISOLATED(an_unknown_key_is_named_and_the_rest_is_read),
        ISOLATED(a_key_must_match_whole),
        ISOLATED(a_bad_value_is_named_and_the_default_stays),
        ISOLATED(an_option_without_a_colon_is_named),
        ISOLATED(an_option_that_is_too_long_is_cut_in_the_warning),
        ISOLATED(a_text_of_a_kilobyte_is_ignored_as_a_whole),
        ISOLATED(the_last_of_two_values_counts),
        ISOLATED(the_environment_is_read),
        ISOLATED(no_variable_changes_nothing),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
