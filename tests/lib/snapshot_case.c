#include "tests/lib/snapshot_case.h"

#include "tests/lib/snapshot_bytes.h"

#include <stdio.h>

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};
const struct snapshot_streams snap_streams = {.events = {"S_EVENTS", 8},
                                              .statuses = {"S_STATUS", 8}};

struct event_id snap_id(uint64_t number)
{
    struct event_id id = {{1}};
    memcpy(id.bytes + 8, &number, sizeof number);
    return id;
}

/* The id that stands for the UUIDv5 of a position. */
struct event_id snap_own_id(uint64_t position)
{
    struct event_id id = snap_id(position);
    id.bytes[0] = 2;
    return id;
}

struct status_table *snap_table(void)
{
    struct status_table *table;
    assert_int_equal(status_table_new(&table), ERR_NONE);
    return table;
}

void snap_add(struct status_table *table, uint64_t position, uint64_t number)
{
    char name[16];
    struct event_id id = snap_id(number);
    int len = snprintf(name, sizeof name, "n.%u", (unsigned)(number % 7));
    status_table_write_begin(table);
    assert_int_equal(status_table_add(table, position, &id, (struct view){name, (size_t)len},
                                      1700000000000 + (int64_t)position * 1000),
                     ERR_NONE);
    status_table_passed_event(table, position);
    status_table_write_end(table);
}

void snap_apply(struct status_table *table, uint64_t event_position, uint64_t number,
                struct status_state state, uint64_t position)
{
    struct status_change change = {.id = snap_id(number),
                                   .event_position = event_position,
                                   .state = state,
                                   .time_ms = 1800000000000 + (int64_t)position * 1000};
    status_table_write_begin(table);
    (void)status_table_apply(table, &change, position, (uint32_t)position % 4096);
    status_table_passed_status(table, position);
    status_table_write_end(table);
}

void snap_conflict(struct status_table *table, uint64_t event_position, uint64_t number,
                   uint64_t first, uint64_t position)
{
    struct status_change change = {.id = snap_own_id(event_position),
                                   .event_position = event_position,
                                   .conflict_id = snap_id(number),
                                   .conflict_position = first,
                                   .state = {.status = STATUS_DEAD},
                                   .time_ms = 1800000000000};
    status_table_write_begin(table);
    assert_int_equal(status_table_apply_conflict(table, &change, position, 3), ERR_NONE);
    status_table_passed_status(table, position);
    status_table_write_end(table);
}

void snap_forget(struct status_table *table, uint64_t first)
{
    status_table_write_begin(table);
    assert_int_equal(status_table_forget(table, first), ERR_NONE);
    status_table_write_end(table);
}

void snap_freeze(struct status_table *table)
{
    status_table_write_begin(table);
    assert_int_equal(status_table_freeze(table), ERR_NONE);
    status_table_write_end(table);
}

/* ---- what must be equal ---- */

static void assert_same_entry(const struct status_entry *a, const struct status_entry *b)
{
    assert_true(id_equal(&a->id, &b->id));
    assert_memory_equal(&a->state, &b->state, sizeof a->state);
    assert_true(a->conflict == b->conflict && a->event_position == b->event_position);
    assert_true(a->change_position == b->change_position && a->change_place == b->change_place);
    assert_int_equal(a->updated_ms, b->updated_ms);
    assert_true(view_equal(a->name, b->name));
}

static void assert_same_at(struct status_table *a, struct status_table *b, uint64_t position)
{
    struct status_entry one, other, found;
    bool there = status_table_at(a, position, &one, NULL);
    assert_int_equal(there, status_table_at(b, position, &other, NULL));
    if (!there)
        return;
    assert_same_entry(&one, &other);
    assert_true(status_table_find(a, &one.id, &one, NULL));
    assert_true(status_table_find(b, &one.id, &found, NULL));
    assert_same_entry(&one, &found);
}

void assert_same_table(struct status_table *a, struct status_table *b, uint64_t last)
{
    struct status_table_stats one, other;
    status_table_stats(a, 0, &one);
    status_table_stats(b, 0, &other);
    assert_int_equal(one.digest, other.digest);
    assert_memory_equal(one.counts, other.counts, sizeof one.counts);
    assert_int_equal(one.reflects.event_position, other.reflects.event_position);
    assert_int_equal(one.reflects.status_position, other.reflects.status_position);
    assert_int_equal(one.reflects.first_event_position, other.reflects.first_event_position);
    for (uint64_t position = 1; position <= last; position++)
        assert_same_at(a, b, position);
}

