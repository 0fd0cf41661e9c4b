/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* emergency.pml - a pool of emergency memory (src/pool.c), as a model for spin.
 *
 * One pool of two words of two granules. One thread allocates and frees a granule again and again,
 * one a block of as many granules as a pool of the kind holds in one place at most; a third gives
 * memory back. There are both kinds of pool. In one a word is a page: a block lies in one word, and
 * memory goes back a word at a time. In the other a granule is a page: a block may lie in both
 * words, which are claimed one after the other, and memory goes back granule by granule.
 *
 * A d_step is one atomic machine instruction on shared memory with the local work around it, or a
 * check that the real code does not have. README.md beside this file says what is left out.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   granule_owned_once   no granule is claimed that somebody has
 *   purger_owns          no memory is given back of a granule that whoever does so has not claimed
 *   block_keeps_memory   a block's memory is there until the block is freed
 *   granule_not_lost     at rest no granule is claimed
 *   refusal_is_void      at rest, with all free, nothing is refused unlooked for
 *   idle_is_flagged      at rest a pool with free granules that have memory says so
 *   clean_has_no_memory  at rest no granule has memory and is not marked dirty
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant claim_stores: granule_owned_once
 *   mutant clear_stores: granule_owned_once
 *   mutant purge_unclaimed: purger_owns
 *   mutant page_claimed_in_part: purger_owns
 *   mutant purge_in_use: block_keeps_memory
 *   mutant part_not_released: granule_not_lost
 *   mutant release_not_accepted: refusal_is_void
 *   mutant purge_not_accepted: refusal_is_void
 *   mutant accept_before_clear: refusal_is_void
 *   mutant refuse_stores: refusal_is_void
 *   mutant refuse_uncounted: refusal_is_void
 *   mutant release_not_flagged: idle_is_flagged
 *   mutant flag_before_clear: idle_is_flagged
 *   mutant flag_taken_last: idle_is_flagged
 *   mutant stop_not_flagged: idle_is_flagged
 *   mutant clean_after_release: clean_has_no_memory
 */

#define WORDS 2
#define BITS 2                 /* in a word */
#define GRANULES 4
#define THREADS 3
#ifdef CYCLES                  /* the search for cycles needs more memory a state */
#define SMALL_ROUNDS 1
#else
#define SMALL_ROUNDS 2
#endif
#define LONG_ROUNDS 2

#define NOBODY 0
#define PURGER 3

#define CLAIM(name, holds) assert(name || (holds))
hidden byte granule_owned_once, purger_owns, block_keeps_memory, granule_not_lost, refusal_is_void,
            idle_is_flagged, clean_has_no_memory;

/* The pool. */
bit word_is_page;
byte used[WORDS];
byte dirty[WORDS];
bit to_purge;
byte accepted;                 /* with `refused` one word: how often granules became free, */
byte refused;                  /* and the number looked for in vain, or 0 */

/* What the real code does not have, for the claims. */
byte owner[GRANULES];
bit memory[GRANULES];          /* there is some behind the granule */
byte finished;

/* bits_between(): those of granules [from, to) in a word. */
#define HAS(from, to, granule) ((from) <= (granule) && (granule) < (to))
#define BETWEEN(from, to, word) \
    (HAS(from, to, BITS * (word)) | HAS(from, to, BITS * (word) + 1) << 1)

/* Of a word's granules, in one step: who has them, for the claims. */
inline change_owners(word, bits, before, after)
{
    if
    :: (bits) & 1 ->
        CLAIM(granule_owned_once, owner[BITS * (word)] == before);
        owner[BITS * (word)] = after
    :: else
    fi;
    if
    :: (bits) & 2 ->
        CLAIM(granule_owned_once, owner[BITS * (word) + 1] == before);
        owner[BITS * (word) + 1] = after
    :: else
    fi
}

/* One instruction clears bits of `used`. */
inline clear_word(word, bits, whose)
{
#ifdef MUTANT_clear_stores
    seen = used[word];
    d_step { used[word] = seen & ~(bits); change_owners(word, bits, whose, NOBODY); seen = 0 }
#else
    d_step { used[word] = used[word] & ~(bits); change_owners(word, bits, whose, NOBODY) }
#endif
}

