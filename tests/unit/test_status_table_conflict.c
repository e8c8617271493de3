/* What the status table does with copies that are other events than the first of their id. */
#include "event-processor/status_table.h"

#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

static const struct status_state dead = {.status = STATUS_DEAD};
static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};

static struct event_id id_of(uint64_t number)
{
    struct event_id id = {{1}};
    memcpy(id.bytes + 8, &number, sizeof number);
    return id;
}

/* The id that stands for the UUIDv5 of a position. */
static struct event_id own_id(uint64_t position)
{
    struct event_id id = id_of(position);
    id.bytes[0] = 2;
    return id;
}

static struct status_table *new_table(void)
{
    struct status_table *table;
    assert_int_equal(status_table_new(&table), ERR_NONE);
    return table;
}

static void add_id(struct status_table *table, uint64_t position, struct event_id id)
{
    status_table_write_begin(table);
    assert_int_equal(status_table_add(table, position, &id, VIEW("n"), 1700000000000), ERR_NONE);
    status_table_write_end(table);
}

static void add(struct status_table *table, uint64_t position, uint64_t number)
{
    add_id(table, position, id_of(number));
}

static void forget(struct status_table *table, uint64_t first)
{
    status_table_write_begin(table);
    assert_int_equal(status_table_forget(table, first), ERR_NONE);
    status_table_write_end(table);
}

static enum err apply_change(struct status_table *table, const struct status_change *change,
                             uint64_t position)
{
    enum err e = ERR_NONE;
    status_table_write_begin(table);
    if (change->conflict_position != 0)
        e = status_table_apply_conflict(table, change, position, 0);
    else
        (void)status_table_apply(table, change, position, 0);
    status_table_write_end(table);
    return e;
}

static void apply(struct status_table *table, uint64_t at, struct event_id id,
                  struct status_state state, uint64_t position)
{
    struct status_change change = {.id = id, .event_position = at, .state = state};
    assert_int_equal(apply_change(table, &change, position), ERR_NONE);
}

static struct status_change conflict_of(uint64_t at, uint64_t number, uint64_t first)
{
    return (struct status_change){.id = own_id(at),
                                  .event_position = at,
                                  .state = dead,
                                  .conflict_id = id_of(number),
                                  .conflict_position = first};
}

static void conflict(struct status_table *table, uint64_t at, uint64_t number, uint64_t first,
                     uint64_t position)
{
    struct status_change change = conflict_of(at, number, first);
    assert_int_equal(apply_change(table, &change, position), ERR_NONE);
}

static struct status_table_stats stats_of(struct status_table *table)
{
    struct status_table_stats stats;
    status_table_stats(table, 0, &stats);
    return stats;
}

/* Where the table finds the id; 0: nowhere. */
static uint64_t position_of(struct status_table *table, struct event_id id)
{
    struct status_entry entry;
    return status_table_find(table, &id, &entry, NULL) ? entry.event_position : 0;
}

static struct status_entry entry_at(struct status_table *table, uint64_t position)
{
    struct status_entry entry;
    assert_true(status_table_at(table, position, &entry, NULL));
    return entry;
}

static void assert_conflict_at(struct status_table *table, uint64_t position)
{
    struct status_entry entry = entry_at(table, position);
    struct event_id own = own_id(position);
    assert_true(entry.conflict);
    assert_true(id_equal(&entry.id, &own));
    assert_int_equal(entry.state.status, STATUS_DEAD);
    assert_int_equal(position_of(table, own), position);
}

static void assert_innocent_at(struct status_table *table, uint64_t position, enum status status)
{
    struct status_entry entry = entry_at(table, position);
    struct event_id own = own_id(position);
    assert_false(entry.conflict);
    assert_int_equal(entry.state.status, status);
    assert_int_equal(position_of(table, own), 0);
}

/* ---- one conflict ---- */

