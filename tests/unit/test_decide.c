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

static struct decide_delivery event_delivery(void)
{
    return (struct decide_delivery){
        .id = ours, .position = AT, .source = {STATUS_DELIVERY_EVENT, AT}, .attempt = 1};
}

static struct decide_delivery item_delivery(uint32_t generation, uint32_t attempt)
{
    return (struct decide_delivery){.id = ours,
                                    .position = AT,
                                    .source = {STATUS_DELIVERY_RETRY, 500},
                                    .generation = generation,
                                    .attempt = attempt};
}

/* All that the table can say of a position, with all that can be delivered from it. */
static void test_every_cell_and_delivery(void **state)
{
    (void)state;
    static const struct {
        enum status status;
        enum decision first, again, malformed, item;
    } rows[] = {
        {STATUS_NONE, DECIDE_COPY, DECIDE_COPY, DECIDE_COPY, DECIDE_VOID},
        {STATUS_ACCEPTED, DECIDE_RUN, DECIDE_CLAIM, DECIDE_BURY, DECIDE_CLAIM},
        {STATUS_PROCESSING, DECIDE_LOOK, DECIDE_LOOK, DECIDE_BURY, DECIDE_LOOK},
        {STATUS_RETRYING, DECIDE_NEXT, DECIDE_NEXT, DECIDE_BURY, DECIDE_NEXT},
        {STATUS_PROCESSED, DECIDE_ENDED, DECIDE_ENDED, DECIDE_ENDED, DECIDE_ENDED},
        {STATUS_DEAD, DECIDE_ENDED, DECIDE_ENDED, DECIDE_ENDED, DECIDE_ENDED},
    };
    assert_int_equal(sizeof rows / sizeof *rows, STATUS_COUNT);
    for (size_t i = 0; i < STATUS_COUNT; i++) {
        struct decide_delivery first = event_delivery();
        struct decide_delivery again = first, malformed = first, item = item_delivery(0, 3);
        again.again = true;
        malformed.malformed = true;
        struct status_entry mine = cell(ours, rows[i].status, AT);
        struct status_entry stranger = cell(other, rows[i].status, AT);
        struct status_entry elsewhere = cell(ours, rows[i].status, AT + 1);
        if (rows[i].status == STATUS_ACCEPTED)
            mine.state.attempt = 0;
        assert_int_equal(decide(&mine, AT, &first), rows[i].first);
        assert_int_equal(decide(&mine, AT, &again), rows[i].again);
        assert_int_equal(decide(&mine, AT, &malformed), rows[i].malformed);
        assert_int_equal(decide(&mine, AT, &item), rows[i].item);
        /* Nothing that the table says of another event settles this one. */
        assert_int_equal(decide(&stranger, 1, &first), DECIDE_LEAVE);
        assert_int_equal(decide(&stranger, 1, &malformed), DECIDE_LEAVE);
        assert_int_equal(decide(&elsewhere, 1, &first), DECIDE_LEAVE);
        /* But an item is about nothing else. */
        assert_int_equal(decide(&stranger, 1, &item), DECIDE_VOID);
        assert_int_equal(decide(&elsewhere, 1, &item), DECIDE_VOID);
        assert_int_equal(decide(NULL, 1, &item), DECIDE_VOID);
        assert_int_equal(decide(&mine, AT + 1, &item), DECIDE_VOID);
    }
}

