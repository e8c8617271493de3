#include "event-processor/query.h"

#include "event-processor/page_token.h"
#include "tests/lib/asked.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

#define test(function) cmocka_unit_test_setup_teardown(function, asked_begin, asked_end)

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};
static const struct status_state dead = {.status = STATUS_DEAD, .attempt = 1};

struct pages {
    atomic_bool come;
    enum err e;
    char message[300], token[64];
    size_t count;
    uint64_t positions[EVENT_PAGE_MAX], position;
    struct status_state last_state;
};

static void on_page(void *ctx, enum err e, const char *message, const struct event_page *page)
{
    struct pages *pages = ctx;
    pages->e = e;
    snprintf(pages->message, sizeof pages->message, "%s", message);
    if (!e) {
        pages->count = page->count;
        pages->position = page->position;
        for (size_t i = 0; i < page->count; i++) {
            pages->positions[i] = page->events[i].event_position;
            pages->last_state = page->events[i].state;
        }
        snprintf(pages->token, sizeof pages->token, "%.*s", (int)page->next_page_token.len,
                 page->next_page_token.data);
    }
    atomic_store(&pages->come, true);
}

static void start(struct asked *asked, struct event_list_request request, int64_t timeout_ms,
                  struct pages *ret)
{
    *ret = (struct pages){.e = ERR_NONE};
    query_list(asked->query,
               &(struct query_list_ask){
                   .request = request, .timeout_ms = timeout_ms, .done = on_page, .ctx = ret});
}

static void list(struct asked *asked, struct event_list_request request, struct pages *ret)
{
    start(asked, request, PATIENCE_MS, ret);
    assert_until(atomic_load(&ret->come));
}

static void expect(const struct pages *pages, size_t count, const uint64_t *positions)
{
    assert_int_equal(pages->e, ERR_NONE);
    assert_int_equal(pages->count, count);
    for (size_t i = 0; i < count; i++)
        assert_true(pages->positions[i] == positions[i]);
}

/* Six events at positions 1 to 6: a.x, b, a.y, a.x, b, a.x; 2 and 3 are processed, 5 is dead. The
 * last change's position. */
static uint64_t six_events(struct asked *asked)
{
    static const char *const names[] = {"a.x", "b", "a.y", "a.x", "b", "a.x"};
    uint64_t last = 0;
    for (uint64_t i = 1; i <= 6; i++) {
        struct event_id id = {{0}};
        assert_true(mem_world_event(&asked->world, names[i - 1], "", &id) == i);
        if (i == 2 || i == 3 || i == 5)
            last = mem_world_change(&asked->world, &id, i, i == 5 ? dead : processed, 0, "");
    }
    return last;
}

/* ---- what is listed ---- */

static void test_all_are_listed_the_latest_first(void **state)
{
    struct asked *asked = *state;
    static struct pages pages;
    uint64_t last = six_events(asked);
    list(asked, (struct event_list_request){.min_position = last}, &pages);
    expect(&pages, 6, (uint64_t[]){6, 5, 4, 3, 2, 1});
    assert_string_equal(pages.token, "");
    assert_true(pages.position >= last);
    assert_int_equal(pages.last_state.status, STATUS_ACCEPTED);
}