static void test_a_conflicting_copy_is_an_event_of_its_own(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    for (uint64_t i = 1; i <= 5; i++)
        add(table, i, 7);
    apply(table, 1, id_of(7), processed, 1);
    conflict(table, 3, 7, 1, 2);
    assert_conflict_at(table, 3);
    assert_int_equal(entry_at(table, 3).change_position, 2);
    assert_int_equal(position_of(table, id_of(7)), 1);
    struct status_table_stats stats = stats_of(table);
    assert_int_equal(stats.events, 2);
    assert_int_equal(stats.copies, 3);
    assert_int_equal(stats.counts[STATUS_DEAD], 1);
    assert_int_equal(stats.counts[STATUS_PROCESSED], 1);
    conflict(table, 3, 7, 1, 3); /* another processor's, of the same letter: it loses */
    assert_int_equal(stats_of(table).digest, stats.digest);
    apply(table, 3, id_of(7), processed, 4); /* it is no copy of this id any more */
    assert_int_equal(stats_of(table).digest, stats.digest);
    forget(table, 3);
    assert_int_equal(position_of(table, id_of(7)), 4);
    assert_conflict_at(table, 3);
    forget(table, 4);
    assert_int_equal(position_of(table, own_id(3)), 0);
    status_table_free(table);
}

static void test_a_conflict_takes_part_in_its_own_later_changes(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    struct status_state again = {.status = STATUS_RETRYING, .generation = 1};
    add(table, 1, 7);
    add(table, 2, 7);
    conflict(table, 2, 7, 1, 1);
    apply(table, 2, own_id(2), again, 2);
    assert_int_equal(entry_at(table, 2).state.status, STATUS_RETRYING);
    struct status_change later = conflict_of(2, 7, 1); /* its second letter */
    later.state.generation = 1;
    later.state.attempt = 3;
    assert_int_equal(apply_change(table, &later, 3), ERR_NONE);
    assert_int_equal(entry_at(table, 2).state.status, STATUS_DEAD);
    assert_int_equal(entry_at(table, 2).state.generation, 1);
    status_table_free(table);
}

static void test_any_copies_may_leave_the_chain(void **state)
{
    (void)state;
    enum { COPIES = 6 };
    for (unsigned set = 0; set < 1u << COPIES; set++) { /* which copies conflict */
        struct status_table *table = new_table();
        add(table, 1, 7);
        for (uint64_t i = 0; i < COPIES; i++)
            add(table, 2 + i, 7);
        for (uint64_t i = COPIES; i-- > 0;) /* in both directions, in turns */
            if (set >> (set % 2 ? i : COPIES - 1 - i) & 1)
                conflict(table, 2 + (set % 2 ? i : COPIES - 1 - i), 7, 1, 1);
        for (uint64_t first = 1; first <= 1 + COPIES; first++) {
            uint64_t event = first;
            forget(table, first);
            while (event > 1 && event <= 1 + COPIES && set >> (event - 2) & 1)
                event++;
            assert_int_equal(position_of(table, id_of(7)), event <= 1 + COPIES ? event : 0);
        }
        add(table, 2 + COPIES, 7); /* chains go on */
        add(table, 3 + COPIES, 7);
        forget(table, 2 + COPIES);
        assert_int_equal(position_of(table, id_of(7)), 2 + COPIES);
        assert_int_equal(stats_of(table).copies, 1);
        status_table_free(table);
    }
}

static void test_a_conflict_may_be_the_event_by_now(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    for (uint64_t i = 1; i <= 3; i++)
        add(table, i, 7);
    forget(table, 2);
    assert_int_equal(position_of(table, id_of(7)), 2);
    conflict(table, 2, 7, 1, 1);
    assert_conflict_at(table, 2);
    assert_int_equal(position_of(table, id_of(7)), 3);
    assert_int_equal(entry_at(table, 3).state.status, STATUS_ACCEPTED);
    assert_int_equal(stats_of(table).copies, 0);
    status_table_free(table);
}

static void test_what_has_ended_is_no_conflict_any_more(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    for (uint64_t i = 1; i <= 2; i++)
        add(table, i, 7);
    apply(table, 2, id_of(7), (struct status_state){.status = STATUS_PROCESSED}, 1); /* an equal */
    conflict(table, 2, 7, 1, 2);
    assert_innocent_at(table, 2, STATUS_NONE);
    forget(table, 2);
    assert_innocent_at(table, 2, STATUS_PROCESSED);
    status_table_free(table);
}

/* ---- another life of the log ---- */

