/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* conf.c - reading BREAKWATER_CONF.
 *
 * Owns         conf.
 * Concurrency  written under the life lock or by the library's constructor, before threads look.
 */
#include "conf.h"

#include <stdlib.h>
#include <string.h>

enum {
    TEXT_BYTES_MAX = 1024,
    TOKEN_BYTES_MAX = 64,
    ARENAS_LIMIT = 64,
    DECIMAL = 10,
    DECAY_MS_DEFAULT = 1000,
    DECAY_MS_LIMIT = 1000000000
};

struct conf conf = {.decay_ms = DECAY_MS_DEFAULT};

struct token {
    char text[TOKEN_BYTES_MAX];
};

static void warn(const char *fault, const char *about)
{
    warn_line((const char *const[]){"BREAKWATER_CONF: ", fault, " '", about, "', ignored", NULL});
}

static bool parse_bool(const char *value, bool *out)
{
    if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
        *out = value[0] == 't';
        return true;
    }
    return false;
}

static bool parse_count(const char *value, uint32_t most, uint32_t *out)
{
    uint32_t number = 0;

    if (*value == '\0') {
        return false;
    }
    for (; *value != '\0'; value++) {
        if (*value < '0' || *value > '9') {
            return false;
        }
        number = number * DECIMAL + (uint32_t)(*value - '0');
        if (number > most) {
            return false;
        }
    }
    *out = number;
    return true;
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
    } else if (strcmp(key, "decay_ms") == 0) {
        valid = parse_count(value, DECAY_MS_LIMIT, &conf.decay_ms);
    } else if (strcmp(key, "arenas") == 0) {
        valid = parse_count(value, ARENAS_LIMIT, &conf.arenas);
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

void conf_parse(const char *text)
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
}

void conf_load(void)
{
    const char *text = secure_getenv("BREAKWATER_CONF");

    if (text != NULL) {
        conf_parse(text);
    }
}
