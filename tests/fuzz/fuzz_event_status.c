/* Any bytes, and damaged answers: the decoders of events.EventService refuse them, or what they
 * give can be written again. */
#include "common/event_status.h"
#include "tests/fuzz/damage.h"

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

static void write_sound(struct buf *b)
{
    static const struct event_status_change history[2] = {
        {.state = {.status = STATUS_ACCEPTED}, .time_ms = 1700000000000, .position = 1},
        {.state = {.status = STATUS_DEAD, .generation = 1, .attempt = 2},
         .time_ms = 1700000001000,
         .position = 2,
         .processor = {"host-1", 6},
         .error = {"gave up", 7}},
    };
    struct event_status status = {.id = {{1}},
                                  .state = {.status = STATUS_DEAD, .generation = 1, .attempt = 2},
                                  .name = VIEW("order.created"),
                                  .updated_ms = 1700000001000,
                                  .full = true,
                                  .producer_id = VIEW("123"),
                                  .payload = VIEW("{}"),
                                  .history = history,
                                  .history_count = 2};
    if (event_status_write(&status, b) != ERR_NONE)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view bytes = {(const char *)data, size};
    uint64_t floor;
    struct buf b, again;
    buf_init(&b, 64u << 20);
    buf_init(&again, 64u << 20);
    write_sound(&b);
    damage(&b, data, size);
    try_status(buf_view(&b), &again);
    buf_clear(&b);
    try_status(bytes, &b);
    try_request(bytes, &b);
    if (event_stats_request_read(bytes, &floor) == ERR_NONE && size == 0 && floor != 0)
        abort();
    buf_free(&again);
    buf_free(&b);
    return 0;
}
