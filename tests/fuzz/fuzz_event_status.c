/* Any bytes: the decoders of events.EventService refuse them, or what they give can be written
 * again. */
#include "common/event_status.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_status(struct view bytes, struct buf *b)
{
    struct event_status_holder *holder = NULL;
    struct event_status_holder *again_holder = NULL;
    struct event_status status;
    struct event_status again;
    if (event_status_read(bytes, &holder, &status) != ERR_NONE)
        return;
    buf_clear(b);
    if (event_status_write(&status, b) != ERR_NONE ||
        event_status_read(buf_view(b), &again_holder, &again) != ERR_NONE ||
        again.history_count != (status.full ? status.history_count : 0))
        abort();
    event_status_holder_free(again_holder);
    event_status_holder_free(holder);
}

static void try_request(struct view bytes, struct buf *b)
{
    struct event_status_holder *holder = NULL;
    struct event_status_request request;
    if (event_status_request_read(bytes, &holder, &request) != ERR_NONE)
        return;
    buf_clear(b);
    if (event_status_request_write(&request, b) != ERR_NONE)
        abort();
    event_status_holder_free(holder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view bytes = {(const char *)data, size};
    uint64_t floor;
    struct buf b;
    buf_init(&b, 64u << 20);
    try_status(bytes, &b);
    try_request(bytes, &b);
    if (event_stats_request_read(bytes, &floor) == ERR_NONE && size == 0 && floor != 0)
        abort();
    buf_free(&b);
    return 0;
}
