/* What writing and reading a snapshot share. Private to snapshot_*.c.
 *
 *     magic 8, version 4, then blocks: kind 4, length 4, `length` bytes, CRC-32 4 (of everything
 *     before it); numbers are little-endian
 */
#ifndef TIDINGS_SNAPSHOT_PARTS_H
#define TIDINGS_SNAPSHOT_PARTS_H

#include "event-processor/snapshot.h"
#include "event-processor/status_frozen.h"

#define SNAPSHOT_MAGIC "TIDSNAP\n"
#define SNAPSHOT_MAGIC_SIZE 8
#define SNAPSHOT_BLOCK_MAX (16u << 20)

/* They come in this order: one of the first and the last, any number of the others. */
enum snapshot_block {
    SNAPSHOT_HEAD = 1, /* see snapshot_head_* below */
    SNAPSHOT_NAMES,    /* of numbers from 1 on: length 1, text */
    SNAPSHOT_REPLAY,   /* begin position 8, started ms 8, ended 8, a batch of one replay's change */
    SNAPSHOT_PAGE,     /* number 8, present 512, cells of 34 bytes */
    SNAPSHOT_END,      /* cells 8, first event position 8 */
};

static inline void snapshot_store(uint8_t bytes[8], uint64_t value)
{
    for (size_t i = 0; i < 8; i++, value >>= 8)
        bytes[i] = (uint8_t)value;
}

/* Adds the lowest `size` bytes. */
static inline void snapshot_add(struct buf *b, uint64_t value, size_t size)
{
    uint8_t bytes[8];
    snapshot_store(bytes, value);
    buf_add(b, bytes, size);
}

static inline uint64_t snapshot_number(const void *from, size_t size)
{
    const uint8_t *bytes = from;
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

#endif
