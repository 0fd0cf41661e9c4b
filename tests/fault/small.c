/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* small.c - what of the library a small process has resident.
 *
 * A few blocks from two threads, of sizes that small programs ask for. Asserts: of the library's
 * two segments of code, the one that only larger heaps need stays untouched (src/layout.ld).
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"

enum { ROUNDS = 1000, SMALLEST_BYTES = 16, SIZES = 60, MAPS_BYTES = 256 * 1024 };

static void *work(void *argument)
{
    void *blocks[SIZES] = {NULL};

    for (size_t i = 0; i < ROUNDS; i++) {
        size_t at = i % SIZES;

        free(blocks[at]);
        blocks[at] = malloc(at * SMALLEST_BYTES);
        CHECK(blocks[at] != NULL);
    }
    void *longer = realloc(calloc(1, SMALLEST_BYTES), SIZES);

    CHECK(longer != NULL);
    free(longer);
    for (size_t at = 0; at < SIZES; at++) {
        free(blocks[at]);
    }
    return argument;
}

/* All of a file, without stdio, which would touch more. */
static const char *read_all(const char *path)
{
    static char text[MAPS_BYTES];
    int file = open(path, O_RDONLY);
    size_t length = 0;
    ssize_t got = 0;

    CHECK(file >= 0);
    while ((got = read(file, text + length, sizeof(text) - 1 - length)) > 0) {
        length += (size_t)got;
    }
    CHECK(got == 0 && length < sizeof(text) - 1);
    (void)close(file);
    return text;
}

int main(void)
{
    enum { SEGMENTS = 2 };
    pthread_t id;
    unsigned long resident_kib[SEGMENTS] = {0};
    size_t segments = 0;

    CHECK(pthread_create(&id, NULL, work, NULL) == 0);
    CHECK(pthread_join(id, NULL) == 0);
    (void)work(NULL);

    const char *line = read_all("/proc/self/smaps");

    while ((line = strstr(line, " r-xp ")) != NULL) {
        const char *rss = strstr(line, "\nRss:");

        CHECK(rss != NULL);
        if (memmem(line, (size_t)(rss - line), "libbreakwater", strlen("libbreakwater")) != NULL) {
            CHECK(segments < SEGMENTS);
            resident_kib[segments++] = strtoul(rss + strlen("\nRss:"), NULL, 10);
        }
        line = rss;
    }
    printf("KiB of code resident: %lu and %lu\n", resident_kib[0], resident_kib[1]);
    CHECK(segments == SEGMENTS);
    CHECK(resident_kib[0] > 0);
    CHECK(resident_kib[1] == 0);
    return EXIT_SUCCESS;
}
