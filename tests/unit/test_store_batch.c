/* Many events stored side by side.
 */
#include "http-gateway/store_batch.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"

#include <string.h>

static struct gateways g;

static int start(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){0});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    gateways_stop(&g);
    return 0;
}

/* Windows that are smaller than what is added; in each the results are written in order. */
static void windows_follow_each_other(void **state)
{
    struct buf out;
    struct store_batch_options options = {.gateway = &g.gateway[0],
                                          .form = EVENT_FORM_PLAIN,
                                          .window = 3,
                                          .results = &out,
                                          .before = "-",
                                          .after = ";"};
    struct store_batch *batch;
    struct store_batch_counts counts;
    const char *at;

    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(store_batch_new(&options, &batch), ERR_NONE);
    store_batch_flush(batch);
    for (int i = 0; i < 7; i++)
        store_batch_add(batch, 0, i == 4 ? VIEW("x") : VIEW("{\"name\":\"a\",\"id\":\"1\"}"));
    store_batch_flush(batch);
    counts = store_batch_counts(batch);
    assert_int_equal(counts.stored, 1);
    assert_int_equal(counts.duplicates, 5);
    assert_int_equal(counts.failed, 1);
    assert_int_equal(counts.status, 400);
    at = out.data;
    for (int i = 0; i < 7; i++) {
        const char *end = strchr(at, ';');

        assert_non_null(end);
        assert_int_equal(memmem(at, (size_t)(end - at), "malformed", 9) != NULL, i == 4);
        assert_int_equal(end[1], i < 6 ? '-' : '\0');
        at = end + 1;
    }
    store_batch_free(batch);
    buf_free(&out);
}

/* Nothing is said to be stored that is not, and what is stored is said to be. */
static void without_memory(void **state)
{
    struct buf out;
    struct store_batch_options options = {.gateway = &g.gateway[0],
                                          .form = EVENT_FORM_PLAIN,
                                          .window = 8,
                                          .results = &out,
                                          .before = ",",
                                          .after = ""};

    (void)state;
    buf_init(&out, 4096);
    assert_non_null(buf_reserve(&out, 4000));
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct store_batch_counts counts = {0};
        struct store_batch *batch = NULL;
        uint64_t before = gateways_last_position(&g);
        enum err e = store_batch_new(&options, &batch);

        buf_clear(&out);
        if (!e) {
            store_batch_add(batch, 0, VIEW("{\"n\\u0061me\":\"a\"}"));
            store_batch_add(batch, 0, VIEW("{}"));
            store_batch_add(batch, 0, VIEW("{\"name\":\"b\",\"id\":\"1\"}"));
            store_batch_flush(batch);
            counts = store_batch_counts(batch);
        }
        store_batch_free(batch);
        if (!each_failure_end(&f))
            assert_true(!e && counts.failed == 1);
        assert_int_equal(counts.stored + counts.duplicates + counts.failed, e ? 0 : 3);
        assert_int_equal(gateways_last_position(&g) - before, counts.stored);
        assert_false(buf_failed(&out));
    }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(windows_follow_each_other, start, stop),
        cmocka_unit_test_setup_teardown(without_memory, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
