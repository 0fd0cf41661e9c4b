/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_arena.c - arenas: stacks are taken back, tags tell of slabs, remote frees come home, empty
 * slabs go. */
#include "arena_support.h"

#include "meta.h"
#include "os.h"
#include "page_heap.h"
#include "reclaim.h"
#include "refill.h"

enum { THREADS = 4, ROUNDS = 200 };

/* Arenas */

static void an_arena_is_found_by_its_index_once_it_exists(void **state)
{
    (void)state;
    assert_null(arena_by_index(0));
    struct arena *first = first_arena();

    assert_ptr_equal(arena_by_index(0), first);
    assert_null(arena_by_index(1));
    struct arena *second = arena_create(1);

    assert_non_null(second);
    assert_ptr_not_equal(second, first);
    assert_ptr_equal(arena_by_index(1), second);
    assert_int_equal(second->index, 1);
    assert_null(arena_by_index(ARENAS_MAX));
    assert_null(arena_by_index(UINT32_MAX));
    arena_check(first);
    arena_check(second);
}

static void without_memory_there_is_no_arena(void **state)
{
    (void)state;
    size_class_init();
    os_fail_calls(1, UINT64_MAX);
    assert_null(arena_create(0));
    os_fail_calls(0, 0);
    assert_null(arena_by_index(0));
    assert_non_null(arena_create(0));
}

/* Stacks that come back */

static void a_short_stack_goes_back_to_the_slabs(void **state)
{
    struct arena *arena = first_arena();
    struct magazine *stack = stack_of(arena, 10);
    uint64_t free_blocks = bin_of(arena)->free_blocks;

    (void)state;
    assert_false(depot_would_keep(&bin_of(arena)->depot, bin_of(arena)->class, stack));
    struct magazine *empty = arena_flush(arena, class_of_blocks, stack, true);

    assert_ptr_equal(empty, stack);
    assert_int_equal(empty->count, 0);
    assert_int_equal(bin_of(arena)->free_blocks, free_blocks + 10);
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 0);
    magazine_destroy(empty);
    assert_nothing_is_held(arena);
}

static void a_full_stack_is_kept_whole_and_handed_on_unopened(void **state)
{
    struct arena *arena = first_arena();
    uint32_t capacity = size_classes[class_of_blocks].capacity;
    struct magazine *full = full_stack_of(arena);
    void *block = full->slots[7];

    (void)state;
    size_t free_bytes = arena_totals().free_bytes;

    assert_int_equal(full->count, capacity);
    struct magazine *empty = arena_flush(arena, class_of_blocks, full, true);

    assert_ptr_not_equal(empty, full);
    assert_int_equal(empty->count, 0);
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), capacity);
    assert_int_equal(arena_totals().free_bytes, free_bytes + (size_t)capacity * SIZE);
    assert_int_equal(bin_of(arena)->stats.depot_exchanges, 1);
    assert_int_equal(bin_of(arena)->stats.flush_blocks, capacity);
    arena_check(arena);
    /* Even when only one block is wanted. */
    assert_ptr_equal(refill_stack(arena, class_of_blocks, empty, 1), full);
    assert_int_equal(full->count, capacity);
    assert_ptr_equal(full->slots[7], block);
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 0);
    arena_check(arena);
}

static void a_slab_of_a_mapped_region_sets_no_tag(void **state)
{
    struct arena *arena = first_arena();
    void *block;

    (void)state;
    take_blocks(arena, &block, 1);
    assert_int_equal(span_of((uintptr_t)block)->region, region_primary.index);
    block_break();
    use_up_free_runs();
    /* Unit by unit there are slabs of another class now. */
    class_of_blocks = size_class_of(UNIT_BYTES / 2);
    for (size_t i = 0; i < SLABS; i++) {
        take_blocks(arena, &block, 1);
    }
    assert_int_not_equal(span_of((uintptr_t)block)->region, region_primary.index);
    unblock_break();
}