static void test_a_conflict_of_an_earlier_life_kills_no_innocent(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    add(table, 1, 1);
    add(table, 2, 2);
    add(table, 3, 3);
    add(table, 4, 2);
    uint64_t before = stats_of(table).digest;
    conflict(table, 3, 7, 1, 1); /* another event is at its position */
    assert_innocent_at(table, 3, STATUS_ACCEPTED);
    conflict(table, 3, 3, 1, 2); /* its id is there, but the first one's is not */
    assert_innocent_at(table, 3, STATUS_ACCEPTED);
    conflict(table, 4, 2, 3, 3); /* a copy, of another first */
    assert_innocent_at(table, 4, STATUS_NONE);
    conflict(table, 3, 3, 3, 4); /* nothing conflicts with itself, */
    conflict(table, 3, 3, 4, 5); /* or with what comes later */
    assert_innocent_at(table, 3, STATUS_ACCEPTED);
    conflict(table, 9, 3, 3, 6); /* nothing is there */
    assert_int_equal(stats_of(table).digest, before);
    status_table_free(table);
}

/* ---- ids that somebody has guessed ---- */

static void test_an_event_with_a_conflicts_id_goes_before_it(void **state)
{
    (void)state;
    for (int early = 0; early < 2; early++) { /* added before the conflict was recorded, or after */
        struct status_table *table = new_table();
        add(table, 1, 7);
        add(table, 2, 7);
        if (early)
            add_id(table, 3, own_id(2));
        conflict(table, 2, 7, 1, 1);
        if (!early)
            add_id(table, 3, own_id(2));
        assert_int_equal(position_of(table, own_id(2)), 3);
        assert_int_equal(entry_at(table, 3).state.status, STATUS_ACCEPTED);
        assert_true(entry_at(table, 2).conflict);
        assert_int_equal(entry_at(table, 2).state.status, STATUS_DEAD);
        forget(table, 3);
        assert_int_equal(position_of(table, own_id(2)), 3);
        status_table_free(table);
    }
}

/* ---- whatever the order ---- */

enum { POSITIONS = 12000, IDS = 1500, CHANGES = 12000 };

/* The logs: what is at each position, and the changes in their order. */
struct story {
    struct event_id ids[POSITIONS + 1];
    struct status_change changes[CHANGES];
};

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1du;
}

static uint64_t below(uint64_t *seed, uint64_t limit)
{
    return (next_random(seed) >> 20) % limit;
}

/* The nearest earlier position of the same id, or of the one before that, and so on: whichever
 * replica may have taken for the first; 0: there is none. */
static uint64_t earlier(const struct story *story, uint64_t at, uint64_t *seed)
{
    uint64_t found = 0;
    for (uint64_t p = at; --p > 0 && at - p < 4000;)
        if (id_equal(&story->ids[p], &story->ids[at])) {
            found = p;
            if (below(seed, 3) == 0)
                break;
        }
    return found;
}

static struct status_change change_of(const struct story *story, uint64_t floor, uint64_t *seed)
{
    uint64_t at = 1 + below(seed, POSITIONS);
    struct status_change change = {.id = story->ids[at], .event_position = at};
    uint64_t kind = below(seed, 8);
    uint64_t first = earlier(story, at, seed);
    if (kind < 4 && first == 0 && at > floor) /* of an earlier life: its first is not there */
        first = floor + below(seed, at - floor);
    if (kind < 4 && first != 0) {
        change.id = own_id(at);
        change.state = dead;
        change.conflict_id = story->ids[at];
        change.conflict_position = first;
        return change;
    }
    if (kind == 4) /* a conflict's later life */
        change.id = own_id(at);
    change.state = (struct status_state){
        .status = (enum status)(STATUS_PROCESSING + below(seed, 4)),
        .attempt = (uint32_t)below(seed, 3),
        .generation = kind == 4,
    };
    return change;
}

static void tell(struct story *story, uint64_t floor, uint64_t *seed)
{
    for (uint64_t i = 1; i <= POSITIONS; i++) {
        uint64_t kind = below(seed, 20);
        if (kind == 0) /* somebody has guessed it */
            story->ids[i] = own_id(1 + below(seed, POSITIONS));
        else /* some many times, some ever again, some once */
            story->ids[i] = id_of(kind < 10 ? IDS + i : below(seed, IDS) >> i % 10);
    }
    for (size_t i = 0; i < CHANGES; i++)
        story->changes[i] = change_of(story, floor, seed);
}

/* Folds the story up to that floor, in one of the orders that can be: positions and changes in
 * theirs, no change before its event, and forgetting whenever. */