/* pool_accept() */
inline accept()
{
    d_step { accepted++; refused = 0 }
}

/* pool_clear() */
inline clear(from, to)
{
    if
    :: BETWEEN(from, to, 0) != 0 -> clear_word(0, BETWEEN(from, to, 0), self)
    :: else
    fi;
    if
    :: BETWEEN(from, to, 1) != 0 -> clear_word(1, BETWEEN(from, to, 1), self)
    :: else
    fi
}

/* pool_release() */
inline release(from, to)
{
#ifdef MUTANT_flag_before_clear
    to_purge = 1;
#endif
#ifdef MUTANT_accept_before_clear
    accept();
#endif
    clear(from, to);
#if !defined MUTANT_flag_before_clear && !defined MUTANT_release_not_flagged
    to_purge = 1;
#endif
#if !defined MUTANT_accept_before_clear && !defined MUTANT_release_not_accepted
    accept();
#endif
    skip
}

/* word_claim(): all of the bits or none; `taken` are those that were set. */
inline claim_word(word)
{
#ifdef MUTANT_claim_stores
    seen = used[word];
    d_step {
        taken = seen & BETWEEN(first, first + count, word);
        if
        :: taken == 0 ->
            used[word] = seen | BETWEEN(first, first + count, word);
#else
    d_step {
        taken = used[word] & BETWEEN(first, first + count, word);
        if
        :: taken == 0 ->
            used[word] = used[word] | BETWEEN(first, first + count, word);
#endif
            change_owners(word, BETWEEN(first, first + count, word), NOBODY, self)
        :: else ->
            /* Where to look next: after the last that was taken. */
            next = BITS * (word) + ((taken & 2) -> 2 : 1)
        fi;
        seen = 0
    }
}

/* pool_claim(): granules [first, first + count), or else `next` is where to look next. */
inline claim()
{
    next = first;
    if
    :: BETWEEN(first, first + count, 0) != 0 -> claim_word(0)
    :: else
    fi;
    if
    :: next == first && BETWEEN(first, first + count, 1) != 0 ->
        claim_word(1);
        if
        :: taken != 0 && first < BITS ->
#ifdef MUTANT_part_not_released
            skip
#else
            release(first, BITS)
#endif
        :: else
        fi
    :: else
    fi;
    taken = 0
}

/* pool_fit(): not across a page that it could lie in. */
inline fit()
{
    if
    :: word_is_page && first % BITS + count > BITS -> first = (first / BITS + 1) * BITS
    :: else
    fi
}

/* pool_search(): `next` is `first` where the block is. A full word is passed over as one is whose
 * bits are claimed in vain. */
inline search()
{
    d_step { first = 0; next = GRANULES }
    do
    :: first + count > GRANULES -> break
    :: else ->
        claim();
        if
        :: next == first -> break
        :: else -> d_step { first = next; next = GRANULES; fit() }
        fi
    od
}

/* block_create(), and the program, which writes to all of the block; then its free. */
inline use_block()
{
    if
    :: BETWEEN(first, first + count, 0) != 0 ->
        d_step { dirty[0] = dirty[0] | BETWEEN(first, first + count, 0) }
    :: else
    fi;
    if
    :: BETWEEN(first, first + count, 1) != 0 ->
        d_step { dirty[1] = dirty[1] | BETWEEN(first, first + count, 1) }
    :: else
    fi;
    d_step {
        seen = first;
        do
        :: seen == first + count -> break
        :: else -> memory[seen] = 1; seen++
        od;
        seen = 0
    }
    d_step {
        seen = first;
        do
        :: seen == first + count -> break
        :: else -> CLAIM(block_keeps_memory, memory[seen]); seen++
        od;
        seen = 0
    }
    release(first, first + count)
}

/* pool_alloc() */
proctype worker(byte self; byte count; byte rounds)
{
    byte first, next, taken, seen, accepted_before, refused_before;

    do
    :: rounds == 0 -> break
    :: else ->
        rounds--;
        d_step { accepted_before = accepted; refused_before = refused }
        if
        :: refused_before != 0 && count >= refused_before
        :: else ->
            search();
            if
            :: next == first && first + count <= GRANULES -> use_block()
            :: else ->
                d_step {
                    if
#if defined MUTANT_refuse_stores
                    :: true ->
#elif defined MUTANT_refuse_uncounted
                    :: refused == refused_before ->
#else
                    :: accepted == accepted_before && refused == refused_before ->
#endif
                        refused = count
#ifndef MUTANT_refuse_stores
                    :: else
#endif
                    fi
                }
            fi
        fi;
        d_step { first = 0; next = 0; accepted_before = 0; refused_before = 0 }
    od;
    finished++
}

/* word_claim_idle(): its bits in `idle`. */
inline claim_idle(word)
{
    seen = used[word];
    do
    :: true ->
        d_step {
            idle = dirty[word] & ~seen;
#ifdef MUTANT_purge_in_use
            idle = dirty[word];
#endif
#ifndef MUTANT_page_claimed_in_part
            if
            :: word_is_page -> idle = (seen == 0 && dirty[word] != 0 -> 3 : 0)
            :: else
            fi
#endif
        }
        if
        :: idle == 0 -> break
        :: else
        fi;
#ifdef MUTANT_purge_unclaimed
        break
#else
        d_step {
            if
            :: used[word] == seen ->
                used[word] = seen | idle;
                change_owners(word, idle, NOBODY, PURGER);
                done = 1
            :: else -> seen = used[word]
            fi
        }
        if
        :: done -> break
        :: else
        fi
#endif
    od;
    seen = 0;
    done = 0
}

/* os_purge(): pages go. */
inline purge_granule(granule)
{
    CLAIM(purger_owns, owner[granule] == PURGER);
    memory[granule] = 0
}

inline purge_bits(word)
{
    if
    :: (idle & 1) || (word_is_page && idle) -> purge_granule(BITS * (word))
    :: else
    fi;
    if
    :: (idle & 2) || (word_is_page && idle) -> purge_granule(BITS * (word) + 1)
    :: else
    fi
}

/* word_purge() */
inline purge_word(word)
{
    claim_idle(word);
    if
    :: idle != 0 ->
        d_step { purge_bits(word) }
#ifdef MUTANT_clean_after_release
        clear_word(word, idle, PURGER);
        d_step { dirty[word] = dirty[word] & ~idle }
#else
        d_step { dirty[word] = dirty[word] & ~idle }
#ifndef MUTANT_purge_unclaimed
        clear_word(word, idle, PURGER);
#endif
#endif
        idle = 0
    :: else
    fi
}

/* pool_purge(), which stops where enough went, or where somebody forks. */
proctype purger()
{
    byte seen, idle, word;
    bit done;

    if
    :: to_purge ->
#ifndef MUTANT_flag_taken_last
        to_purge = 0;
#endif
        do
        :: word == WORDS -> break
        :: word < WORDS -> purge_word(word); word++
        :: word < WORDS ->
#ifndef MUTANT_stop_not_flagged
            to_purge = 1;
#endif
            break
        od;
#ifdef MUTANT_flag_taken_last
        to_purge = 0;
#endif
#ifndef MUTANT_purge_not_accepted
        accept();
#endif
        word = 0
    :: else
    fi;
    finished++
}

#define IS_CLEAN(granule) (!(dirty[(granule) / BITS] >> ((granule) % BITS) & 1))

init
{
    atomic {
        if
        :: word_is_page = 1; run worker(2, 2, LONG_ROUNDS)
        :: word_is_page = 0; run worker(2, 3, LONG_ROUNDS)
        fi;
        run worker(1, 1, SMALL_ROUNDS);
        run purger()
    }
    finished == THREADS;
    d_step {
        CLAIM(granule_not_lost, used[0] == 0 && used[1] == 0);
        CLAIM(refusal_is_void, refused == 0);
        CLAIM(idle_is_flagged, (dirty[0] | dirty[1]) == 0 || to_purge);
        CLAIM(clean_has_no_memory, !(memory[0] && IS_CLEAN(0)) && !(memory[1] && IS_CLEAN(1)) &&
              !(memory[2] && IS_CLEAN(2)) && !(memory[3] && IS_CLEAN(3)))
    }
}
