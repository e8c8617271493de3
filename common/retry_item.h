/* An attempt to come: a record of the retry log (proto/retry.proto).
 */
#ifndef TIDINGS_RETRY_ITEM_H
#define TIDINGS_RETRY_ITEM_H

#include "common/status_batch.h"

struct retry_item {
    struct event_id id;
    uint64_t event_position; /* in the event log, from 1 on */
    uint32_t generation;     /* 0 to STATUS_GENERATION_MAX */
    uint32_t attempt;        /* 1 to STATUS_ATTEMPT_MAX */
    int64_t due_ms;          /* wall clock: not before */
    /* The delivery that seems lost while the event was `processing` for it; this item has its
     * place. */
    struct status_delivery instead_of;
};

/* Appends its encoding to `out`. ERR_INVALID: a number out of bounds; ERR_MEMORY. */
must_check enum err retry_item_write(const struct retry_item *item, struct buf *out);
/* ERR_MALFORMED: not an item (a version we don't know, no id, a number out of bounds).
 * ERR_MEMORY. */
must_check enum err retry_item_read(struct view bytes, struct retry_item *ret);

#endif
