/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* remote.pml - the remote-free protocol, as a model for spin.
 *
 * Two slabs of two bitmap words of two blocks in one arena. Two producers free the blocks they
 * hold through the slabs' remote bitmaps; two drainers take in what is pending, take a block from
 * a slab, and keep it, free it into its slab, or free it through the remote bitmap again. A slab
 * whose blocks are all free is released at once, and may be carved anew at once.
 *
 * A d_step is one atomic machine instruction on shared memory with the local work around it, or a
 * check that the real code does not have. What a lock protects is read and written in two steps,
 * so that a missing lock shows. README.md beside this file says what is left out.
 *
 * Claims: the first word of a violated assertion names the one that failed.
 *   released_slab_untouched   no thread reads or writes a released slab
 *   block_freed_once          no free block is freed or accounted again
 *   block_handed_out_once     no block that the program holds is handed out
 *   queue_holds_pending_slab  a queued slab has a summary bit, a summary bit a pending block
 *   drain_is_complete         a drain that returns has taken in each free completed before it
 *   block_not_lost            at rest, after a final drain, each block is free or held
 * and from spin itself: no deadlock ("invalid end state"), no endless run ("non-progress cycle").
 *
 * Mutants: -DMUTANT_<name> breaks the protocol, and spin must report the claim given.
 * tests/model reads this table.
 *   mutant next_after_clear: block_not_lost
 *   mutant clear_after_words: block_not_lost
 *   mutant mark_if_summary_empty: block_not_lost
 *   mutant plain_publish: block_not_lost
 *   mutant plain_mark: block_not_lost
 *   mutant plain_take: block_not_lost
 *   mutant take_keeps_word: block_freed_once
 *   mutant plain_push: block_not_lost
 *   mutant push_for_each_word: queue_holds_pending_slab
 *   mutant push_before_mark: queue_holds_pending_slab
 *   mutant merge_unlocked: block_handed_out_once
 *   mutant refill_unlocked: block_handed_out_once
 *   mutant release_with_pending: released_slab_untouched
 *   mutant touch_after_publish: released_slab_untouched
 *   mutant drain_unlocked: drain_is_complete
 *   mutant drain_under_bin_lock: invalid end state
 *   mutant push_stale_head: non-progress cycle
 */

#define SLABS 2
#define WORDS_PER_SLAB 2
#define WORDS (SLABS * WORDS_PER_SLAB)
#define BLOCKS_PER_SLAB 4
#define FULL_WORD 3
#define DRAINERS 2
#define THREADS 4

#define NONE 0                 /* the end of the queue; slab s is queued as s + 1 */
#define POISON 7               /* the link of a released slab */

#define WORD(s, w) ((s) * WORDS_PER_SLAB + (w))
#define COUNT(bits) (((bits) & 1) + ((bits) >> 1))
#define BIT(w) (1 << (w))

/* A name that pan prints with the assertion that fails. */
#define CLAIM(name, holds) assert(name || (holds))
hidden byte released_slab_untouched, block_freed_once, block_handed_out_once,
           queue_holds_pending_slab, drain_is_complete, block_not_lost;

#define TOUCH(s) CLAIM(released_slab_untouched, live[s])

/* The arena. */
byte head = NONE;
bit drain_lock, bin_lock;

/* The slabs. */
byte next[SLABS];
byte summary[SLABS];
byte remote[WORDS];
byte free[WORDS];
byte free_count[SLABS];
bit live[SLABS];

/* What the real code does not have: who holds what, for the claims. */
byte held[WORDS];              /* blocks the program holds */
byte owed[DRAINERS];           /* blocks a running drain has promised, two bits for each word */
byte publishing;               /* producers between their first and last step */
byte finished;
bit drains_begun;              /* drainer 0 begins: the drainers are alike, half the orders do */

