#include "event-processor/decide.h"

#include "tests/lib/unit.h"

enum { AT = 77 };

static const struct event_id ours = {{1, 2, 3}};
static const struct event_id other = {{9}};

static struct status_entry cell(struct event_id id, enum status status, uint64_t position)
{
    return (struct status_entry){
        .id = id, .state = {.status = status, .attempt = 3}, .event_position = position};
}

/* All that the table can say of a position, with all that can be delivered from it. */
static void test_every_cell_and_delivery(void **state)
{
    (void)state;
    static const struct {
        enum status status;
        enum decision event, malformed;
    } rows[] = {
        {STATUS_NONE, DECIDE_COPY, DECIDE_COPY},        {STATUS_ACCEPTED, DECIDE_RUN, DECIDE_BURY},
        {STATUS_PROCESSING, DECIDE_RUN, DECIDE_BURY},   {STATUS_RETRYING, DECIDE_RUN, DECIDE_BURY},
        {STATUS_PROCESSED, DECIDE_ENDED, DECIDE_ENDED}, {STATUS_DEAD, DECIDE_ENDED, DECIDE_ENDED},
    };
    assert_int_equal(sizeof rows / sizeof *rows, STATUS_COUNT);
    for (size_t i = 0; i < STATUS_COUNT; i++) {
        struct decide_delivery event = {.id = ours, .position = AT};
        struct decide_delivery malformed = {.id = ours, .position = AT, .malformed = true};
        struct status_entry mine = cell(ours, rows[i].status, AT);
        struct status_entry stranger = cell(other, rows[i].status, AT);
        struct status_entry elsewhere = cell(ours, rows[i].status, AT + 1);
        assert_int_equal(decide(&mine, AT, &event), rows[i].event);
        assert_int_equal(decide(&mine, AT, &malformed), rows[i].malformed);
        /* Nothing that the table says of another event settles this one. */
        assert_int_equal(decide(&stranger, 1, &event), DECIDE_LEAVE);
        assert_int_equal(decide(&stranger, 1, &malformed), DECIDE_LEAVE);
        assert_int_equal(decide(&elsewhere, 1, &event), DECIDE_LEAVE);
    }
}

static void test_a_conflict_that_is_known_by_its_positions_id_has_ended(void **state)
{
    (void)state;
    struct event_id own, next;
    id_of_position(VIEW("EVENTS"), AT, &own);
    id_of_position(VIEW("EVENTS"), AT + 1, &next);
    struct decide_delivery event = {.id = ours, .position = AT, .stream = VIEW("EVENTS")};
    struct decide_delivery elsewhere = {.id = ours, .position = AT, .stream = VIEW("OTHER")};
    for (int status = STATUS_ACCEPTED; status < STATUS_COUNT; status++) { /* in any later life */
        struct status_entry conflict = cell(own, (enum status)status, AT);
        struct status_entry stranger = cell(next, (enum status)status, AT);
        struct status_entry event_of_that_id = conflict;
        conflict.conflict = stranger.conflict = true;
        assert_int_equal(decide(&conflict, 1, &event), DECIDE_ENDED);
        assert_int_equal(decide(&conflict, 1, &elsewhere), DECIDE_LEAVE);
        assert_int_equal(decide(&stranger, 1, &event), DECIDE_LEAVE);
        assert_int_equal(decide(&event_of_that_id, 1, &event), DECIDE_LEAVE);
        assert_int_equal(decide(&conflict, AT + 1, &event), DECIDE_GONE);
    }
}

static void test_a_position_that_the_table_does_not_have_is_left(void **state)
{
    (void)state;
    struct decide_delivery event = {.id = ours, .position = AT};
    struct decide_delivery malformed = {.id = ours, .position = AT, .malformed = true};
    assert_int_equal(decide(NULL, 1, &event), DECIDE_LEAVE);
    assert_int_equal(decide(NULL, 1, &malformed), DECIDE_LEAVE);
}

static void test_what_the_log_has_dropped_is_gone(void **state)
{
    (void)state;
    struct decide_delivery event = {.id = ours, .position = AT};
    struct status_entry mine = cell(ours, STATUS_ACCEPTED, AT);
    assert_int_equal(decide(&mine, AT + 1, &event), DECIDE_GONE);
    assert_int_equal(decide(NULL, AT + 1, &event), DECIDE_GONE);
    assert_int_equal(decide(&mine, AT, &event), DECIDE_RUN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cell_and_delivery),
        cmocka_unit_test(test_what_the_log_has_dropped_is_gone),
        cmocka_unit_test(test_a_conflict_that_is_known_by_its_positions_id_has_ended),
        cmocka_unit_test(test_a_position_that_the_table_does_not_have_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
