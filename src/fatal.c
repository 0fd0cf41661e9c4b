/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fatal.c - one line on standard error, then abort.
 *
 * Owns         what to do before the abort.
 * Concurrency  any thread, any state of the allocator, any locks held: it allocates nothing and
 *              takes no lock. The line leaves in one write, so lines of threads do not mix.
 * Called by    every layer.
 */
#include "fatal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINE_BYTES = 256, HEX_DIGITS = 2 * sizeof(uintptr_t), DELETE = 0x7f };

struct line {
    char text[LINE_BYTES];
    size_t length;
};

COLD static void line_append(struct line *line, const char *text)
{
    size_t room = LINE_BYTES - 1 - line->length;
    size_t length = strnlen(text, room);

    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void line_append_hex(struct line *line, uintptr_t value)
{
    char digits[HEX_DIGITS + 1];
    size_t first = HEX_DIGITS;

    digits[HEX_DIGITS] = '\0';
    do {
        digits[--first] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value != 0);
    line_append(line, "0x");
    line_append(line, digits + first);
}

/* The system call itself: write() is a cancellation point, and malloc must not be one. */
COLD static void line_write(struct line *line)
{
    /* What others wrote may hold a line's end, or what a terminal obeys. */
    for (size_t i = 0; i < line->length; i++) {
        if ((unsigned char)line->text[i] < ' ' || line->text[i] == DELETE) {
            line->text[i] = '?';
        }
    }
    line->text[line->length++] = '\n';
    (void)syscall(SYS_write, STDERR_FILENO, line->text, line->length);
}

static void (*on_stop)(void);

void fatal_on_stop(void (*act)(void))
{
    on_stop = act;
}

COLD _Noreturn static void stop(struct line *line)
{
    line_write(line);
    if (on_stop != NULL) {
        on_stop();
    }
    abort();
}

COLD void fatal(const char *fault)
{
    struct line line = {.length = 0};

    line_append(&line, "breakwater: ");
    line_append(&line, fault);
    stop(&line);
}

COLD void fatal_at(const char *fault, uintptr_t address)
{
    struct line line = {.length = 0};

    line_append(&line, "breakwater: ");
    line_append(&line, fault);
    line_append(&line, " ");
    line_append_hex(&line, address);
    stop(&line);
}

COLD void warn_line(const char *const parts[])
{
    struct line line = {.length = 0};

    line_append(&line, "breakwater: ");
    for (; *parts != NULL; parts++) {
        line_append(&line, *parts);
    }
    line_write(&line);
}