static void a_depot_that_cannot_give_an_empty_stack_opens_the_full_one(void **state)
{
    struct arena *arena = first_arena();
    uint32_t capacity = size_classes[class_of_blocks].capacity;
    struct magazine *full = full_stack_of(arena);

    (void)state;
    /* Leave no free descriptor memory behind: the next magazine needs the kernel. */
    os_fail_calls(1, UINT64_MAX);
    while (magazine_create(capacity) != NULL) {
    }
    struct magazine *empty = arena_flush(arena, class_of_blocks, full, true);

    os_fail_calls(0, 0);
    assert_ptr_equal(empty, full);
    assert_int_equal(empty->count, 0);
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 0);
    arena_check(arena);
}

static void a_depot_is_bounded(void **state)
{
    enum { STACKS = 3000 };
    static struct magazine *stacks[STACKS];
    size_t capacity;

    (void)state;
    struct arena *arena = first_arena();

    class_of_blocks = size_class_of(512);
    capacity = size_classes[class_of_blocks].capacity;
    for (size_t i = 0; i < STACKS; i++) {
        stacks[i] = full_stack_of(arena);
    }
    for (size_t i = 0; i < STACKS; i++) {
        magazine_destroy(arena_flush(arena, class_of_blocks, stacks[i], true));
    }
    arena_check(arena);
    assert_true(depot_blocks(&bin_of(arena)->depot) < STACKS * capacity);
    assert_true(bin_of(arena)->stats.slabs_released > 0);
    assert_nothing_is_held(arena);
}

static void stacks_that_nobody_asked_for_leave_the_depot_before_growth(void **state)
{
    struct arena *arena = first_arena();
    uint32_t capacity = size_classes[class_of_blocks].capacity;
    struct magazine *stacks[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(stacks); i++) {
        stacks[i] = full_stack_of(arena);
    }
    for (size_t i = 0; i < ARRAY_SIZE(stacks); i++) {
        stacks[i] = arena_flush(arena, class_of_blocks, stacks[i], true);
    }
    /* The depot was empty at some moment since the start. */
    reclaim_before_growth();
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 3 * capacity);
    /* One of three is used: the others were idle. */
    struct magazine *used = refill_stack(arena, class_of_blocks, stacks[0], capacity);

    magazine_destroy(arena_flush(arena, class_of_blocks, used, true));
    reclaim_before_growth();
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), capacity);
    reclaim_before_growth();
    assert_int_equal(depot_blocks(&bin_of(arena)->depot), 0);
    assert_nothing_is_held(arena);
}

/* Whoever looks for memory comes by hundreds of bins. */
static void bins_with_nothing_to_give_up_are_passed_by(void **state)
{
    struct arena *arena = first_arena();
    void *block = refill_one(arena, class_of_blocks);
    const struct bin *bin = bin_of(arena);
    uint64_t acquisitions = bin->lock.acquisitions;

    (void)state;
    reclaim_aged();
    reclaim_all();
    assert_int_equal(bin->lock.acquisitions, acquisitions);
    give_back(arena, &block, 1);
    assert_int_equal(bin_slabs(bin), 1);
    reclaim_all();
    assert_int_equal(bin_slabs(bin), 0);
    assert_nothing_is_held(arena);
}

/* Slabs */