static struct status_table *fold(const struct story *story, uint64_t floor, uint64_t forgets,
                                 uint64_t seed)
{
    struct status_table *table = new_table();
    uint64_t added = 0;
    size_t applied = 0;
    while (added < POSITIONS || applied < CHANGES) {
        bool may_apply = applied < CHANGES && story->changes[applied].event_position <= added;
        if (may_apply && (added == POSITIONS || below(&seed, 2))) {
            assert_int_equal(apply_change(table, &story->changes[applied], applied + 1), ERR_NONE);
            applied++;
        } else if (added < POSITIONS) {
            added++;
            add_id(table, added, story->ids[added]);
        }
        uint64_t first = 1 + below(&seed, added + 1);
        if (forgets && below(&seed, forgets) == 0)
            forget(table, first < floor ? first : floor);
    }
    forget(table, floor);
    return table;
}

static void assert_same(struct status_table *table, struct status_table *expected,
                        const struct story *story)
{
    struct status_table_stats stats = stats_of(table);
    struct status_table_stats other = stats_of(expected);
    assert_int_equal(stats.digest, other.digest);
    assert_memory_equal(stats.counts, other.counts, sizeof stats.counts);
    for (uint64_t p = 1; p <= POSITIONS; p++) {
        assert_int_equal(position_of(table, story->ids[p]), position_of(expected, story->ids[p]));
        assert_int_equal(position_of(table, own_id(p)), position_of(expected, own_id(p)));
    }
}

static void test_tables_agree_on_conflicts_whatever_the_order(void **state)
{
    (void)state;
    static struct story story;
    static const uint64_t floors[] = {1, 2, 700, 4096, 4097, 9000, POSITIONS + 1};
    static const uint64_t forgets[] = {3, 40, 900};
    uint64_t seed = 42;
    for (size_t i = 0; i < sizeof floors / sizeof *floors; i++) {
        tell(&story, floors[i], &seed);
        struct status_table *late = fold(&story, floors[i], 0, 1);
        if (floors[i] < POSITIONS) { /* it has something to agree on */
            assert_true(stats_of(late).counts[STATUS_DEAD] > 100);
            assert_true(stats_of(late).copies > 100);
        }
        for (size_t j = 0; j < sizeof forgets / sizeof *forgets; j++) {
            struct status_table *table = fold(&story, floors[i], forgets[j], j + 77);
            assert_same(table, late, &story);
            status_table_free(table);
        }
        status_table_free(late);
    }
}

/* ---- memory ---- */

static void test_each_failing_allocation_may_be_made_good(void **state)
{
    (void)state;
    enum { PAIRS = 300 };
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        int before = mem_fail_after(-1); /* not in the preparation */
        struct status_table *table = new_table();
        for (uint64_t i = 1; i <= 3 * PAIRS; i++)
            add(table, i, (i - 1) % PAIRS);
        forget(table, PAIRS + 1); /* the second third are events, the last one their copies */
        (void)mem_fail_after(before);
        size_t failures = 0;
        for (uint64_t i = 0; i < PAIRS; i++) {
            struct status_change change = conflict_of(PAIRS + 1 + i, i, 1 + i);
            while (apply_change(table, &change, 1 + i) == ERR_MEMORY)
                failures++;
        }
        bool failed = each_failure_end(&f);
        assert_true(failures <= (failed ? 1 : 0));
        assert_int_equal(stats_of(table).counts[STATUS_DEAD], PAIRS);
        assert_int_equal(stats_of(table).counts[STATUS_ACCEPTED], PAIRS);
        for (uint64_t i = 0; i < PAIRS; i++) {
            assert_conflict_at(table, PAIRS + 1 + i);
            assert_int_equal(position_of(table, id_of(i)), 2 * PAIRS + 1 + i);
        }
        status_table_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_conflicting_copy_is_an_event_of_its_own),
        cmocka_unit_test(test_a_conflict_takes_part_in_its_own_later_changes),
        cmocka_unit_test(test_any_copies_may_leave_the_chain),
        cmocka_unit_test(test_a_conflict_may_be_the_event_by_now),
        cmocka_unit_test(test_what_has_ended_is_no_conflict_any_more),
        cmocka_unit_test(test_a_conflict_of_an_earlier_life_kills_no_innocent),
        cmocka_unit_test(test_an_event_with_a_conflicts_id_goes_before_it),
        cmocka_unit_test(test_tables_agree_on_conflicts_whatever_the_order),
        cmocka_unit_test(test_each_failing_allocation_may_be_made_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
