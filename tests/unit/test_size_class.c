/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_size_class.c - every size has a class, and what follows from it is exact. */
#include "support.h"

#include "magazine.h"
#include "size_class.h"

static void no_size_has_a_class_before_the_tables_are_filled(void **state)
{
    (void)state;
    for (size_t size = 0; size <= SMALL_MAX_BYTES; size++) {
        assert_int_equal(size_class_code(size), 0);
    }
}

static void every_size_gets_the_smallest_class_that_holds_it(void **state)
{
    (void)state;
    size_class_init();
    for (size_t size = 0; size <= SMALL_MAX_BYTES; size++) {
        unsigned class = size_class_of(size);

        assert_true(class < CLASS_COUNT);
        assert_true(size_classes[class].size >= size);
        assert_true(class == 0 || size_classes[class - 1].size < size);
    }
}

static void no_class_has_code_0_and_no_two_share_a_code(void **state)
{
    static bool seen[SIZE_CLASS_CODE(CLASS_COUNT)];

    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        uint16_t code = SIZE_CLASS_CODE(class);

        assert_int_not_equal(code, 0);
        assert_false(seen[code]);
        seen[code] = true;
    }
}

static void rounding_up_wastes_at_most_16_bytes_or_a_sixteenth_up_to_16_KiB(void **state)
{
    (void)state;
    size_class_init();
    for (size_t size = 1; size <= (size_t)16 * 1024; size++) {
        size_t block = size_classes[size_class_of(size)].size;

        assert_true(block - size < 16 || (block - size) * 16 < size);
    }
}

static void above_rounding_up_costs_a_slab_no_block(void **state)
{
    (void)state;
    size_class_init();
    size_class_coarsen(2);
    for (size_t size = 16 * 1024; size <= SMALL_MAX_BYTES; size++) {
        size_t rounded = align_up(size, BLOCK_ALIGN);

        assert_int_equal(size_classes[size_class_of(size)].blocks, UNIT_BYTES / rounded);
    }
}

static void classes_ascend_and_all_are_multiples_of_the_alignment(void **state)
{
    (void)state;
    size_class_init();
    assert_int_equal(size_classes[CLASS_COUNT - 1].size, MEDIUM_MAX_BYTES);
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        assert_int_equal(size_classes[class].size % BLOCK_ALIGN, 0);
        assert_true(class == 0 || size_classes[class].size >= size_classes[class - 1].size);
    }
}

static void a_slab_of_several_units_has_blocks_of_whole_pages_and_few_of_them(void **state)
{
    unsigned found = 0;

    (void)state;
    size_class_init();
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        const struct size_class *described = &size_classes[class];

        if (described->units > 1) {
            assert_int_equal(described->size % 4096, 0);
            assert_in_range(described->blocks, 4, 16);
            /* An eighth of its memory is never used, at most. */
            assert_true(described->bytes * 8 >= described->units * UNIT_BYTES * 7);
            found++;
        }
    }
    assert_true(found > MEDIUM_CLASS_COUNT);
}

static void only_the_start_of_a_block_has_an_index(void **state)
{
    (void)state;
    size_class_init();
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        const struct size_class *described = &size_classes[class];

        for (size_t offset = 0; offset < described->units * UNIT_BYTES; offset++) {
            size_t index = offset / described->size;
            bool starts = offset % described->size == 0 && index < described->blocks;

            assert_int_equal(size_class_index(described, offset),
                             starts ? index : described->blocks);
        }
    }
}

static void blocks_of_an_aligned_class_are_all_aligned(void **state)
{
    (void)state;
    size_class_init();
    for (size_t alignment = BLOCK_ALIGN; alignment <= UNIT_BYTES; alignment *= 2) {
        for (size_t size = 0; size <= SMALL_MAX_BYTES; size += 7) {
            unsigned class = size_class_of_aligned(size, alignment);

            assert_true(class < CLASS_COUNT);
            assert_true(size_classes[class].size >= size);
            assert_int_equal(size_classes[class].size % alignment, 0);
        }
    }
}

