/* Memory: every allocation of ours goes through here, so that tests can make each one fail in turn.
 *
 * Thread-safe. All return NULL when memory is short (and the caller returns ERR_MEMORY). A size of
 * 0 gives a block of its own, as any other.
 */
#ifndef TIDINGS_MEM_H
#define TIDINGS_MEM_H

#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size) __attribute__((malloc, warn_unused_result));
/* Like calloc. */
void *mem_zero(size_t count, size_t size) __attribute__((malloc, warn_unused_result));
/* Like reallocarray: on failure the block is as it was. */
void *mem_grow(void *block, size_t count, size_t size) __attribute__((warn_unused_result));
/* Adds a NUL. `text` may be NULL if len is 0. */
char *mem_copy_text(const char *text, size_t len) __attribute__((malloc, warn_unused_result));
void mem_free(void *block);

/* For tests: after `after` more allocations of the calling thread the next one fails, once.
 * Negative: none fails. Returns how many were left before: negative if the failure has come, or
 * none was set. */
int mem_fail_after(int after);
/* For tests and the bench: allocations made by this process so far. */
uint64_t mem_allocations(void);

#endif
