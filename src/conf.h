/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* conf.h - the options of BREAKWATER_CONF: "key:value,key:value". */
#ifndef BREAKWATER_CONF_H
#define BREAKWATER_CONF_H

#include "util.h"

/* Huge pages: as the kernel is set, asked for, or declined. */
enum thp { THP_AUTO, THP_ALWAYS, THP_NEVER };

/* What `arenas` may be at most, and how many there are. */
#define ARENAS_MAX 64

/* 16 MiB or an eighth of the heap, whichever is more. */
#define CACHE_LIMIT_AUTO SIZE_MAX

struct conf {
    bool stats_print;       /* stats_print:true|false - statistics on standard error at exit */
    bool checked;           /* checked:true|false - no thread caches: every double free is found */
    bool background_thread; /* background_thread:true|false - a thread purges idle processes */
    bool process_madvise;   /* process_madvise:true|false - gives several ranges back in one call */
    enum thp thp;           /* thp:auto|always|never */
    size_t soft_limit;  /* soft_limit:BYTES or N% - over it, memory goes back at once; 0: none */
    size_t hard_limit;  /* hard_limit:BYTES or N% - over it, there is no memory; 0: none */
    size_t cache_limit; /* cache_limit:auto, BYTES or N% - what all caches may hold; 0: 8M each */
    uint32_t decay_ms;  /* decay_ms:N - free memory goes back to the kernel after N milliseconds */
    uint32_t arenas;    /* arenas:N - spread threads over at most N arenas; 0: from the CPUs */
};

extern struct conf conf;

/* Read `text` into `conf`. A fault gives one warning line that names it; the rest is still read. */
void conf_parse(const char *text);

/* conf_parse() of the environment variable. Ignored in setuid programs. */
void conf_load(void);

#endif
