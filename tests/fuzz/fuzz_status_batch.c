/* Any bytes, and damaged batches: status_batch_read refuses them, or what it gives can be read in
 * full and written again. */
#include "common/mem.h"
#include "common/status_batch.h"
#include "tests/fuzz/damage.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const struct status_batch *batch)
{
    size_t count = status_batch_count(batch);
    size_t replay_count = status_batch_replay_count(batch);
    struct status_change *changes = mem_zero(count, sizeof *changes);
    struct replay_change *replays = mem_zero(replay_count, sizeof *replays);
    struct status_batch *again = NULL;
    struct buf b;
    buf_init(&b, 64u << 20);
    for (size_t i = 0; i < count; i++)
        changes[i] = status_batch_get(batch, i);
    for (size_t i = 0; i < replay_count; i++)
        replays[i] = status_batch_replay(batch, i);
    if (status_batch_write_all(changes, count, replays, replay_count, status_batch_processor(batch),
                               &b) != ERR_NONE ||
        status_batch_read(buf_view(&b), &again) != ERR_NONE || status_batch_count(again) != count ||
        status_batch_replay_count(again) != replay_count)
        abort();
    status_batch_free(again);
    buf_free(&b);
    mem_free(replays);
    mem_free(changes);
}

static void try_read(struct view bytes)
{
    struct status_batch *batch = NULL;
    if (status_batch_read(bytes, &batch) == ERR_NONE)
        write_again(batch);
    status_batch_free(batch);
}

static void write_sound(struct buf *b)
{
    struct status_change changes[4] = {
        {.id = {{1}}, .event_position = 1, .state = {STATUS_PROCESSED, false, 0, 1}},
        {.id = {{2}}, .event_position = 300, .state = {STATUS_PROCESSING, true, 1, 2}},
        {.id = {{3}}, .event_position = 1u << 30, .state = {STATUS_DEAD, false, 1, 3}},
        {.id = {{5}}, .event_position = 12, .state = {STATUS_RETRYING, false, 0, 3}},
    };
    changes[1].previous_position = 77;
    changes[1].delivery = (struct status_delivery){STATUS_DELIVERY_RETRY, 9};
    changes[3].due_ms = 1700000001000;
    changes[2].time_ms = 1700000000000;
    changes[2].error = VIEW("connection refused");
    changes[2].letter_position = 12;
    changes[2].conflict_id = (struct event_id){{4}};
    changes[2].conflict_position = 299;
    static const struct event_id ids[] = {{{6}}, {{7}}};
    static const uint64_t letters[] = {3, 300};
    struct replay_change replay = {
        .id = {{8}}, .state = REPLAY_RUNNING, .cursor = 300, .letter_cursor = 3};
    replay.has_filter = true;
    replay.filter = (struct replay_filter){.event_ids = ids,
                                           .event_id_count = 2,
                                           .letters = letters,
                                           .letter_count = 2,
                                           .statuses = 1u << STATUS_DEAD,
                                           .name = VIEW("order.*"),
                                           .to_position = 77,
                                           .rate = 5};
    if (status_batch_write_all(changes, 4, &replay, 1, VIEW("host-1"), b) != ERR_NONE)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    write_sound(&b);
    damage(&b, data, size);
    try_read(buf_view(&b));
    buf_free(&b);
    try_read((struct view){(const char *)data, size});
    return 0;
}
