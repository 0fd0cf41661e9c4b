/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* conf.c - reading BREAKWATER_CONF.
 *
 * Owns         conf.
 * Concurrency  written under the life lock as the allocator starts, before threads look.
 * Called by    life.c.
 */
#include "conf.h"

#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "os.h"

enum {
    TEXT_BYTES_MAX = 1024,
    TOKEN_BYTES_MAX = 64,
    DECIMAL = 10,
    DECAY_MS_DEFAULT = 1000,
    DECAY_MS_LIMIT = 1000000000,
    PERCENT = 100,
    SUFFIX_SHIFT = 10,
};

struct conf conf = {.decay_ms = DECAY_MS_DEFAULT, .cache_limit = CACHE_LIMIT_AUTO};

struct token {
    char text[TOKEN_BYTES_MAX];
};

COLD static void warn(const char *fault, const char *about)
{
    warn_line((const char *const[]){"BREAKWATER_CONF: ", fault, " '", about, "', ignored", NULL});
}

COLD static bool parse_bool(const char *value, bool *out)
{
    if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
        *out = value[0] == 't';
        return true;
    }
    return false;
}

COLD static bool parse_count(const char *value, uint32_t most, uint32_t *out)
{
    uint64_t number = 0;

    if (*value == '\0') {
        return false;
    }
    for (; *value != '\0'; value++) {
        if (*value < '0' || *value > '9') {
            return false;
        }
        number = number * DECIMAL + (uint64_t)(*value - '0');
        if (number > most) {
            return false;
        }
    }
    *out = (uint32_t)number;
    return true;
}

static bool parse_thp(const char *value, enum thp *out)
{
    static const char *const names[] = {
        [THP_AUTO] = "auto", [THP_ALWAYS] = "always", [THP_NEVER] = "never"};

    for (unsigned thp = 0; thp < sizeof(names) / sizeof(names[0]); thp++) {
        if (strcmp(value, names[thp]) == 0) {
            *out = (enum thp)thp;
            return true;
        }
    }
    return false;
}

/* What a limit in percent is a part of: what the control groups allow, or the machine has. */
static uint64_t memory_bytes(void)
{
    uint64_t groups = cgroup_memory_bytes();
    uint64_t machine = os_memory_bytes();

    return groups < machine ? groups : machine;
}

/* A number of bytes, with K, M or G for units of 1024, or a percentage; 0 for none. */
COLD static bool parse_limit(const char *value, size_t *out)
{
    static const char suffixes[] = "KMG";
    uint64_t number;
    const char *rest = cgroup_parse_number(value, &number);
    const char *suffix = *rest != '\0' ? strchr(suffixes, *rest) : NULL;
    uint64_t unit = 1;

    if (rest == value) {
        return false;
    }
    bool is_percentage = *rest == '%' && number <= PERCENT;

    if (is_percentage) {
        unit = memory_bytes() / PERCENT;
        rest++;
    } else if (suffix != NULL) {
        unit <<= SUFFIX_SHIFT * (unsigned)(suffix - suffixes + 1);
        rest++;
    }
    if (*rest != '\0' || __builtin_mul_overflow(number, unit, &number) || number > PTRDIFF_MAX) {
        return false;
    }
    /* Of a group that leaves nothing, or 0%: not what stands for no limit. */
    if (is_percentage && number == 0) {
        return false;
    }
    *out = number;
    return true;
}

static bool parse_cache_limit(const char *value, size_t *out)
{
    if (strcmp(value, "auto") == 0) {
        *out = CACHE_LIMIT_AUTO;
        return true;
    }
    return parse_limit(value, out);
}

static void apply(const char *pair, const char *key, const char *value)
{
    bool known = true;
    bool valid = false;

    if (strcmp(key, "stats_print") == 0) {
        valid = parse_bool(value, &conf.stats_print);
    } else if (strcmp(key, "checked") == 0) {
        valid = parse_bool(value, &conf.checked);
    } else if (strcmp(key, "background_thread") == 0) {
        valid = parse_bool(value, &conf.background_thread);
    } else if (strcmp(key, "process_madvise") == 0) {
        valid = parse_bool(value, &conf.process_madvise);
    } else if (strcmp(key, "decay_ms") == 0) {
        valid = parse_count(value, DECAY_MS_LIMIT, &conf.decay_ms);
    } else if (strcmp(key, "arenas") == 0) {
        valid = parse_count(value, ARENAS_MAX, &conf.arenas);
    } else if (strcmp(key, "thp") == 0) {
        valid = parse_thp(value, &conf.thp);
    } else if (strcmp(key, "soft_limit") == 0) {
        valid = parse_limit(value, &conf.soft_limit);
    } else if (strcmp(key, "hard_limit") == 0) {
        valid = parse_limit(value, &conf.hard_limit);
    } else if (strcmp(key, "cache_limit") == 0) {
        valid = parse_cache_limit(value, &conf.cache_limit);
    } else {
        known = false;
    }
    if (!known) {
        warn("unknown key in", pair);
    } else if (!valid) {
        warn("bad value in", pair);
    }
}

static void apply_pair(const char *text, size_t length)
{
    struct token pair = {{0}};
    struct token key = {{0}};

    memcpy(pair.text, text, size_min(length, TOKEN_BYTES_MAX - 1));
    if (length >= TOKEN_BYTES_MAX) {
        warn("option too long:", pair.text);
        return;
    }
    const char *colon = strchr(pair.text, ':');

    if (colon == NULL) {
        warn("no ':' in", pair.text);
        return;
    }
    memcpy(key.text, pair.text, (size_t)(colon - pair.text));
    apply(pair.text, key.text, colon + 1);
}

COLD void conf_parse(const char *text)
{
    if (strnlen(text, TEXT_BYTES_MAX) == TEXT_BYTES_MAX) {
        warn_line((const char *const[]){"BREAKWATER_CONF: over 1023 bytes long, ignored", NULL});
        return;
    }
    while (*text != '\0') {
        size_t length = strcspn(text, ",");

        if (length > 0) {
            apply_pair(text, length);
        }
        text += length + (text[length] == ',');
    }
    if (conf.hard_limit != 0 && conf.soft_limit > conf.hard_limit) {
        warn_line((const char *const[]){
            "BREAKWATER_CONF: soft_limit is above hard_limit, both ignored", NULL});
        conf.soft_limit = 0;
        conf.hard_limit = 0;
    }
}

void conf_load(void)
{
    const char *text = secure_getenv("BREAKWATER_CONF");

    if (text != NULL) {
        conf_parse(text);
    }
}