#define OWED_BITS(s, w, bits) ((bits) << (2 * WORD(s, w)))
#define PENDING_BLOCKS (remote[0] | remote[1] << 2 | remote[2] << 4 | remote[3] << 6)

/* A lock is taken with the first access to what it protects and dropped with the last: nobody who
 * keeps to the lock can tell. In between stands at least one step, where others run. */
#define ACQUIRE(which) which == 0 -> which = 1
#define RELEASE(which) which = 0

#ifdef MUTANT_merge_unlocked
#define MERGE_ACQUIRE(which) true
#define MERGE_RELEASE(which) skip
#else
#define MERGE_ACQUIRE(which) ACQUIRE(which)
#define MERGE_RELEASE(which) RELEASE(which)
#endif

#ifdef MUTANT_refill_unlocked
#define REFILL_ACQUIRE(which) true
#define REFILL_RELEASE(which) skip
#else
#define REFILL_ACQUIRE(which) ACQUIRE(which)
#define REFILL_RELEASE(which) RELEASE(which)
#endif

#ifdef MUTANT_drain_unlocked
#define DRAIN_ACQUIRE(which) true
#define DRAIN_RELEASE(which) skip
#else
#define DRAIN_ACQUIRE(which) ACQUIRE(which)
#define DRAIN_RELEASE(which) RELEASE(which)
#endif

#ifdef MUTANT_release_with_pending
#define COUNTED_AS_FREE(s) \
    (free_count[s] + COUNT(remote[WORD(s, 0)]) + COUNT(remote[WORD(s, 1)]))
#else
#define COUNTED_AS_FREE(s) free_count[s]
#endif

/* cds_lfs_push: the first try expects an empty queue, each further one the head it met. */
inline push(s)
{
    expected = NONE;
    do
    :: pushed -> break
    :: else ->
        d_step { TOUCH(s); next[s] = expected }
        d_step {
            met = head;
            if
            :: met == expected ->
                pushed = 1
#ifndef MUTANT_plain_push
                ; head = s + 1
#endif
            :: else ->
#ifdef MUTANT_push_stale_head
                skip
#else
                expected = met
#endif
            fi;
            met = 0
        }
#ifdef MUTANT_plain_push
        if
        :: pushed -> head = s + 1
        :: else
        fi
#endif
    od
}

/* Steps 2 and 3: the word's summary bit, and the queue where the summary was empty. */
inline mark(s, w)
{
#ifdef MUTANT_push_before_mark
    d_step { TOUCH(s); old = summary[s] }
    if
    :: old == 0 -> push(s)
    :: else
    fi;
    atomic { TOUCH(s); summary[s] = summary[s] | BIT(w) }
#else
    d_step {
        TOUCH(s);
        old = summary[s];
#if defined MUTANT_mark_if_summary_empty
        summary[s] = (old -> old : BIT(w))
#elif !defined MUTANT_plain_mark
        summary[s] = old | BIT(w)
#endif
    }
#ifdef MUTANT_plain_mark
    d_step { TOUCH(s); summary[s] = old | BIT(w) }
#endif
#ifdef MUTANT_push_for_each_word
    old = 0;
#endif
    if
    :: old == 0 -> push(s)
    :: else
    fi
#endif
}

/* Free the blocks `bits` of word w of slab s: step 1, and the others where the word was empty. */
inline publish(s, w, bits)
{
    d_step {
        TOUCH(s);
        publishing++;
        old = remote[WORD(s, w)];
        CLAIM(block_freed_once, ((old | free[WORD(s, w)]) & bits) == 0);
        held[WORD(s, w)] = held[WORD(s, w)] & ~(bits);
#ifndef MUTANT_plain_publish
        remote[WORD(s, w)] = old | bits
#endif
    }
#ifdef MUTANT_plain_publish
    d_step { TOUCH(s); remote[WORD(s, w)] = old | bits }
#endif
    if
    :: old == 0 -> mark(s, w)
    :: else ->
#ifdef MUTANT_touch_after_publish
        TOUCH(s)
#else
        skip
#endif
    fi;
    atomic { publishing--; old = 0; expected = 0; pushed = 0 }
}

