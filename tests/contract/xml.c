/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xml.c - a parser for the XML of malloc_info that recurses by element and keeps no tree. */
#include "xml.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* Each function takes a cursor, and moves past what it read or returns false. */

static void skip_blanks(const char **cursor)
{
    while (isspace((unsigned char)**cursor)) {
        ++*cursor;
    }
}

static bool read_string(const char **cursor, const char *expected)
{
    size_t length = strlen(expected);

    if (strncmp(*cursor, expected, length) != 0) {
        return false;
    }
    *cursor += length;
    return true;
}

static size_t name_length(const char *text)
{
    size_t length = 0;

    while (isalnum((unsigned char)text[length]) || text[length] == '_' ||
           (length > 0 && text[length] == '-')) {
        length++;
    }
    return isdigit((unsigned char)text[0]) ? 0 : length;
}

static bool read_attribute(const char **cursor)
{
    size_t length = name_length(*cursor);

    *cursor += length;
    if (length == 0 || !read_string(cursor, "=\"")) {
        return false;
    }
    *cursor += strcspn(*cursor, "\"<&");
    return read_string(cursor, "\"");
}

static bool read_attributes(const char **cursor)
{
    while (isspace((unsigned char)**cursor)) {
        skip_blanks(cursor);
        if (**cursor == '/' || **cursor == '>') {
            return true;
        }
        if (!read_attribute(cursor)) {
            return false;
        }
    }
    return true;
}

static bool read_end_tag(const char **cursor, const char *name, size_t length)
{
    if (!read_string(cursor, "</") || strncmp(*cursor, name, length) != 0) {
        return false;
    }
    *cursor += length;
    skip_blanks(cursor);
    return read_string(cursor, ">");
}

static bool read_element(const char **cursor)
{
    const char *name = *cursor + 1;
    size_t length = **cursor == '<' ? name_length(name) : 0;

    if (length == 0) {
        return false;
    }
    *cursor = name + length;
    if (!read_attributes(cursor)) {
        return false;
    }
    if (read_string(cursor, "/>")) {
        return true;
    }
    if (!read_string(cursor, ">")) {
        return false;
    }
    for (;;) {
        *cursor += strcspn(*cursor, "<&");
        if (strncmp(*cursor, "</", 2) == 0) {
            return read_end_tag(cursor, name, length);
        }
        if (!read_element(cursor)) {
            return false;
        }
    }
}

bool xml_is_well_formed(const char *text, const char *root)
{
    size_t length = strlen(root);

    skip_blanks(&text);
    if (text[0] != '<' || name_length(text + 1) != length || strncmp(text + 1, root, length) != 0) {
        return false;
    }
    if (!read_element(&text)) {
        return false;
    }
    skip_blanks(&text);
    return *text == '\0';
}
