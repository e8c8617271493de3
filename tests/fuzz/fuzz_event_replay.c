/* Any bytes, and damaged answers: the decoders of replays' messages refuse them, or what they give
 * can be written again and read as the same. */
#include "common/event_replay.h"
#include "tests/fuzz/damage.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_same_request(const struct replay_request *a, const struct replay_request *b)
{
    if (a->event_id_count != b->event_id_count || a->statuses != b->statuses ||
        a->accepted_until_ms != b->accepted_until_ms || a->rate != b->rate)
        abort();
    for (size_t i = 0; i < a->event_id_count; i++)
        if (!view_equal(a->event_ids[i], b->event_ids[i]) && a->event_ids[i].len <= 65536)
            abort();
}

static void try_request(struct view bytes, struct buf *b)
{
    struct event_replay_holder *holder = NULL, *again_holder = NULL;
    struct replay_request request, again;
    if (replay_request_read(bytes, &holder, &request) != ERR_NONE)
        return;
    buf_clear(b);
    if (replay_request_write(&request, b) != ERR_NONE ||
        replay_request_read(buf_view(b), &again_holder, &again) != ERR_NONE)
        abort();
    must_be_same_request(&request, &again);
    event_replay_holder_free(again_holder);
    event_replay_holder_free(holder);
}

static void try_list(struct view bytes, struct buf *b)
{
    struct event_replay_holder *holder = NULL, *again_holder = NULL;
    const struct replay_progress *replays, *again;
    size_t count, again_count;
    if (replay_list_read(bytes, &holder, &replays, &count) != ERR_NONE)
        return;
    buf_clear(b);
    if (replay_list_write(replays, count, b) != ERR_NONE ||
        replay_list_read(buf_view(b), &again_holder, &again, &again_count) != ERR_NONE ||
        again_count != count)
        abort();
    for (size_t i = 0; i < count; i++) {
        if (replays[i].state != again[i].state || replays[i].replayed != again[i].replayed)
            abort();
    }
    event_replay_holder_free(again_holder);
    event_replay_holder_free(holder);
}

static void try_others(struct view bytes, struct buf *b)
{
    struct event_replay_holder *holder = NULL;
    struct replay_progress progress;
    struct view id;
    uint32_t page_size = 7;
    if (replay_progress_read(bytes, &holder, &progress) == ERR_NONE) {
        buf_clear(b);
        if (replay_progress_write(&progress, b) != ERR_NONE)
            abort();
        event_replay_holder_free(holder);
        holder = NULL;
    }
    if (replay_id_read(bytes, &holder, &id) == ERR_NONE) {
        if (!view_is_utf8(id))
            abort();
        event_replay_holder_free(holder);
    }
    if (replay_list_request_read(bytes, &page_size) == ERR_NONE && bytes.len == 0 && page_size != 0)
        abort();
}

static void write_sound(struct buf *b)
{
    static const struct view ids[] = {VIEW("123"), VIEW("456")};
    struct replay_progress replays[2] = {
        {.has_id = true,
         .id = {{1}},
         .state = REPLAY_RUNNING,
         .replayed = 5,
         .started_ms = 1700000000000,
         .updated_ms = 1700000001000,
         .processor = VIEW("host-1"),
         .request = {.event_ids = ids, .event_id_count = 2, .source = VIEW("/shop")}},
        {.has_id = true,
         .id = {{2}},
         .state = REPLAY_DONE,
         .request = {.statuses = 1u << STATUS_DEAD, .name = VIEW("order.*"), .rate = 100}}};
    if (replay_list_write(replays, 2, b) != ERR_NONE)
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
    try_list(buf_view(&b), &again);
    try_list(bytes, &again);
    try_request(bytes, &again);
    try_others(bytes, &again);
    buf_free(&again);
    buf_free(&b);
    return 0;
}