/* Put blocks into the free bitmap; the slab whose blocks are all free is gone. */
inline merge(s, w, bits)
{
    d_step { MERGE_ACQUIRE(bin_lock); TOUCH(s); copy = free[WORD(s, w)] }
    d_step {
        TOUCH(s);
        CLAIM(block_freed_once, (copy & bits) == 0);
        free[WORD(s, w)] = copy | bits;
        free_count[s] = free_count[s] + COUNT(bits);
        owed[0] = owed[0] & ~OWED_BITS(s, w, bits);
        owed[1] = owed[1] & ~OWED_BITS(s, w, bits);
        if
        :: COUNTED_AS_FREE(s) == BLOCKS_PER_SLAB -> live[s] = 0; next[s] = POISON
        :: else
        fi;
        copy = 0;
        MERGE_RELEASE(bin_lock)
    }
}

/* Take in one word of a slab: its blocks are nowhere between the exchange and the merge, so the
 * slab cannot be released in between. */
inline take(s, w)
{
    d_step {
        TOUCH(s);
        bits = remote[WORD(s, w)];
        CLAIM(queue_holds_pending_slab, bits != 0);
        words = words & ~BIT(w);
#if !defined MUTANT_plain_take && !defined MUTANT_take_keeps_word
        remote[WORD(s, w)] = 0
#endif
    }
#ifdef MUTANT_plain_take
    d_step { TOUCH(s); remote[WORD(s, w)] = 0 }
#endif
    merge(s, w, bits);
    bits = 0
}

inline read_next(s)
{
    d_step { TOUCH(s); following = next[s] }
}

inline read_summary(s)
{
    d_step {
        TOUCH(s);
        words = summary[s];
        CLAIM(queue_holds_pending_slab, words != 0);
#ifndef MUTANT_clear_after_words
        summary[s] = 0
#endif
    }
}

inline take_slab(s)
{
#ifdef MUTANT_next_after_clear
    read_summary(s);
    read_next(s);
#else
    read_next(s);
    read_summary(s);
#endif
    do
    :: words & BIT(0) -> take(s, 0)
    :: !(words & BIT(0)) && (words & BIT(1)) -> take(s, 1)
    :: words == 0 -> break
    od;
#ifdef MUTANT_clear_after_words
    atomic { TOUCH(s); summary[s] = 0 }
#endif
}

/* Take in what is pending. `me` promises the frees that were complete before it was asked. */
inline drain(me)
{
    d_step {
        DRAIN_ACQUIRE(drain_lock);
        drains_begun = 1;
        owed[me] = (publishing == 0 -> PENDING_BLOCKS : 0)
    }
    d_step { node = head; head = NONE }
    do
    :: node == NONE -> break
    :: else ->
        take_slab(node - 1);
        node = following;
        following = NONE
    od;
    atomic { CLAIM(drain_is_complete, owed[me] == 0); DRAIN_RELEASE(drain_lock) }
}

/* A fresh slab from a released one: nothing of its earlier life may be left. */
inline carve(s)
{
    CLAIM(queue_holds_pending_slab,
          summary[s] == 0 && remote[WORD(s, 0)] == 0 && remote[WORD(s, 1)] == 0);
    live[s] = 1;
    free[WORD(s, 0)] = FULL_WORD;
    free[WORD(s, 1)] = FULL_WORD;
    free_count[s] = BLOCKS_PER_SLAB
}

