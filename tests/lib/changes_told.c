#include "tests/lib/changes_told.h"

#include "tests/lib/unit.h"
#include "tests/lib/until.h"

const struct status_state processing = {.status = STATUS_PROCESSING, .attempt = 1};
const struct status_state retrying = {.status = STATUS_RETRYING, .attempt = 1};
const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 2};
const struct status_state dead = {.status = STATUS_DEAD, .attempt = 2};

int small_begin(void **state)
{
    asked_changes_kept = SMALL;
    return served_begin(state);
}

int small_end(void **state)
{
    asked_changes_kept = CHANGES_KEPT;
    return served_end(state);
}

struct grpc_stream *watch(struct served *served, unsigned statuses, const char *name, int64_t after)
{
    buf_clear(&served->message);
    assert_int_equal(
        event_changes_request_write(
            &(struct event_changes_request){.statuses = statuses,
                                            .name = view_of(name),
                                            .has_after = after != NOW,
                                            .after_position = after != NOW ? (uint64_t)after : 0},
            &served->message),
        ERR_NONE);
    return served_call(served, EVENT_CHANGES_METHOD);
}

/* Where a stream begins: its first message, which has no changes. */
uint64_t begins(struct served *served, struct grpc_stream *stream)
{
    struct event_status_holder *holder;
    struct event_changes got;
    served_receive(served, stream);
    assert_int_equal(event_changes_read(buf_view(&served->message), &holder, &got), ERR_NONE);
    assert_int_equal(got.count, 0);
    uint64_t position = got.position;
    event_status_holder_free(holder);
    return position;
}

void receive(struct served *served, struct grpc_stream *stream, struct told *told)
{
    struct event_status_holder *holder;
    struct event_changes got;
    served_receive(served, stream);
    assert_int_equal(event_changes_read(buf_view(&served->message), &holder, &got), ERR_NONE);
    assert_true(got.position >= told->position);
    for (size_t i = 0; i < got.count; i++) {
        const struct event_status *change = &got.changes[i];
        assert_true(change->position > told->position && change->position <= got.position);
        buf_add_format(&told->words, "%s%s %llu@%llu", told->count++ ? " " : "",
                       status_word(change->state.status),
                       (unsigned long long)change->event_position,
                       (unsigned long long)change->position);
    }
    told->position = got.position;
    event_status_holder_free(holder);
}

/* Until so many changes have been told; they are these words. */
void tells(struct served *served, struct grpc_stream *stream, size_t count, const char *expected)
{
    struct told told = {.count = 0};
    buf_init(&told.words, 1 << 20);
    while (told.count < count)
        receive(served, stream, &told);
    assert_string_equal(told.words.data, expected);
    buf_free(&told.words);
}

uint64_t new_event(struct served *served, const char *name, struct event_id *id)
{
    *id = (struct event_id){{0}};
    return mem_world_event(&served->asked->world, name, "", id);
}

uint64_t change(struct served *served, const struct event_id *id, uint64_t event_position,
                struct status_state state, uint64_t previous)
{
    return mem_world_change(&served->asked->world, id, event_position, state, previous, "");
}

void five_changes_from(struct served *served, uint64_t last)
{
    struct event_id a, b;
    uint64_t order = new_event(served, "order.a", &a);
    uint64_t mail = new_event(served, "mail", &b);
    assert_true(change(served, &a, order, processing, 0) == last + 1);
    assert_true(change(served, &a, order, retrying, last + 1) == last + 2);
    assert_true(change(served, &b, mail, dead, 0) == last + 3);
    assert_true(change(served, &a, order, processing, last + 2) == last + 4); /* loses: late */
    assert_true(change(served, &a, order, processed, last + 2) == last + 5);
}

void five_changes(struct served *served)
{
    five_changes_from(served, 0);
}

/* Pushes what was before out of a small ring. Returns the last position. */
uint64_t fill_ring(struct served *served)
{
    static struct status_change changes[STATUS_BATCH_MAX];
    uint64_t position = 0;
    struct event_id id;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < STATUS_BATCH_MAX; i++) {
            uint64_t event = new_event(served, "filling", &id);
            changes[i] = (struct status_change){
                .id = id, .event_position = event, .state = processed, .time_ms = 1000};
        }
        position = mem_world_batch(&served->asked->world, changes, STATUS_BATCH_MAX);
    }
    return position;
}

void until_folded(struct served *served, uint64_t position)
{
    struct changes_cursor cursor;
    assert_until(changes_now(served->asked->changes, &cursor) >= position);
}