void assert_empty_table(struct status_table *table)
{
    struct status_table_stats stats;
    status_table_stats(table, 0, &stats);
    assert_true(stats.events == 0 && stats.copies == 0 && stats.digest == 0);
    assert_true(stats.reflects.event_position == 0 && stats.reflects.status_position == 0);
}

/* ---- tables ---- */

void snap_fill(struct status_table *table, uint64_t life)
{
    uint64_t position = life * 100000;
    for (uint64_t at = life * SNAP_LAST + 1; at <= (life + 1) * SNAP_LAST; at++) {
        if (at % 11 == 5 || (at > FROZEN_PAGE_CELLS + 9 && at < 2 * FROZEN_PAGE_CELLS + 9))
            continue; /* positions that the log has lost */
        snap_add(table, at, at % 13 == 4 ? at - 4 : at);
        if (at % 3 == 0)
            snap_apply(table, at, at, processed, ++position);
        if (at % 7 == 0)
            snap_apply(table, at, at,
                       (struct status_state){.status = (enum status)(1 + at % (STATUS_COUNT - 1)),
                                             .alone = at % 2,
                                             .attempt = (unsigned)(at % STATUS_ATTEMPT_MAX),
                                             .generation = (unsigned)(at % STATUS_GENERATION_MAX)},
                       ++position);
        if (at % 13 == 4 && at % 3 == 1) {
            snap_apply(table, at, at - 4, processed, ++position); /* of a copy: it does not show */
        } else if (at % 26 == 4) {
            snap_conflict(table, at, at - 4, at - 4, ++position);
        }
    }
}

struct snapshot_head snap_head(struct status_table *table)
{
    struct status_reflects reflects;
    status_table_reflects(table, &reflects);
    return (struct snapshot_head){
        .point = {.events = {.created_ns = 11, .position = reflects.event_position, .time_ms = 12},
                  .statuses = {.created_ns = -13,
                               .position = reflects.status_position,
                               .time_ms = 14}},
        .first = reflects.first_event_position,
        .taken_ms = 15};
}

enum err snap_write_with(struct status_table *table, const struct snapshot_head *head,
                         struct replays *replays, struct buf *out)
{
    struct replays_saved saved = {0};
    struct snapshot_sink sink = {.write = snapshot_bytes_add, .ctx = out};
    enum err e = replays ? replays_save(replays, &saved) : ERR_NONE;
    if (!e)
        e = snapshot_write(&sink, &snap_streams, head, table, &saved);
    replays_saved_free(&saved);
    return e;
}

void snap_write(struct status_table *table, struct replays *replays, struct buf *out)
{
    struct snapshot_head head = snap_head(table);
    buf_init(out, 64u << 20);
    snap_freeze(table);
    assert_int_equal(snap_write_with(table, &head, replays, out), ERR_NONE);
    status_table_thaw(table);
}

enum err snap_read_as(struct view bytes, const struct snapshot_streams *of,
                      struct status_table *table, struct replays *replays,
                      struct snapshot_head *head)
{
    struct err_detail detail = {""};
    struct snapshot_bytes from = {bytes};
    struct snapshot_source source = {.read = snapshot_bytes_take, .ctx = &from, .size = bytes.len};
    enum err e = snapshot_read(&source, of, table, replays, head, &detail);
    assert_true(!e == (detail.text[0] == '\0'));
    return e;
}

enum err snap_read(const struct buf *bytes, struct status_table *table)
{
    struct snapshot_head head;
    return snap_read_as(buf_view(bytes), &snap_streams, table, NULL, &head);
}

struct replay_change snap_replay(uint32_t n)
{
    static const struct event_id ids[2] = {{{5}}, {{6}}};
    static const uint64_t letters[1] = {8};
    return (struct replay_change){.id = snap_id(n),
                                  .state = REPLAY_RUNNING,
                                  .time_ms = 1000 + n,
                                  .has_filter = true,
                                  .filter = {.event_ids = ids,
                                             .event_id_count = 2,
                                             .letters = letters,
                                             .letter_count = 1,
                                             .statuses = 1u << STATUS_DEAD,
                                             .name = VIEW("order.*"),
                                             .to_position = 900,
                                             .rate = n},
                                  .runner = VIEW("first")};
}

void snap_change_replay(struct replays *replays, struct replay_change change, uint64_t position)
{
    assert_int_equal(replays_apply(replays, &change, position), ERR_NONE);
}
