/* Any bytes, and damaged snapshots whose sums fit again: snapshot_read refuses them and leaves the
 * table empty, or the table that it has made can be asked, changed and written again. */
#include "common/mem.h"
#include "tests/fuzz/damage.h"
#include "tests/lib/snapshot_bytes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct snapshot_streams streams = {.events = {"E", 1}, .statuses = {"S", 1}};

static void need(bool good)
{
    if (!good)
        abort();
}

static void write_table(struct status_table *table, struct replays *replays, struct buf *out)
{
    struct snapshot_sink sink = {.write = snapshot_bytes_add, .ctx = out};
    struct status_reflects reflects;
    struct replays_saved saved;
    status_table_reflects(table, &reflects);
    struct snapshot_head head = {.first = reflects.first_event_position};
    head.point.events.position = reflects.event_position;
    head.point.statuses.position = reflects.status_position;
    status_table_write_begin(table);
    need(!status_table_freeze(table) && !replays_save(replays, &saved));
    status_table_write_end(table);
    need(!snapshot_write(&sink, &streams, &head, table, &saved));
    status_table_thaw(table);
    replays_saved_free(&saved);
}

static void add(struct status_table *table, uint64_t position, uint8_t id, enum status status)
{
    struct event_id event_id = {{id}};
    struct status_change change = {
        .id = event_id, .event_position = position, .state = {.status = status, .attempt = 1}};
    status_table_write_begin(table);
    need(!status_table_add(table, position, &event_id, VIEW("order.created"), 1000));
    if (status != STATUS_ACCEPTED)
        (void)status_table_apply(table, &change, position, 1);
    status_table_passed_event(table, position);
    status_table_passed_status(table, position);
    status_table_write_end(table);
}

/* Ids in several states, copies, a conflict, and a replay. */
static void write_sound(struct buf *out)
{
    struct status_table *table;
    struct replays *replays;
    static const struct event_id ids[] = {{{6}}, {{7}}};
    struct replay_change replay = {.id = {{8}}, .state = REPLAY_RUNNING, .has_filter = true};
    replay.filter = (struct replay_filter){
        .event_ids = ids, .event_id_count = 2, .statuses = 1u << STATUS_DEAD, .name = VIEW("a.*")};
    need(!status_table_new(&table) && !replays_new(&replays));
    for (int i = 1; i < STATUS_COUNT; i++)
        add(table, 10 + (uint64_t)i, (uint8_t)i, (enum status)i);
    for (uint8_t i = 1; i <= 3; i++)
        add(table, 5000 + i, i, STATUS_ACCEPTED);
    struct status_change conflict = {.id = {{99}},
                                     .event_position = 5001,
                                     .conflict_id = {{1}},
                                     .conflict_position = 11,
                                     .state = {.status = STATUS_DEAD}};
    status_table_write_begin(table);
    need(!status_table_apply_conflict(table, &conflict, 5002, 0) &&
         !replays_apply(replays, &replay, 3));
    status_table_write_end(table);
    write_table(table, replays, out);
    replays_free(replays);
    status_table_free(table);
}

/* Everything that was read is found, can be forgotten, and written. */
static void use(struct status_table *table, struct replays *replays)
{
    struct status_table_stats stats;
    struct status_entry entry, found;
    struct buf again;
    status_table_stats(table, 0, &stats);
    uint64_t at = 0, seen = 0;
    while (status_table_first_of(table, ~0u, at + 1, UINT64_MAX, &entry, &stats.reflects)) {
        need(status_table_find(table, &entry.id, &found, NULL));
        at = entry.event_position;
        seen++;
    }
    need(seen == stats.events);
    buf_init(&again, 1 << 20);
    write_table(table, replays, &again);
    buf_free(&again);
    status_table_write_begin(table);
    need(!status_table_forget(table, at));
    status_table_write_end(table);
    status_table_stats(table, 0, &stats);
    need(seen == 0 || stats.events >= 1);
}

static void try_read(struct view bytes)
{
    struct status_table *table;
    struct replays *replays;
    struct snapshot_head head;
    struct err_detail detail;
    struct status_table_stats stats;
    struct snapshot_bytes from = {bytes};
    struct snapshot_source source = {.read = snapshot_bytes_take, .ctx = &from, .size = bytes.len};
    need(!status_table_new(&table) && !replays_new(&replays));
    if (!snapshot_read(&source, &streams, table, replays, &head, &detail))
        use(table, replays);
    else
        status_table_stats(table, 0, &stats), need(stats.events == 0 && stats.copies == 0);
    replays_free(replays);
    status_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    write_sound(&b);
    damage(&b, data, size);
    snapshot_bytes_seal(&b);
    try_read(buf_view(&b));
    buf_free(&b);
    try_read((struct view){(const char *)data, size});
    return 0;
}