static void test_filters_are_all_kept_to(void **state)
{
    struct asked *asked = *state;
    static struct pages pages;
    uint64_t last = six_events(asked);
    const unsigned ended = 1u << STATUS_PROCESSED | 1u << STATUS_DEAD;
    list(asked, (struct event_list_request){.statuses = 1u << STATUS_DEAD, .min_position = last},
         &pages);
    expect(&pages, 1, (uint64_t[]){5});
    assert_int_equal(pages.last_state.status, STATUS_DEAD);
    list(asked, (struct event_list_request){.statuses = ended}, &pages);
    expect(&pages, 3, (uint64_t[]){5, 3, 2});
    list(asked, (struct event_list_request){.name = VIEW("a.*")}, &pages);
    expect(&pages, 4, (uint64_t[]){6, 4, 3, 1});
    list(asked, (struct event_list_request){.statuses = ended, .name = VIEW("a.>")}, &pages);
    expect(&pages, 1, (uint64_t[]){3});
    list(asked, (struct event_list_request){.name = VIEW("b")}, &pages);
    expect(&pages, 2, (uint64_t[]){5, 2});
    list(asked, (struct event_list_request){.name = VIEW("c")}, &pages);
    expect(&pages, 0, NULL);
    list(asked, (struct event_list_request){.statuses = 1u << STATUS_RETRYING}, &pages);
    expect(&pages, 0, NULL);
    assert_string_equal(pages.token, "");
}

static void test_times_are_of_the_event_log(void **state)
{
    struct asked *asked = *state;
    static struct pages pages;
    struct bus_record *record;
    uint64_t last = six_events(asked);
    assert_int_equal(bus_log_read(asked->world.events, 1, 1000, &record), ERR_NONE);
    int64_t first_ms = record->time_ms;
    bus_record_free(record);
    assert_int_equal(bus_log_read(asked->world.events, 6, 1000, &record), ERR_NONE);
    int64_t last_ms = record->time_ms;
    bus_record_free(record);
    struct event_list_request request = {
        .accepted_since_ms = first_ms, .accepted_until_ms = last_ms + 1, .min_position = last};
    list(asked, request, &pages);
    expect(&pages, 6, (uint64_t[]){6, 5, 4, 3, 2, 1});
    request.page_size = 4; /* the times are in the token */
    list(asked, request, &pages);
    expect(&pages, 4, (uint64_t[]){6, 5, 4, 3});
    request.page_token = view_of(pages.token);
    bus_mem_set_away(asked->world.bus, true);
    static struct pages next;
    list(asked, request, &next);
    expect(&next, 2, (uint64_t[]){2, 1});
    list(asked, (struct event_list_request){.accepted_since_ms = first_ms}, &pages);
    assert_int_equal(pages.e, ERR_UNAVAILABLE);
    bus_mem_set_away(asked->world.bus, false);
    list(asked, (struct event_list_request){.accepted_since_ms = last_ms + 1}, &pages);
    expect(&pages, 0, NULL);
    list(asked, (struct event_list_request){.accepted_until_ms = first_ms}, &pages);
    expect(&pages, 0, NULL);
}

static void test_an_empty_table_has_an_empty_page(void **state)
{
    static struct pages pages;
    list(*state, (struct event_list_request){.page_size = 3}, &pages);
    expect(&pages, 0, NULL);
    assert_string_equal(pages.token, "");
}

/* ---- pages ---- */

static void test_pages_stay_as_they_are_while_events_arrive(void **state)
{
    struct asked *asked = *state;
    static struct pages pages;
    char token[64] = "";
    uint64_t expected = 6;
    struct event_list_request request = {.page_size = 2, .min_position = six_events(asked)};
    do {
        request.page_token = view_of(token);
        list(asked, request, &pages);
        assert_int_equal(pages.count, 2);
        for (size_t i = 0; i < pages.count; i++)
            assert_true(pages.positions[i] == expected--);
        snprintf(token, sizeof token, "%s", pages.token);
        struct event_id id = {{0}};
        uint64_t position = mem_world_event(&asked->world, "b", "", &id);
        request.min_position = mem_world_change(&asked->world, &id, position, dead, 0, "");
    } while (token[0]);
    assert_true(expected == 0);
}

