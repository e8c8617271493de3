#include "common/retry_item.h"

#include "common/mem.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include "retry.pb-c.h"

static const struct retry_item sound = {.id = {{1, 2, 3}},
                                        .event_position = UINT64_MAX,
                                        .generation = STATUS_GENERATION_MAX,
                                        .attempt = STATUS_ATTEMPT_MAX,
                                        .due_ms = INT64_MAX,
                                        .instead_of = {STATUS_DELIVERY_RETRY, UINT64_MAX}};

static enum err write_and_read(const struct retry_item *item, struct retry_item *ret)
{
    struct buf b;
    buf_init(&b, 1024);
    enum err e = retry_item_write(item, &b);
    assert_int_equal(b.len == 0, e != ERR_NONE);
    if (!e)
        e = retry_item_read(buf_view(&b), ret);
    buf_free(&b);
    return e;
}

static void an_item_comes_back_as_it_was(void **state)
{
    const struct retry_item items[] = {
        sound,
        {.id = {{9}}, .event_position = 1, .attempt = 1, .instead_of = {STATUS_DELIVERY_EVENT, 1}},
        {.id = {{9}}, .event_position = 1, .generation = 0, .attempt = 1, .due_ms = 0}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct retry_item got = {.attempt = 0};
        assert_int_equal(write_and_read(&items[i], &got), ERR_NONE);
        assert_true(id_equal(&got.id, &items[i].id));
        assert_true(got.event_position == items[i].event_position);
        assert_int_equal(got.generation, items[i].generation);
        assert_int_equal(got.attempt, items[i].attempt);
        assert_true(got.due_ms == items[i].due_ms);
        assert_int_equal(got.instead_of.log, items[i].instead_of.log);
        assert_true(got.instead_of.position == items[i].instead_of.position);
    }
}

static void numbers_out_of_bounds_are_not_written(void **state)
{
    struct retry_item bad[9];
    (void)state;
    for (size_t i = 0; i < 9; i++)
        bad[i] = sound;
    bad[0].id = (struct event_id){{0}};
    bad[1].event_position = 0;
    bad[2].generation = STATUS_GENERATION_MAX + 1;
    bad[3].attempt = 0;
    bad[4].attempt = STATUS_ATTEMPT_MAX + 1;
    bad[5].due_ms = -1;
    bad[6].instead_of.log = STATUS_DELIVERY_NONE;
    bad[7].instead_of.position = 0;
    bad[8].instead_of.log = (enum status_delivery_log)(STATUS_DELIVERY_RETRY + 1);
    for (size_t i = 0; i < 9; i++) {
        struct retry_item got;
        assert_int_equal(write_and_read(&bad[i], &got), ERR_INVALID);
    }
}

static Tidings__Log__RetryItem sound_message(void)
{
    static uint8_t id[16] = {1};
    Tidings__Log__RetryItem m;
    tidings__log__retry_item__init(&m);
    m.version = 1;
    m.event_id.len = sizeof id;
    m.event_id.data = id;
    m.event_position = 7;
    m.attempt = 2;
    return m;
}

static enum err read_message(const Tidings__Log__RetryItem *m, struct retry_item *ret)
{
    uint8_t bytes[256];
    size_t len = tidings__log__retry_item__pack(m, bytes);
    return retry_item_read((struct view){(const char *)bytes, len}, ret);
}

static void what_is_not_an_item_is_refused(void **state)
{
    struct retry_item untouched = {.attempt = 77};
    Tidings__Log__RetryItem bad[9];
    (void)state;
    for (size_t i = 0; i < 9; i++)
        bad[i] = sound_message();
    bad[0].version = 2;
    bad[1].event_id.len = 15;
    bad[2].event_position = 0;
    bad[3].generation = STATUS_GENERATION_MAX + 1;
    bad[4].attempt = 0;
    bad[5].attempt = STATUS_ATTEMPT_MAX + 1;
    bad[6].due_ms = -1;
    bad[7].instead_of_log = 1;
    bad[8].instead_of_log = 3;
    bad[8].instead_of_position = 1;
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(read_message(&bad[i], &untouched), ERR_MALFORMED);
    assert_int_equal(retry_item_read(VIEW("\xff\xff"), &untouched), ERR_MALFORMED);
    assert_int_equal(retry_item_read(VIEW(""), &untouched), ERR_MALFORMED);
    assert_int_equal(untouched.attempt, 77);
    Tidings__Log__RetryItem good = sound_message();
    assert_int_equal(read_message(&good, &untouched), ERR_NONE);
    assert_int_equal(untouched.attempt, 2);
}

static void short_memory_is_said(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct retry_item got;
        enum err e = write_and_read(&sound, &got);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_comes_back_as_it_was),
        cmocka_unit_test(numbers_out_of_bounds_are_not_written),
        cmocka_unit_test(what_is_not_an_item_is_refused),
        cmocka_unit_test(short_memory_is_said),
    };
    return cmocka_run_group_tests_name("retry_item", tests, NULL, NULL);
}