static void no_smaller_class_would_have_been_aligned(void **state)
{
    (void)state;
    size_class_init();
    for (size_t alignment = BLOCK_ALIGN; alignment <= UNIT_BYTES; alignment *= 2) {
        for (size_t size = 1; size <= SMALL_MAX_BYTES; size += 97) {
            unsigned chosen = size_class_of_aligned(size, alignment);

            for (unsigned class = size_class_of(size); class < chosen; class ++) {
                /* Slabs of several units are for what is asked for often. */
                assert_true(size_classes[class].size % alignment != 0 ||
                            size_classes[class].units > 1);
            }
        }
    }
}

static void sizes_and_alignments_over_a_unit_have_no_class(void **state)
{
    (void)state;
    size_class_init();
    assert_int_equal(size_class_of_aligned(SMALL_MAX_BYTES + 1, BLOCK_ALIGN), CLASS_COUNT);
    assert_int_equal(size_class_of_aligned(1, 2 * UNIT_BYTES), CLASS_COUNT);
    assert_int_equal(size_class_of_aligned(SIZE_MAX, BLOCK_ALIGN), CLASS_COUNT);
    assert_int_equal(size_class_of_aligned(1, (size_t)1 << 63), CLASS_COUNT);
}

static bool is_magazine_capacity(uint32_t capacity)
{
    uint32_t possible = MAGAZINE_SMALLEST;

    while (possible < capacity) {
        possible = magazine_next_capacity(possible);
    }
    return possible == capacity;
}

static void capacities_and_batches_suit_the_magazines(void **state)
{
    (void)state;
    size_class_init();
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        const struct size_class *described = &size_classes[class];

        assert_true(is_magazine_capacity(described->capacity));
        assert_true(described->size <= SMALL_MAX_BYTES || described->capacity <= 13);
        assert_in_range(described->batch_initial, 1, MAGAZINE_SMALLEST);
        assert_in_range(described->batch_max, described->batch_initial, described->capacity);
        assert_true(described->size >= 1024 || is_power_of_two(described->batch_max));
    }
}

static void the_bitmap_has_room_for_every_block(void **state)
{
    (void)state;
    size_class_init();
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        const struct size_class *described = &size_classes[class];

        assert_in_range(described->words, 1, BITS_PER_WORD);
        assert_true((size_t)described->words * BITS_PER_WORD >= described->blocks);
        assert_true((size_t)(described->words - 1) * BITS_PER_WORD < described->blocks);
        assert_int_equal(described->bytes, (size_t)described->blocks * described->size);
        assert_true(described->bytes <= described->units * UNIT_BYTES);
        assert_true(described->bytes + described->size > described->units * UNIT_BYTES);
    }
}

static unsigned finest_class_of(size_t size)
{
    unsigned class = 0;

    while (size_classes[class].size < size) {
        class ++;
    }
    return class;
}

static void coarse_classes_split_a_doubling_in_equal_steps(void **state)
{
    (void)state;
    for (unsigned steps = 1; steps <= 16; steps *= 2) {
        size_class_init();
        size_class_coarsen(steps);
        for (size_t size = 1; size <= (size_t)16 * 1024; size++) {
            size_t block = size_classes[size_class_of(size)].size;

            assert_true(block >= size);
            assert_true(block - size < 16 || (block - size) * steps < size);
        }
        assert_int_equal(size_classes[size_class_of(SMALL_MAX_BYTES)].size, SMALL_MAX_BYTES);
    }
}

static void the_coarsest_classes_are_powers_of_four(void **state)
{
    (void)state;
    size_class_init();
    size_class_coarsen(0);
    for (size_t size = 1, block = 16; size <= SMALL_MAX_BYTES; size++) {
        block = size > block ? block * 4 : block;
        assert_int_equal(size_classes[size_class_of(size)].size, block);
    }
}

