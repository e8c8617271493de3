#include "common/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t allocations;
static _Thread_local int fail_after = -1;

static bool must_fail(void)
{
    if (fail_after >= 0 && fail_after-- == 0)
        return true;
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return false;
}

void *mem_alloc(size_t size)
{
    if (must_fail())
        return NULL;
    return malloc(size ? size : 1);
}

void *mem_zero(size_t count, size_t size)
{
    if (must_fail())
        return NULL;
    return calloc(count ? count : 1, size ? size : 1);
}

void *mem_grow(void *block, size_t count, size_t size)
{
    if (must_fail())
        return NULL;
    /* realloc to 0 bytes would free the block */
    return reallocarray(block, count ? count : 1, size ? size : 1);
}

char *mem_copy_text(const char *text, size_t len)
{
    char *copy = len < SIZE_MAX ? mem_alloc(len + 1) : NULL;

    if (!copy)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void mem_free(void *block)
{
    free(block);
}

void mem_fail_after(int after)
{
    fail_after = after;
}

uint64_t mem_allocations(void)
{
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}