static void the_fullest_slab_serves_first(void **state)
{
    static void *blocks[2 * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    unsigned count = blocks_per_slab();

    take_blocks(arena, blocks, (size_t)2 * count);
    /* The first slab nearly empty, the second with one block free. */
    give_back(arena, blocks, count - 1);
    give_back(arena, &blocks[count + 5], 1);
    assert_ptr_equal(refill_one(arena, class_of_blocks), blocks[count + 5]);
    assert_ptr_equal(refill_one(arena, class_of_blocks), blocks[0]);
    arena_check(arena);
}

static void a_bin_keeps_few_empty_slabs(void **state)
{
    static void *blocks[SLABS * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();

    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    assert_int_equal(bin_of(arena)->stats.slabs_created, SLABS);
    size_t free_units = page_heap_stats().free_units;

    for (unsigned slab = 0; slab < SLABS; slab++) {
        give_back(arena, &blocks[slab * blocks_per_slab()], blocks_per_slab());
        assert_int_equal(page_heap_stats().free_units,
                         free_units + bin_of(arena)->stats.slabs_released);
    }
    assert_in_range(bin_of(arena)->stats.slabs_released, SLABS / 4, SLABS / 2);
    assert_nothing_is_held(arena);
}

static void an_empty_stack_can_be_taken_back(void **state)
{
    (void)state;
    struct arena *arena = first_arena();
    struct magazine *stack = new_stack();
    void *block = refill_one(arena, class_of_blocks);

    assert_ptr_equal(arena_flush(arena, class_of_blocks, stack, true), stack);
    assert_int_equal(stack->count, 0);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    assert_nothing_is_held(arena);
}

static void a_class_has_a_bin_from_its_first_slab_on(void **state)
{
    (void)state;
    struct arena *arena = first_arena();

    assert_null(arena_bin(arena, class_of_blocks));
    assert_int_equal(arena_totals().bins, 0);
    void *block = refill_one(arena, class_of_blocks);

    assert_non_null(arena_bin(arena, class_of_blocks));
    assert_int_equal(arena_totals().bins, 1);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    reclaim_all();
    assert_int_equal(arena_totals().bins, 1);
    arena_check(arena);
}

static void all_the_arenas_that_there_may_be_are_drained(void **state)
{
    (void)state;
    (void)first_arena();

    for (unsigned index = 1; index < ARENAS_MAX; index++) {
        assert_non_null(arena_create(index));
    }
    assert_null(arena_by_index(ARENAS_MAX));
    void *block = refill_one(arena_by_index(ARENAS_MAX - 1), class_of_blocks);

    arena_free_remote(&block, 1);
    arena_drain_all();
    assert_nothing_is_held(arena_by_index(ARENAS_MAX - 1));
}

static void an_arena_that_no_tags_can_be_mapped_for_serves_all_the_same(void **state)
{
    (void)state;
    (void)first_arena();
    os_fail_calls(1, UINT64_MAX);
    struct arena *other = arena_create(1);

    os_fail_calls(0, 0);
    assert_non_null(other);
    assert_null(other->tags);
    void *block = refill_one(other, class_of_blocks);

    assert_non_null(span_of_primary((uintptr_t)block));
    arena_free_blocks(other, class_of_blocks, &block, 1);
    arena_check(other);
}

static void a_tag_tells_the_class_while_the_slab_lives(void **state)
{
    struct arena *arena = first_arena();
    struct arena *other = arena_create(1);
    void *block = refill_one(arena, class_of_blocks);
    size_t unit = region_unit_of(&region_primary, (uintptr_t)block);

    (void)state;
    assert_int_equal(arena->tags[unit], SIZE_CLASS_CODE(class_of_blocks));
    assert_int_equal(other->tags[unit], 0);
    give_back(arena, &block, 1);
    reclaim_all();
    assert_int_equal(arena->tags[unit], 0);
    arena_check(arena);
}

static void each_unit_of_a_slab_has_its_tag(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    class_of_blocks = size_class_of(48 * KIB);
    const struct size_class *described = &size_classes[class_of_blocks];
    void *block = refill_one(arena, class_of_blocks);
    size_t unit = region_unit_of(&region_primary, slab_at((uintptr_t)block)->start);

    assert_true(described->units > 1);
    for (size_t i = 0; i < described->units; i++) {
        assert_int_equal(arena->tags[unit + i], SIZE_CLASS_CODE(class_of_blocks));
    }
    assert_int_equal(arena->tags[unit + described->units], 0);
    give_back(arena, &block, 1);
    reclaim_all();
    for (size_t i = 0; i < described->units; i++) {
        assert_int_equal(arena->tags[unit + i], 0);
    }
    arena_check(arena);
    page_heap_check();
}

static void blocks_of_several_slabs_find_their_own(void **state)
{
    static void *blocks[4 * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    size_t count = (size_t)3 * blocks_per_slab();

    take_blocks(arena, blocks, count);
    /* Every 7th, round and round: neighbours in the list are of other words and slabs. */
    for (size_t start = 0; start < 7; start++) {
        static void *part[4 * UNIT_BYTES / SIZE];
        size_t length = 0;

        for (size_t i = start; i < count; i += 7) {
            part[length++] = blocks[i];
        }
        give_back(arena, part, length);
    }
    assert_nothing_is_held(arena);
}

struct frees {
    struct arena *arena;
    void *blocks[4];
    size_t count;
};

static void free_blocks(void *argument)
{
    struct frees *frees = (struct frees *)argument;

    arena_free_blocks(frees->arena, class_of_blocks, frees->blocks, frees->count);
}

static void free_remote_and_drain(void *argument)
{
    struct frees *frees = (struct frees *)argument;

    arena_free_remote(frees->blocks, frees->count);
    (void)arena_drain(frees->arena);
}

static void a_block_freed_twice_dies_however_it_is_freed(void **state)
{
    struct arena *arena = first_arena();
    void *blocks[2];

    (void)state;
    take_blocks(arena, blocks, 2);
    struct frees frees = {arena, {blocks[0], blocks[1], blocks[0]}, 3};
    uintptr_t address = (uintptr_t)blocks[0];

    assert_dies_at(free_blocks, &frees, "double free of", address);
    assert_dies_at(free_remote_and_drain, &frees, "double free of", address);
    give_back(arena, blocks, 1);
    frees = (struct frees){arena, {blocks[0]}, 1};
    assert_dies_at(free_blocks, &frees, "double free of", address);
    assert_dies_at(free_remote_and_drain, &frees, "double free of", address);
}

static void an_address_that_is_no_block_dies_however_it_is_freed(void **state)
{
    struct arena *arena = first_arena();
    char *block = (char *)refill_one(arena, class_of_blocks);
    struct frees frees = {arena, {block + 8}, 1};

    (void)state;
    assert_dies_at(free_blocks, &frees, "invalid free of", (uintptr_t)block + 8);
    assert_dies_at(free_remote_and_drain, &frees, "invalid free of", (uintptr_t)block + 8);
}

static void what_lies_behind_the_last_block_dies_however_it_is_freed(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    class_of_blocks = size_class_of(48);
    char *block = (char *)refill_one(arena, class_of_blocks);
    char *tail = (char *)align_down((uintptr_t)block, UNIT_BYTES) + (size_t)48 * blocks_per_slab();
    struct frees frees = {arena, {block, tail}, 2};

    assert_dies_at(free_blocks, &frees, "invalid free of", (uintptr_t)tail);
    assert_dies_at(free_remote_and_drain, &frees, "invalid free of", (uintptr_t)tail);
}

/* Remote frees */

static void draining_hands_back_each_remote_block_once(void **state)
{
    static void *blocks[4 * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    size_t count = (size_t)2 * blocks_per_slab() + 3;

    take_blocks(arena, blocks, count);
    assert_int_equal(arena_drain(arena), 0);
    arena_free_remote(blocks, count);
    assert_int_equal(arena_drain(arena), count);
    assert_int_equal(arena_drain(arena), 0);
    assert_int_equal(bin_of(arena)->stats.remote_blocks, count);
    assert_int_equal(arena->drains, 3);
    assert_int_equal(arena->drained_slabs, 3);
    assert_nothing_is_held(arena);
}

static void blocks_of_one_word_travel_together(void **state)
{
    void *blocks[BITS_PER_WORD];

    (void)state;
    struct arena *arena = first_arena();

    take_blocks(arena, blocks, BITS_PER_WORD);
    arena_free_remote(blocks, BITS_PER_WORD);
    assert_int_equal(arena_drain(arena), BITS_PER_WORD);
    assert_int_equal(bin_of(arena)->stats.remote_batches, 1);
}

static void a_slab_with_a_pending_block_is_not_released(void **state)
{
    static void *blocks[SLABS * UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();
    unsigned count = blocks_per_slab();

    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    give_back(arena, &blocks[count], ARRAY_SIZE(blocks) - count);
    uint64_t released = bin_of(arena)->stats.slabs_released;

    /* The bin keeps no more: the next empty slab goes. */
    assert_true(released > 0);
    arena_free_remote(blocks, 1);
    give_back(arena, &blocks[1], count - 1);
    assert_int_equal(bin_of(arena)->stats.slabs_released, released);
    assert_int_equal(arena_drain(arena), 1);
    assert_int_equal(bin_of(arena)->stats.slabs_released, released + 1);
    arena_check(arena);
}

/* Accounts */

static void what_others_have_freed_is_reclaimed_too(void **state)
{
    static void *blocks[UNIT_BYTES / SIZE];

    (void)state;
    struct arena *arena = first_arena();

    take_blocks(arena, blocks, ARRAY_SIZE(blocks));
    arena_free_remote(blocks, ARRAY_SIZE(blocks));
    assert_nothing_is_held(arena);
}

static void totals_count_what_is_free_and_what_slabs_cannot_use(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    class_of_blocks = size_class_of(48);
    void *block = refill_one(arena, class_of_blocks);
    size_t blocks = blocks_per_slab();

    assert_int_equal(arena_totals().tail_bytes, UNIT_BYTES - blocks * 48);
    assert_int_equal(arena_totals().free_bytes, (blocks - 1) * 48);
    give_back(arena, &block, 1);
    assert_int_equal(arena_totals().free_bytes, blocks * 48);
    assert_nothing_is_held(arena);
}

static void check(void *arena)
{
    arena_check((struct arena *)arena);
}

static void the_check_sees_blocks_that_got_lost(void **state)
{
    struct arena *arena = first_arena();
    void *block = refill_one(arena, class_of_blocks);
    unsigned index;

    (void)state;
    bin_of(arena)->free_blocks--;
    assert_dies(check, arena, "bin: free blocks do not add up");
    bin_of(arena)->free_blocks++;
    slab_of_own_block((uintptr_t)block, &index)->list = SLAB_LIST_EMPTY;
    assert_dies(check, arena, "bin: a slab is on the wrong list");
}

static void the_check_sees_the_tag_of_another_class(void **state)
{
    struct arena *arena = first_arena();
    void *block = refill_one(arena, class_of_blocks);
    size_t unit = region_unit_of(&region_primary, (uintptr_t)block);
    static const char fault[] = "arena: the tag of a unit is not its slab's";

    (void)state;
    atomic_fetch_add(&arena->tags[unit], CODE_STEP);
    assert_dies(check, arena, fault);
    atomic_store(&arena->tags[unit], 0);
    assert_dies(check, arena, fault);
    /* And of another arena, which has no slab there. */
    struct arena *other = arena_create(1);

    arena_check(other);
    atomic_store(&other->tags[unit], SIZE_CLASS_CODE(class_of_blocks));
    assert_dies(check, other, fault);
}

/* Threads */

enum { RACERS = 2 };

static struct race {
    struct arena *arenas[ARENAS_MAX];
    _Atomic unsigned arrived;
    void *blocks[RACERS][ARENAS_MAX][CLASS_COUNT];
} race;

/* The first block of each class of each arena, at the same moment as the other racers. */
static void *take_first_blocks(void *blocks_of_arenas)
{
    void *(*blocks)[CLASS_COUNT] = (void *(*)[CLASS_COUNT])blocks_of_arenas;
    unsigned rounds = 0;

    for (unsigned index = 0; index < ARENAS_MAX; index++) {
        for (unsigned class = 0; class < CLASS_COUNT; class ++) {
            rounds++;
            atomic_fetch_add(&race.arrived, 1);
            while (atomic_load(&race.arrived) < rounds * RACERS) {
                sched_yield();
            }
            blocks[index][class] = refill_one(race.arenas[index], class);
        }
    }
    return NULL;
}

static void threads_that_need_a_class_at_once_make_one_bin(void **state)
{
    pthread_t racers[RACERS];

    (void)state;
    for (unsigned index = 0; index < ARENAS_MAX; index++) {
        race.arenas[index] = index == 0 ? first_arena() : arena_create(index);
        assert_non_null(race.arenas[index]);
    }
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_create(&racers[i], NULL, take_first_blocks, race.blocks[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(racers[i], NULL), 0);
    }
    assert_int_equal(arena_totals().bins, ARENAS_MAX * CLASS_COUNT);
    for (unsigned index = 0; index < ARENAS_MAX; index++) {
        for (unsigned class = 0; class < CLASS_COUNT; class ++) {
            for (size_t i = 0; i < RACERS; i++) {
                arena_free_blocks(race.arenas[index], class, &race.blocks[i][index][class], 1);
            }
        }
        arena_check(race.arenas[index]);
    }
    reclaim_all();
    assert_int_equal(page_heap_stats().free_units, page_heap_stats().total_units);
    meta_check();
}

/* Refills and flushes; half of what it gets it frees as a thread of another arena would. */
static void *churn(void *argument)
{
    struct arena *arena = (struct arena *)argument;
    struct magazine *stack = magazine_create(size_classes[class_of_blocks].capacity);

    for (uint32_t round = 0; stack != NULL && round < ROUNDS; round++) {
        struct magazine *full =
            refill_stack(arena, class_of_blocks, stack, round % stack->capacity + 1);

        if (full == NULL) {
            break;
        }
        if (round % 2 == 0) {
            arena_free_remote(full->slots, full->count);
            full->count = 0;
            stack = full;
        } else {
            stack = arena_flush(arena, class_of_blocks, full, true);
        }
    }
    magazine_destroy(stack);
    return NULL;
}

static void *take_and_free_one(void *argument)
{
    struct arena *arena = (struct arena *)argument;
    void *block = arena_take_one(arena, class_of_blocks);

    assert_non_null(block);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    return NULL;
}

/* A thread waits for the bin of `size` bytes until it sleeps. */
static void let_a_thread_wait(struct arena *arena, size_t size)
{
    pthread_t thread;
    void *block;

    class_of_blocks = size_class_of(size);
    take_blocks(arena, &block, 1);
    struct lock *lock = &bin_of(arena)->lock;

    lock_acquire(lock);
    assert_int_equal(pthread_create(&thread, NULL, take_and_free_one, arena), 0);
    while (atomic_load(&lock->state) != 2) {
        (void)sched_yield();
    }
    lock_release(lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
    arena_free_blocks(arena, class_of_blocks, &block, 1);
    arena_check(arena);
}

static void an_arena_counts_what_its_threads_wait_for_small_blocks(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    assert_int_equal(atomic_load(&arena->waits), 0);
    let_a_thread_wait(arena, SIZE);
    assert_int_equal(atomic_load(&arena->waits), 1);
    let_a_thread_wait(arena, 2048);
    assert_int_equal(atomic_load(&arena->waits), 1);
}

static void threads_lose_nothing(void **state)
{
    struct arena *arena = first_arena();

    (void)state;
    run_threads(THREADS, churn, arena);
    (void)arena_drain(arena);
    assert_nothing_is_held(arena);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(an_arena_is_found_by_its_index_once_it_exists),
        ISOLATED(without_memory_there_is_no_arena),
        ISOLATED(a_short_stack_goes_back_to_the_slabs),
        ISOLATED(a_full_stack_is_kept_whole_and_handed_on_unopened),
        ISOLATED(a_slab_of_a_mapped_region_sets_no_tag),
        ISOLATED(a_depot_that_cannot_give_an_empty_stack_opens_the_full_one),
        ISOLATED(a_depot_is_bounded),
        ISOLATED(stacks_that_nobody_asked_for_leave_the_depot_before_growth),
        ISOLATED(bins_with_nothing_to_give_up_are_passed_by),
        ISOLATED(the_fullest_slab_serves_first),
        ISOLATED(a_bin_keeps_few_empty_slabs),
        ISOLATED(an_empty_stack_can_be_taken_back),
        ISOLATED(a_class_has_a_bin_from_its_first_slab_on),
        ISOLATED(all_the_arenas_that_there_may_be_are_drained),
        ISOLATED(an_arena_that_no_tags_can_be_mapped_for_serves_all_the_same),
        ISOLATED(a_tag_tells_the_class_while_the_slab_lives),
        ISOLATED(each_unit_of_a_slab_has_its_tag),
        ISOLATED(blocks_of_several_slabs_find_their_own),
        ISOLATED(a_block_freed_twice_dies_however_it_is_freed),
        ISOLATED(an_address_that_is_no_block_dies_however_it_is_freed),
        ISOLATED(what_lies_behind_the_last_block_dies_however_it_is_freed),
        ISOLATED(draining_hands_back_each_remote_block_once),
        ISOLATED(blocks_of_one_word_travel_together),
        ISOLATED(a_slab_with_a_pending_block_is_not_released),
        ISOLATED(what_others_have_freed_is_reclaimed_too),
        ISOLATED(totals_count_what_is_free_and_what_slabs_cannot_use),
        ISOLATED(the_check_sees_blocks_that_got_lost),
        ISOLATED(the_check_sees_the_tag_of_another_class),
        ISOLATED(an_arena_counts_what_its_threads_wait_for_small_blocks),
        ISOLATED(threads_lose_nothing),
        ISOLATED(threads_that_need_a_class_at_once_make_one_bin),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