static void test_a_sparse_list_ends_pages_short(void **state)
{
    struct asked *asked = *state;
    static struct pages pages;
    struct event_id id = {{0}};
    enum { FIRST = 1, FILLING = (1 << 20) + 100 };
#ifdef __SANITIZE_THREAD__
    skip(); /* a million cells take it so long that the follower counts as stuck */
#endif
    mem_world_event(&asked->world, "rare", "", &id);
    list(asked,
         (struct event_list_request){
             .min_position = mem_world_change(&asked->world, &id, FIRST, processed, 0, "")},
         &pages);
    expect(&pages, 1, (uint64_t[]){FIRST});
    status_table_write_begin(asked->table);
    for (uint64_t i = 2; i <= FILLING; i++) {
        id = (struct event_id){{2, (uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)}};
        assert_int_equal(status_table_add(asked->table, i, &id, VIEW("common"), 0), ERR_NONE);
    }
    status_table_passed_event(asked->table, FILLING);
    status_table_write_end(asked->table);
    list(asked, (struct event_list_request){.name = VIEW("rare")}, &pages);
    expect(&pages, 0, NULL);
    assert_true(pages.token[0] != '\0');
    static struct pages next;
    list(asked,
         (struct event_list_request){.name = VIEW("rare"), .page_token = view_of(pages.token)},
         &next);
    expect(&next, 1, (uint64_t[]){FIRST});
    assert_string_equal(next.token, "");
}

static void test_a_token_is_good_for_its_filter_only(void **state)
{
    struct asked *asked = *state;
    static struct pages pages, refused;
    uint64_t last = six_events(asked);
    const struct event_list_request request = {
        .statuses = ~1u & 63u, .name = VIEW("a.>"), .page_size = 1, .min_position = last};
    list(asked, request, &pages);
    expect(&pages, 1, (uint64_t[]){6});
    struct event_list_request wrong[6];
    for (size_t i = 0; i < 6; i++) {
        wrong[i] = request;
        wrong[i].page_token = view_of(pages.token);
    }
    wrong[0].statuses = 1u << STATUS_DEAD;
    wrong[1].name = VIEW("a.*");
    wrong[2].accepted_since_ms = 1;
    wrong[3].accepted_until_ms = INT64_MAX;
    wrong[4].page_token.len--;
    char damaged[64];
    snprintf(damaged, sizeof damaged, "%s", pages.token);
    damaged[16] = damaged[16] == '5' ? '4' : '5'; /* another position */
    wrong[5].page_token = view_of(damaged);
    for (size_t i = 0; i < 6; i++) {
        list(asked, wrong[i], &refused);
        assert_int_equal(refused.e, ERR_INVALID);
        assert_non_null(strstr(refused.message, "page_token is not one of this list"));
    }
    struct event_list_request right = request;
    right.page_token = view_of(pages.token);
    right.page_size = 2; /* may differ */
    list(asked, right, &refused);
    expect(&refused, 2, (uint64_t[]){4, 3});
}

