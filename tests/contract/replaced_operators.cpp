/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* replaced_operators.cpp - a program that has some operators of its own: those that it has not go
 * by them (C++17, 21.6.2). REPLACES_NEW, REPLACES_DELETE, REPLACES_SIZED: which it has, of the
 * basic forms, aligned and not.
 *
 * Only where it replaces both can it know its blocks: then each has a head that every delete has to
 * find. */
#include <cstdio>
#include <cstdlib>
#include <new>

/* To have only some is the point. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wsized-deallocation"
#endif

namespace
{

constexpr std::size_t ALIGNMENT = 64;
constexpr std::size_t SIZE = 100;
constexpr int FORMS = 4; /* of new, and as many of delete for each */

#if defined(REPLACES_NEW) && defined(REPLACES_DELETE)
constexpr std::size_t HEAD = ALIGNMENT;
#else
constexpr std::size_t HEAD = 0;
#endif

[[maybe_unused]] int news;
[[maybe_unused]] int deletes;

[[maybe_unused]] void *allocate(std::size_t size)
{
    char *block = static_cast<char *>(std::aligned_alloc(ALIGNMENT, size + 2 * ALIGNMENT));

    if (block == nullptr) {
        throw std::bad_alloc();
    }
    news++;
    return block + HEAD;
}

[[maybe_unused]] void release(void *block)
{
    deletes++;
    /* NOLINTNEXTLINE(clang-analyzer-unix.MismatchedDeallocator): it is our operator's. */
    std::free(static_cast<char *>(block) - HEAD);
}

} // namespace

#ifdef REPLACES_NEW
void *operator new(std::size_t size)
{
    return allocate(size);
}
void *operator new(std::size_t size, std::align_val_t)
{
    return allocate(size);
}
#endif

#ifdef REPLACES_DELETE
void operator delete(void *block) noexcept
{
    release(block);
}
void operator delete(void *block, std::align_val_t) noexcept
{
    release(block);
}
#endif

#ifdef REPLACES_SIZED
void operator delete(void *block, std::size_t) noexcept
{
    release(block);
}
#endif

namespace
{

void use_plain_forms(int form)
{
    void *blocks[FORMS] =
        {operator new(SIZE), operator new[](SIZE), operator new(SIZE, std::nothrow),
                                                   operator new[](SIZE, std::nothrow)};

    for (int i = 0; i < FORMS; i++) {
        bool array = i % 2 != 0;

        switch (form) {
        case 0:
            array ? operator delete[](blocks[i]) : operator delete(blocks[i]);
            break;
        case 1:
            array ? operator delete[](blocks[i], SIZE) : operator delete(blocks[i], SIZE);
            break;
        default:
            array ? operator delete[](blocks[i], std::nothrow) :
                  operator delete(blocks[i], std::nothrow);
        }
    }
}

void use_aligned_forms(int form)
{
    constexpr std::align_val_t aligned{ALIGNMENT};
    void *blocks[FORMS] = {operator new(SIZE, aligned), operator new[](SIZE, aligned),
                                                        operator new(SIZE, aligned, std::nothrow),
                                                        operator new[](SIZE, aligned,
                                                                       std::nothrow)};

    for (int i = 0; i < FORMS; i++) {
        bool array = i % 2 != 0;

        switch (form) {
        case 0:
            array ? operator delete[](blocks[i], aligned) : operator delete(blocks[i], aligned);
            break;
        case 1:
            array ? operator delete[](blocks[i], SIZE, aligned) :
                  operator delete(blocks[i], SIZE, aligned);
            break;
        default:
            array ? operator delete[](blocks[i], aligned, std::nothrow) :
                  operator delete(blocks[i], aligned, std::nothrow);
        }
    }
}

} // namespace

int main()
{
    constexpr int KINDS = 3;

    for (int form = 0; form < KINDS; form++) {
        use_plain_forms(form);
        use_aligned_forms(form);
    }
#ifdef REPLACES_NEW
    if (news != 2 * KINDS * FORMS) {
        std::printf("%d news went by the program's own\n", news);
        return 1;
    }
#endif
#ifdef REPLACES_DELETE
    if (deletes != 2 * KINDS * FORMS) {
        std::printf("%d deletes went by the program's own\n", deletes);
        return 1;
    }
#endif
    return 0;
}
