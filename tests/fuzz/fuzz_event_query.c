/* Any bytes, and damaged answers: the decoders of questions about many events refuse them, or what
 * they give can be written again and read as the same. */
#include "common/event_query.h"
#include "tests/fuzz/damage.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_requests(struct view bytes, struct buf *b)
{
    struct event_status_holder *holder = NULL;
    struct event_batch_request batch;
    struct event_list_request list;
    struct event_status_request watch;
    struct event_changes_request changes;
    if (event_batch_request_read(bytes, &holder, &batch) == ERR_NONE) {
        buf_clear(b);
        if (event_batch_request_write(&batch, b) != ERR_NONE)
            abort();
        event_status_holder_free(holder);
    }
    if (event_list_request_read(bytes, &holder, &list) == ERR_NONE) {
        buf_clear(b);
        if (event_list_request_write(&list, b) != ERR_NONE || !view_is_utf8(list.name) ||
            !view_is_utf8(list.page_token))
            abort();
        event_status_holder_free(holder);
    }
    if (event_watch_request_read(bytes, &holder, &watch) == ERR_NONE) {
        buf_clear(b);
        if (event_watch_request_write(&watch, b) != ERR_NONE || !view_is_utf8(watch.event_id))
            abort();
        event_status_holder_free(holder);
    }
    if (event_changes_request_read(bytes, &holder, &changes) == ERR_NONE) {
        if (!changes.has_after && changes.after_position != 0)
            abort();
        event_status_holder_free(holder);
    }
}

static void try_batch(struct view bytes, struct buf *b)
{
    struct event_status_holder *holder = NULL, *again_holder = NULL;
    const struct event_batch_result *results, *again;
    size_t count, again_count;
    if (event_batch_read(bytes, &holder, &results, &count) != ERR_NONE)
        return;
    buf_clear(b);
    if (event_batch_write(results, count, b) != ERR_NONE ||
        event_batch_read(buf_view(b), &again_holder, &again, &again_count) != ERR_NONE ||
        again_count != count)
        abort();
    for (size_t i = 0; i < count; i++) {
        if (results[i].e != again[i].e ||
            (!results[i].e && !id_equal(&results[i].status.id, &again[i].status.id)))
            abort();
    }
    event_status_holder_free(again_holder);
    event_status_holder_free(holder);
}

static void try_lists(struct view bytes, struct buf *b)
{
    struct event_status_holder *holder = NULL;
    struct event_page page;
    struct event_changes changes;
    if (event_page_read(bytes, &holder, &page) == ERR_NONE) {
        buf_clear(b);
        if (event_page_write(&page, b) != ERR_NONE)
            abort();
        event_status_holder_free(holder);
    }
    if (event_changes_read(bytes, &holder, &changes) == ERR_NONE) {
        buf_clear(b);
        if (event_changes_write(&changes, b) != ERR_NONE)
            abort();
        event_status_holder_free(holder);
    }
}

static void write_sound(struct buf *b)
{
    struct event_batch_result results[2] = {
        {.event_id = VIEW("123"),
         .status = {.id = {{1}},
                    .state = {.status = STATUS_DEAD, .attempt = 2},
                    .name = VIEW("order.created"),
                    .updated_ms = 1700000000000,
                    .event_position = 7,
                    .position = 9}},
        {.event_id = VIEW("456"), .e = ERR_NOT_FOUND, .message = VIEW("no event")}};
    if (event_batch_write(results, 2, b) != ERR_NONE)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view bytes = {(const char *)data, size};
    struct buf b, again;
    buf_init(&b, 64u << 20);
    buf_init(&again, 64u << 20);
    write_sound(&b);
    damage(&b, data, size);
    try_batch(buf_view(&b), &again);
    try_batch(bytes, &again);
    try_lists(bytes, &again);
    try_requests(bytes, &again);
    buf_free(&again);
    buf_free(&b);
    return 0;
}
