/* A snapshot in memory: what takes its bytes, what gives them, and sums that fit again after they
 * were changed.
 */
#ifndef TESTS_SNAPSHOT_BYTES_H
#define TESTS_SNAPSHOT_BYTES_H

#include "event-processor/snapshot_parts.h"

#include <zlib.h>

static inline enum err snapshot_bytes_add(void *ctx, const void *bytes, size_t len)
{
    struct buf *b = ctx;
    buf_add(b, bytes, len);
    return buf_failed(b) ? ERR_MEMORY : ERR_NONE;
}

struct snapshot_bytes {
    struct view left;
};

static inline enum err snapshot_bytes_take(void *ctx, void *bytes, size_t len, size_t *ret_len)
{
    struct snapshot_bytes *from = ctx;
    *ret_len = len < from->left.len ? len : from->left.len;
    if (*ret_len > 0)
        memcpy(bytes, from->left.data, *ret_len);
    from->left.data += *ret_len;
    from->left.len -= *ret_len;
    return ERR_NONE;
}

/* Makes each block's sum that of the bytes as they are, as far as the lengths lead. */
static inline void snapshot_bytes_seal(struct buf *b)
{
    size_t at = SNAPSHOT_MAGIC_SIZE + 4;
    while (b->len > at + 12) {
        uint64_t len = snapshot_number(b->data + at + 4, 4);
        if (len > b->len - at - 12)
            return;
        at += 8 + (size_t)len;
        uint8_t sum[8];
        snapshot_store(sum, crc32(crc32(0, NULL, 0), (const Bytef *)b->data, (uInt)at));
        memcpy(b->data + at, sum, 4);
        at += 4;
    }
}

#endif
