/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cxx_loaded.c - the C++ library of a process that has libbreakwater.so, if it has one.
 *
 * Where it was loaded together with us, weak references are bound to it. A C program may load it
 * later, with a plugin that is in C++, and there may be one for each plugin. So what is missing is
 * looked up when it is needed: in the global scope, then in the caller's object and in what that
 * needs, as the loader does for the caller.
 *
 * Owns         nothing.
 * Concurrency  any thread, no lock held: a look-up takes the loader's lock, and may call malloc.
 * Called by    operators.c and operators_nothrow.c.
 */
#include "cxx_library.h"

#include <dlfcn.h>
#include <link.h>

#pragma weak _ZSt15get_new_handlerv
#pragma weak __cxa_allocate_exception
#pragma weak __cxa_throw
#pragma weak _ZNSt9bad_allocD1Ev

/* Of data GCC 12 forgets it for powerpc64le. */
__asm__(".weak _ZTISt9bad_alloc\n"
        ".weak _ZTVSt9bad_alloc");

/* A handle of the object that an address is in, for object_close(), or NULL. Where memory is short,
 * what came with another object may not open, as that needs a list of its dependencies; the other,
 * whose list there is, stands before it. A dlclose() on another thread might cut the way there:
 * that is risked only where the process would be stopped else. */
static void *object_open(const void *address)
{
    Dl_info info;
    struct link_map *object;
    void *handle;

    if (dladdr1(address, &info, (void **)&object, RTLD_DL_LINKMAP) == 0) {
        return NULL;
    }
    do {
        handle = dlopen(object->l_name, RTLD_LAZY | RTLD_NOLOAD);
        object = object->l_prev;
    } while (handle == NULL && object != NULL);
    return handle;
}

static void object_close(void *object)
{
    if (object != NULL) {
        (void)dlclose(object);
    }
}

static void *look_up(const char *name, void *object)
{
    void *symbol = dlsym(RTLD_DEFAULT, name);

    return symbol != NULL ? symbol : dlsym(object, name);
}

struct cxx_library cxx_library_of(const void *caller)
{
    struct cxx_library library = {
        _ZSt15get_new_handlerv, __cxa_allocate_exception, __cxa_throw,
        _ZTISt9bad_alloc,       _ZTVSt9bad_alloc,         _ZNSt9bad_allocD1Ev,
    };

    if (library.get_new_handler == NULL || !cxx_library_throws(&library)) {
        void *object = object_open(caller);

        /* POSIX lets dlsym() give functions: the conversion is the one it documents. */
        *(void **)&library.get_new_handler = look_up("_ZSt15get_new_handlerv", object);
        *(void **)&library.allocate_exception = look_up("__cxa_allocate_exception", object);
        *(void **)&library.throw_exception = look_up("__cxa_throw", object);
        library.type = look_up("_ZTISt9bad_alloc", object);
        library.vtable = look_up("_ZTVSt9bad_alloc", object);
        *(void **)&library.destroy = look_up("_ZNSt9bad_allocD1Ev", object);
        object_close(object);
    }
    return library;
}

void *cxx_library_own(const struct cxx_library *library, const char *name)
{
    void *own = dlsym(RTLD_NEXT, name);

    if (own == NULL) {
        void *object = object_open(*(void *const *)&library->get_new_handler);

        own = dlsym(object, name);
        object_close(object);
    }
    /* Ours again, where the new-handler's object has none: it would call itself for ever. */
    return own != dlsym(RTLD_DEFAULT, name) ? own : NULL;
}