static void refining_gives_a_size_its_finest_class_and_leaves_the_others(void **state)
{
    (void)state;
    size_class_init();
    size_class_coarsen(4);
    unsigned coarse = size_class_of(300);

    assert_int_equal(size_classes[coarse].size, 320);
    size_class_wear(coarse);
    assert_true(size_class_is_worn[coarse]);
    /* One that got a block of the class for its alignment. */
    size_class_refine(coarse, 100);
    assert_true(size_class_is_worn[coarse]);
    size_class_refine(coarse, 300);
    assert_false(size_class_is_worn[coarse]);
    for (size_t size = 241; size <= 400; size++) {
        size_t expected = size <= 256 ? 256 : size <= 320 ? 320 : size <= 384 ? 384 : 448;

        assert_int_equal(size_classes[size_class_of(size)].size,
                         size > 288 && size <= 304 ? 304 : expected);
    }
    /* Nothing is finer; and what has a class of its own keeps it. */
    size_class_refine(coarse, 320);
    size_class_refine(coarse, 300);
    assert_int_equal(size_classes[size_class_of(320)].size, 320);
    assert_int_equal(size_classes[size_class_of(300)].size, 304);
    /* It still serves others. */
    size_class_refine(coarse, 260);
    size_class_wear(coarse);
    assert_true(size_class_is_worn[coarse]);
    size_class_refine(coarse, 280);
    assert_false(size_class_is_worn[coarse]);
    /* A class that serves no sizes but its own has nothing to give away. */
    unsigned fine = size_class_of(304);

    size_class_wear(fine);
    size_class_refine(fine, 300);
    assert_false(size_class_is_worn[fine]);
    assert_int_equal(size_class_of(300), fine);
    size_class_wear(0);
    size_class_refine(0, 1);
    assert_false(size_class_is_worn[0]);
    assert_int_equal(size_class_of(1), 0);
}

static void refining_every_size_gives_the_finest_table(void **state)
{
    (void)state;
    size_class_init();
    size_class_coarsen(1);
    for (size_t size = 1; size <= SMALL_MAX_BYTES; size++) {
        size_class_refine(size_class_of(size), size);
        assert_int_equal(size_class_of(size), finest_class_of(size));
    }
}

static void where_there_is_much_of_a_size_its_slabs_are_several_units(void **state)
{
    (void)state;
    size_class_init();
    size_class_coarsen(2);
    unsigned single = size_class_of(SMALL_MAX_BYTES);

    assert_int_equal(size_classes[single].units, 1);
    size_class_wear(single);
    assert_true(size_class_is_worn[single]);
    size_class_refine(single, SMALL_MAX_BYTES);
    unsigned several = size_class_of(SMALL_MAX_BYTES);

    assert_int_equal(size_classes[several].size, SMALL_MAX_BYTES);
    assert_true(size_classes[several].units > 1);
    /* Nothing is finer. */
    size_class_wear(several);
    size_class_refine(several, SMALL_MAX_BYTES);
    assert_int_equal(size_class_of(SMALL_MAX_BYTES), several);
    assert_int_equal(size_class_of(40000), single);
}

static void each_class_of_several_units_up_to_64_KiB_has_a_single_one(void **state)
{
    (void)state;
    size_class_init();
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        unsigned single = size_class_single(class);

        if (size_classes[class].size > SMALL_MAX_BYTES) {
            assert_int_equal(single, CLASS_COUNT);
        } else {
            assert_int_equal(size_classes[single].units, 1);
            assert_true(single == class || size_classes[class].units > 1);
            assert_true(size_classes[single].size >= size_classes[class].size);
            assert_true(size_classes[single].align_mask >= size_classes[class].align_mask);
        }
    }
}

static unsigned class_of_any(size_t size)
{
    uint16_t code = size_class_code_of_any(size);

    return code != 0 ? size_class_of_code(code) : CLASS_COUNT;
}