/* Hand out the lowest free block, from a fresh slab if there is none. word == WORDS: no memory. */
inline refill()
{
    d_step {
        REFILL_ACQUIRE(bin_lock);
        if
        :: live[0] && free_count[0] -> slab = 0
        :: else ->
            if
            :: live[1] && free_count[1] -> slab = 1
            :: else ->
                if
                :: !live[0] -> carve(0); slab = 0
                :: else ->
                    if
                    :: !live[1] -> carve(1); slab = 1
                    :: else -> slab = SLABS
                    fi
                fi
            fi
        fi;
        if
        :: slab < SLABS ->
            word = (free[WORD(slab, 0)] -> 0 : 1);
            copy = free[WORD(slab, word)]
        :: else
        fi
    }
    d_step {
        if
        :: slab < SLABS ->
            block = ((copy & 1) -> 1 : 2);
            CLAIM(block_handed_out_once, (held[WORD(slab, word)] & block) == 0);
            held[WORD(slab, word)] = held[WORD(slab, word)] | block;
            free[WORD(slab, word)] = copy & ~block;
            free_count[slab] = free_count[slab] - 1;
            copy = 0
        :: else
        fi;
        REFILL_RELEASE(bin_lock)
    }
}

/* Frees the blocks it starts with, a bitmap word at a time, in any order. */
proctype producer(byte mine0; byte mine1; byte mine2)
{
    byte old, expected, met;
    bit pushed;

    do
    :: mine0 -> publish(0, 0, mine0); mine0 = 0
    :: mine1 -> publish(0, 1, mine1); mine1 = 0
    :: mine2 -> publish(1, 0, mine2); mine2 = 0
    :: (mine0 | mine1 | mine2) == 0 -> break
    od;
    finished++
}

/* Drains, takes a block, and keeps it or frees it: into its slab, as a thread of the arena does,
 * or through the remote bitmap, as a thread of another arena does. */
proctype drainer(byte me)
{
    byte old, expected, met;
    bit pushed;
    byte node, following, words, bits, copy;
    byte slab, word, block;

    me <= drains_begun;
#ifdef MUTANT_drain_under_bin_lock
    d_step { ACQUIRE(bin_lock) }
#endif
    drain(me);
#ifdef MUTANT_drain_under_bin_lock
    RELEASE(bin_lock);
#endif
    refill();
    if
    :: slab == SLABS
    :: slab < SLABS -> skip                          /* keeps it */
#ifndef CYCLES                 /* the search for cycles needs more memory a state */
    :: slab < SLABS -> publish(slab, word, block)
    :: slab < SLABS ->
        held[WORD(slab, word)] = held[WORD(slab, word)] & ~block;
        merge(slab, word, block)
#endif
    fi;
    atomic { slab = 0; word = 0; block = 0; finished++ }
}

inline check_at_rest(s)
{
    CLAIM(block_not_lost, summary[s] == 0);
    CLAIM(block_not_lost, remote[WORD(s, 0)] == 0 && remote[WORD(s, 1)] == 0);
    if
    :: live[s] ->
        CLAIM(block_not_lost, (free[WORD(s, 0)] ^ held[WORD(s, 0)]) == FULL_WORD);
        CLAIM(block_not_lost, (free[WORD(s, 1)] ^ held[WORD(s, 1)]) == FULL_WORD);
        CLAIM(block_not_lost,
              free_count[s] == COUNT(free[WORD(s, 0)]) + COUNT(free[WORD(s, 1)]))
    :: else ->
        CLAIM(released_slab_untouched, (held[WORD(s, 0)] | held[WORD(s, 1)]) == 0)
    fi
}

init
{
    byte node, following, words, bits, copy;

    d_step {
        live[0] = 1;
        live[1] = 1;
        held[0] = 3; held[1] = 1; free[1] = 2; free_count[0] = 1;
        held[2] = 2; free[2] = 1; free[3] = 3; free_count[1] = 3
    }
    atomic {
        run producer(1, 1, 0);
        run producer(2, 0, 2);
        run drainer(0);
        run drainer(1)
    }
    finished == THREADS;
    drain(0);
    d_step {
        CLAIM(block_not_lost, head == NONE);
        check_at_rest(0);
        check_at_rest(1)
    }
}
