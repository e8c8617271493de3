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

/* At least 1: realloc to 0 bytes would free the block. The check is ours because that of calloc
 * aborts under AddressSanitizer. */
static bool product(size_t count, size_t size, size_t *ret)
{
    if (__builtin_mul_overflow(count, size, ret))
        return false;
    *ret = *ret ? *ret : 1;
    return true;
}

void *mem_zero(size_t count, size_t size)
{
    size_t bytes;

    if (must_fail() || !product(count, size, &bytes))
        return NULL;
    return calloc(1, bytes);
}

void *mem_grow(void *block, size_t count, size_t size)
{
    size_t bytes;

    if (must_fail() || !product(count, size, &bytes))
        return NULL;
    return realloc(block, bytes);
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

int mem_fail_after(int after)
{
    int left = fail_after;

    fail_after = after;
    return left;
}

uint64_t mem_allocations(void)
{
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}