static void test_what_cannot_be_listed_is_refused(void **state)
{
    static struct pages pages;
    const struct {
        struct event_list_request request;
        const char *complaint;
    } rows[] = {
        {{.name = VIEW("a..b")}, "name 'a..b' is no pattern"},
        {{.page_size = 1001}, "page_size 1001 is too large; at most 1000"},
        {{.page_token = VIEW("?")}, "page_token is not one of this list"},
        {{.accepted_since_ms = 5, .accepted_until_ms = 5}, "accepted_since must be before"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        list(*state, rows[i].request, &pages);
        assert_int_equal(pages.e, ERR_INVALID);
        assert_non_null(strstr(pages.message, rows[i].complaint));
    }
    list(*state, (struct event_list_request){.min_position = 99}, &pages);
    assert_int_equal(pages.e, ERR_OUT_OF_RANGE);
}

/* ---- names beyond the table's ---- */

static void test_names_that_the_table_has_no_room_for_are_found(void **state)
{
    struct asked *asked = *state;
    static struct pages pages;
    char name[32];
    until_ready(asked);
    status_table_write_begin(asked->table); /* uses up all names */
    for (uint64_t i = 1; i <= 65536; i++) {
        struct event_id id = {{3, (uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)}};
        snprintf(name, sizeof name, "n%u", (unsigned)i);
        assert_int_equal(status_table_add(asked->table, i, &id, view_of(name), 0), ERR_NONE);
    }
    status_table_reset(asked->table);
    status_table_write_end(asked->table);
    follower_rebuild(asked->follower, 2, "test"); /* reads the logs, which are empty */
    assert_until(follower_ready(asked->follower) == 3);
    six_events(asked);
    struct event_id id = {{0}};
    mem_world_event(&asked->world, "n7", "", &id);
    list(asked,
         (struct event_list_request){.name = VIEW("a.x"),
                                     .min_position = mem_world_last(asked->world.statuses)},
         &pages);
    expect(&pages, 3, (uint64_t[]){6, 4, 1});
    bus_mem_set_away(asked->world.bus, true);
    list(asked, (struct event_list_request){.name = VIEW("a.x")}, &pages);
    assert_int_equal(pages.e, ERR_UNAVAILABLE);
    list(asked, (struct event_list_request){.statuses = 1u << STATUS_DEAD}, &pages);
    expect(&pages, 1, (uint64_t[]){5});
    bus_mem_set_away(asked->world.bus, false);
}

/* ---- when it cannot be told ---- */

static void test_a_table_being_read_is_not_taken_at_its_word(void **state)
{
    struct asked *asked = *state;
    static struct pages late, hurried;
    six_events(asked);
    until_ready(asked);
    mem_world_close_gate(&asked->world);
    follower_rebuild(asked->follower, 1, "test"); /* cannot catch up: the gate is closed */
    start(asked, (struct event_list_request){0}, PATIENCE_MS, &late);
    start(asked, (struct event_list_request){0}, 1, &hurried);
    mem_world_open_gate(&asked->world);
    assert_until(atomic_load(&late.come) && atomic_load(&hurried.come));
    expect(&late, 6, (uint64_t[]){6, 5, 4, 3, 2, 1});
    assert_true(hurried.e == ERR_UNAVAILABLE || hurried.count == 6);
}

static void test_the_end_answers_those_who_wait(void **state)
{
    struct asked *asked = *state;
    static struct pages pages[20];
    until_ready(asked);
    for (int i = 0; i < 20; i++)
        start(asked, (struct event_list_request){.min_position = i % 2 ? 99 : 0}, PATIENCE_MS,
              &pages[i]);
    asked_end(state);
    for (int i = 0; i < 20; i++) {
        assert_true(atomic_load(&pages[i].come));
        assert_true(pages[i].e == ERR_UNAVAILABLE || pages[i].e == ERR_OUT_OF_RANGE ||
                    (pages[i].e == ERR_NONE && pages[i].count == 0));
    }
    asked_begin(state);
}

static void test_without_memory_nothing_is_listed(void **state)
{
    struct asked *asked = *state;
    static struct pages pages;
    six_events(asked);
    until_ready(asked);
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        start(asked, (struct event_list_request){.page_size = 2}, PATIENCE_MS, &pages);
        bool failed = each_failure_end(&f);
        assert_until(atomic_load(&pages.come));
        assert_int_equal(pages.e, failed ? ERR_MEMORY : ERR_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_all_are_listed_the_latest_first),
        test(test_filters_are_all_kept_to),
        test(test_times_are_of_the_event_log),
        test(test_an_empty_table_has_an_empty_page),
        test(test_pages_stay_as_they_are_while_events_arrive),
        test(test_a_sparse_list_ends_pages_short),
        test(test_a_token_is_good_for_its_filter_only),
        test(test_what_cannot_be_listed_is_refused),
        test(test_names_that_the_table_has_no_room_for_are_found),
        test(test_a_table_being_read_is_not_taken_at_its_word),
        test(test_the_end_answers_those_who_wait),
        test(test_without_memory_nothing_is_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