/* The cell is in generation 1, attempt 3. */
static void test_items_before_and_after_the_cell(void **state)
{
    (void)state;
    static const struct {
        uint32_t generation, attempt;
        enum decision retrying, processing, ended;
    } rows[] = {
        {0, 1, DECIDE_ENDED, DECIDE_ENDED, DECIDE_ENDED},
        {0, 9, DECIDE_ENDED, DECIDE_ENDED, DECIDE_ENDED},
        {1, 1, DECIDE_NEXT, DECIDE_LOOK, DECIDE_ENDED},
        {1, 3, DECIDE_NEXT, DECIDE_LOOK, DECIDE_ENDED},
        {1, 4, DECIDE_CLAIM, DECIDE_CLAIM, DECIDE_ENDED},
        {1, 9, DECIDE_CLAIM, DECIDE_CLAIM, DECIDE_ENDED},
        {2, 1, DECIDE_CLAIM, DECIDE_CLAIM, DECIDE_CLAIM},
        {2, 9, DECIDE_CLAIM, DECIDE_CLAIM, DECIDE_CLAIM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct decide_delivery item = item_delivery(rows[i].generation, rows[i].attempt);
        struct status_entry entry = cell(ours, STATUS_RETRYING, AT);
        entry.state.generation = 1;
        assert_int_equal(decide(&entry, 1, &item), rows[i].retrying);
        entry.state.status = STATUS_PROCESSING;
        assert_int_equal(decide(&entry, 1, &item), rows[i].processing);
        entry.state.status = STATUS_PROCESSED;
        assert_int_equal(decide(&entry, 1, &item), rows[i].ended);
        entry.state.status = STATUS_DEAD;
        assert_int_equal(decide(&entry, 1, &item), rows[i].ended);
    }
}

/* What the event log delivers is of the first generation, whatever its cell has come to. */
static void test_the_event_log_does_not_bring_back_what_was_replayed(void **state)
{
    struct decide_delivery event = event_delivery();
    (void)state;
    for (int status = STATUS_ACCEPTED; status < STATUS_COUNT; status++) {
        struct status_entry entry = cell(ours, (enum status)status, AT);
        entry.state.generation = 1;
        assert_int_equal(decide(&entry, 1, &event), DECIDE_ENDED);
    }
}

/* The cell is `processing`, and it is known for which delivery. */
static void test_who_is_processing_it(void **state)
{
    (void)state;
    static const struct {
        struct status_delivery named;
        bool alone, claimed;
        enum decision item, event;
    } rows[] = {
        {{STATUS_DELIVERY_RETRY, 500}, false, false, DECIDE_CLAIM_ALONE, DECIDE_TAKEN},
        {{STATUS_DELIVERY_RETRY, 500}, true, false, DECIDE_FAILED, DECIDE_TAKEN},
        {{STATUS_DELIVERY_RETRY, 500}, false, true, DECIDE_LEAVE, DECIDE_TAKEN},
        {{STATUS_DELIVERY_RETRY, 500}, true, true, DECIDE_LEAVE, DECIDE_TAKEN},
        {{STATUS_DELIVERY_RETRY, AT}, false, false, DECIDE_TAKEN, DECIDE_TAKEN},
        {{STATUS_DELIVERY_EVENT, 500}, false, false, DECIDE_TAKEN, DECIDE_TAKEN},
        {{STATUS_DELIVERY_EVENT, AT}, false, false, DECIDE_TAKEN, DECIDE_CLAIM_ALONE},
        {{STATUS_DELIVERY_EVENT, AT}, true, false, DECIDE_TAKEN, DECIDE_FAILED},
        {{STATUS_DELIVERY_EVENT, AT}, true, true, DECIDE_TAKEN, DECIDE_LEAVE},
        /* It names none: nobody who could still be there. */
        {{STATUS_DELIVERY_NONE, 0}, false, false, DECIDE_CLAIM_ALONE, DECIDE_CLAIM_ALONE},
        {{STATUS_DELIVERY_NONE, 0}, true, false, DECIDE_FAILED, DECIDE_FAILED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct decide_delivery item = item_delivery(0, 3), event = event_delivery();
        struct status_entry entry = cell(ours, STATUS_PROCESSING, AT);
        entry.state.alone = rows[i].alone;
        item.looked = event.looked = true;
        item.named = event.named = rows[i].named;
        item.claimed = event.claimed = rows[i].claimed;
        assert_int_equal(decide(&entry, 1, &item), rows[i].item);
        assert_int_equal(decide(&entry, 1, &event), rows[i].event);
        /* Its own record needs no look, and no claim again. */
        item.is_own = true;
        item.looked = false;
        assert_int_equal(decide(&entry, 1, &item), DECIDE_RUN);
        /* That of an attempt before is of no account. */
        item = item_delivery(0, 4);
        assert_int_equal(decide(&entry, 1, &item), DECIDE_CLAIM);
    }
}

/* A claim that was folded wins, or what it has lost against is no reason to claim once more: else
 * it was appended to another log than the table is of, again and again until that is noticed. */
static void test_a_claim_that_was_folded_and_is_not_there(void **state)
{
    (void)state;
    struct decide_delivery item = item_delivery(0, 4), again = event_delivery();
    struct status_entry retrying = cell(ours, STATUS_RETRYING, AT);
    struct status_entry accepted = cell(ours, STATUS_ACCEPTED, AT);
    accepted.state.attempt = 0;
    again.again = true;
    item.claimed = again.claimed = true; /* the runs that it is asked for once more */
    assert_int_equal(decide(&retrying, 1, &item), DECIDE_CLAIM);
    assert_int_equal(decide(&accepted, 1, &again), DECIDE_CLAIM);
    item.folded = again.folded = true;
    assert_int_equal(decide(&retrying, 1, &item), DECIDE_LEAVE);
    assert_int_equal(decide(&accepted, 1, &again), DECIDE_LEAVE);
    item.attempt = 3; /* the cell has come as far meanwhile */
    assert_int_equal(decide(&retrying, 1, &item), DECIDE_NEXT);
}

/* An item that has the place of one that is lost is what the record names, as that one was. */
static void test_an_item_instead_of_a_lost_delivery(void **state)
{
    (void)state;
    static const struct status_delivery lost[] = {{STATUS_DELIVERY_RETRY, 400},
                                                  {STATUS_DELIVERY_EVENT, AT}};
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) {
        struct status_entry entry = cell(ours, STATUS_PROCESSING, AT);
        struct decide_delivery item = item_delivery(0, 3);
        item.looked = true;
        item.named = lost[i];
        assert_int_equal(decide(&entry, 1, &item), DECIDE_TAKEN);
        item.instead_of = lost[i];
        assert_int_equal(decide(&entry, 1, &item), DECIDE_CLAIM_ALONE);
        entry.state.alone = true;
        assert_int_equal(decide(&entry, 1, &item), DECIDE_FAILED);
        /* Another item with that place has been before it. */
        item.named = (struct status_delivery){STATUS_DELIVERY_RETRY, 499};
        assert_int_equal(decide(&entry, 1, &item), DECIDE_TAKEN);
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
        cmocka_unit_test(test_items_before_and_after_the_cell),
        cmocka_unit_test(test_the_event_log_does_not_bring_back_what_was_replayed),
        cmocka_unit_test(test_who_is_processing_it),
        cmocka_unit_test(test_a_claim_that_was_folded_and_is_not_there),
        cmocka_unit_test(test_an_item_instead_of_a_lost_delivery),
        cmocka_unit_test(test_what_the_log_has_dropped_is_gone),
        cmocka_unit_test(test_a_conflict_that_is_known_by_its_positions_id_has_ended),
        cmocka_unit_test(test_a_position_that_the_table_does_not_have_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