static void above_a_size_has_a_class_once_it_was_asked_for_often(void **state)
{
    (void)state;
    size_class_init();
    assert_int_equal(class_of_any(1000), size_class_of(1000));
    for (size_t size = SMALL_MAX_BYTES + 1; size <= MEDIUM_MAX_BYTES + 1; size++) {
        assert_int_equal(class_of_any(size), CLASS_COUNT);
    }
    for (unsigned i = 0; i < 31; i++) {
        size_class_ask_medium(100000 + i);
    }
    assert_int_equal(class_of_any(100000), CLASS_COUNT);
    size_class_ask_medium(100000);
    for (size_t size = SMALL_MAX_BYTES + 1; size <= MEDIUM_MAX_BYTES + 1; size++) {
        bool has_one = size > 96 * KIB && size <= 112 * KIB;

        assert_int_equal(class_of_any(size) != CLASS_COUNT, has_one);
        assert_true(!has_one || size_classes[class_of_any(size)].size == 112 * KIB);
    }
}

static void every_medium_size_can_have_the_smallest_class_that_holds_it(void **state)
{
    (void)state;
    size_class_init();
    for (size_t size = SMALL_MAX_BYTES + 1; size <= MEDIUM_MAX_BYTES; size += 1000) {
        for (unsigned i = 0; i < 32; i++) {
            size_class_ask_medium(size);
        }
    }
    for (size_t size = SMALL_MAX_BYTES + 1; size <= MEDIUM_MAX_BYTES; size++) {
        unsigned class = class_of_any(size);

        assert_true(class < CLASS_COUNT);
        assert_true(size_classes[class].size >= size && size_classes[class - 1].size < size);
        size_class_wear(class);
        assert_false(size_class_is_worn[class]);
    }
    assert_int_equal(class_of_any(MEDIUM_MAX_BYTES + 1), CLASS_COUNT);
}

static void check(void *unused)
{
    (void)unused;
    size_class_check();
}

static void the_check_sees_a_size_in_a_class_that_does_not_hold_it(void **state)
{
    static const char fault[] = "size class: a size is served by a class that does not hold it";
    enum { SLOT = 100 };

    (void)state;
    size_class_check();
    size_class_init();
    size_class_check();
    uint16_t right = atomic_load(&size_class_codes[SLOT]);

    /* Too small, of a class that does not exist, of none, and no code. */
    const uint16_t wrong[] = {(uint16_t)(right - CODE_STEP), SIZE_CLASS_CODE(CLASS_COUNT), 0,
                              (uint16_t)(right + 1)};

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        atomic_store(&size_class_codes[SLOT], wrong[i]);
        assert_dies(check, NULL, fault);
    }
    atomic_store(&size_class_codes[SLOT], right);
    size_class_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(no_size_has_a_class_before_the_tables_are_filled),
        ISOLATED(every_size_gets_the_smallest_class_that_holds_it),
        ISOLATED(no_class_has_code_0_and_no_two_share_a_code),
        ISOLATED(rounding_up_wastes_at_most_16_bytes_or_a_sixteenth_up_to_16_KiB),
        ISOLATED(above_rounding_up_costs_a_slab_no_block),
        ISOLATED(classes_ascend_and_all_are_multiples_of_the_alignment),
        ISOLATED(a_slab_of_several_units_has_blocks_of_whole_pages_and_few_of_them),
        ISOLATED(only_the_start_of_a_block_has_an_index),
        ISOLATED(blocks_of_an_aligned_class_are_all_aligned),
        ISOLATED(no_smaller_class_would_have_been_aligned),
        ISOLATED(sizes_and_alignments_over_a_unit_have_no_class),
        ISOLATED(capacities_and_batches_suit_the_magazines),
        ISOLATED(the_bitmap_has_room_for_every_block),
        ISOLATED(coarse_classes_split_a_doubling_in_equal_steps),
        ISOLATED(the_coarsest_classes_are_powers_of_four),
        ISOLATED(refining_gives_a_size_its_finest_class_and_leaves_the_others),
        ISOLATED(refining_every_size_gives_the_finest_table),
        ISOLATED(where_there_is_much_of_a_size_its_slabs_are_several_units),
        ISOLATED(each_class_of_several_units_up_to_64_KiB_has_a_single_one),
        ISOLATED(above_a_size_has_a_class_once_it_was_asked_for_often),
        ISOLATED(every_medium_size_can_have_the_smallest_class_that_holds_it),
        ISOLATED(the_check_sees_a_size_in_a_class_that_does_not_hold_it),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
