/* The hash index of the status table: from an id's hash to the positions that may hold it.
 *
 * A slot is 5 bytes: a tag of 8 bits of the hash (never 0: a free slot) and the position's low 32
 * bits. So a probe that passes a stranger looks into the stranger's cell once in 255 times only.
 * The table knows the high bits: its events span fewer than 2^32 positions. 1,024 shards by hash,
 * each growing by half at 80 % load by itself, and not all at the same time: growth touches 1/1024
 * of the slots at once, and a slot costs some 8 bytes an event. Linear probing. Nothing is removed
 * when the table forgets an event: whoever looks sees that the table has no such event there, and a
 * shard that is full is first swept of such slots, and shrinks if few are left. Not thread-safe:
 * guarded by the status table's lock.
 */
#ifndef TIDINGS_STATUS_INDEX_H
#define TIDINGS_STATUS_INDEX_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct status_index;

/* Growing needs the hash of what is indexed at a position (its low 32 bits); false: there is no
 * such event any more. Of another hash than it was indexed with: it has another id now. */
typedef bool (*status_index_hash_fn)(const void *ctx, uint32_t low, uint64_t *ret_hash);

must_check enum err status_index_new(status_index_hash_fn hash_of, const void *ctx,
                                     struct status_index **ret);
void status_index_free(struct status_index *index);
void status_index_clear(struct status_index *index);
/* Makes room for about so many, in an index that is empty: then none of them makes it grow. Where
 * memory is short it has less room. */
void status_index_reserve(struct status_index *index, uint64_t count);
/* To be called some adds before that hash is added or looked for: it is in the cache then. */
void status_index_prefetch(const struct status_index *index, uint64_t hash);
/* ERR_MEMORY: nothing was added. */
must_check enum err status_index_add(struct status_index *index, uint64_t hash, uint32_t low);

struct status_index_cursor { /* zeroed for the first call */
    uint32_t steps;
};
/* The next position whose id may have this hash; false: no more. */
bool status_index_next(const struct status_index *index, uint64_t hash,
                       struct status_index_cursor *cursor, uint32_t *ret_low);
size_t status_index_bytes(const struct status_index *index);

#endif
