#include "common/metrics.h"

#include "common/mem.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct metrics *new_registry(void)
{
    struct metrics *m = NULL;

    assert_int_equal(metrics_new(&m), ERR_NONE);
    return m;
}

/* The page, in memory of its own; free it with buf_free. */
static struct buf render(const struct metrics *m)
{
    struct buf page;

    buf_init(&page, 1 << 20);
    assert_int_equal(metrics_render(m, &page), ERR_NONE);
    return page;
}

static void check_page(const struct metrics *m, const char *expected)
{
    struct buf page = render(m);

    assert_string_equal(page.data, expected);
    buf_free(&page);
}

static double answer(void *value)
{
    return *(double *)value;
}

static void counters_and_gauges_are_rendered_together_by_name(void **state)
{
    struct metrics *m = new_registry();
    struct metric *a = metrics_counter(m, "tidings_a_total", "code=\"202\"", "Events.");
    struct metric *b = metrics_gauge(m, "tidings_b", NULL, "Depth.");
    struct metric *c = metrics_counter(m, "tidings_a_total", "code=\"503\"", "Events.");

    (void)state;
    metric_add(a, 2);
    metric_add(c, UINT64_MAX);
    metric_set(b, -5);
    check_page(m, "# HELP tidings_a_total Events.\n# TYPE tidings_a_total counter\n"
                  "tidings_a_total{code=\"202\"} 2\ntidings_a_total{code=\"503\"} "
                  "18446744073709551615\n"
                  "# HELP tidings_b Depth.\n# TYPE tidings_b gauge\ntidings_b -5\n");
    assert_int_equal(metric_value(a), 2);
    metrics_free(m);
}

static void an_empty_registry_is_an_empty_page(void **state)
{
    struct metrics *m = new_registry();

    (void)state;
    check_page(m, "");
    metrics_free(m);
    metrics_free(NULL);
}

static void a_series_registered_again_is_the_same(void **state)
{
    struct metrics *m = new_registry();
    char labels[] = "code=\"1\"";
    struct metric *a = metrics_counter(m, "tidings_a_total", labels, "A.");

    (void)state;
    labels[6] = '2'; /* labels are copied */
    assert_ptr_equal(metrics_counter(m, "tidings_a_total", "code=\"1\"", "A."), a);
    assert_ptr_not_equal(metrics_counter(m, "tidings_a_total", labels, "A."), a);
    assert_ptr_not_equal(metrics_counter(m, "tidings_a_total", NULL, "A."), a);
    metrics_free(m);
}

static void values_can_be_asked_for(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {1.0 / 3, "0.33333333333333331"},
        {9007199254740991.0, "9007199254740991"},
        {1e300, "1e+300"},
        {NAN, "NaN"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
    };
    struct metrics *m = new_registry();
    double value = 0;

    (void)state;
    metrics_gauge_read(m, "tidings_g", NULL, "G.", answer, &value);
    metrics_counter_read(m, "tidings_c_total", "a=\"b\"", "C.", answer, &value);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf expected;

        value = cases[i].value;
        buf_init(&expected, 1000);
        buf_add_format(&expected,
                       "# HELP tidings_g G.\n# TYPE tidings_g gauge\ntidings_g %s\n"
                       "# HELP tidings_c_total C.\n# TYPE tidings_c_total counter\n"
                       "tidings_c_total{a=\"b\"} %s\n",
                       cases[i].text, cases[i].text);
        check_page(m, expected.data);
        buf_free(&expected);
    }
    metrics_free(m);
}

/* ---- histograms ---- */

/* The number behind `name` at a line's start. */
static double value_of(const char *page, const char *name)
{
    for (const char *at = strstr(page, name); at; at = strstr(at + 1, name))
        if ((at == page || at[-1] == '\n') && at[strlen(name)] == ' ')
            return strtod(at + strlen(name), NULL);
    fail_msg("%s is not in\n%s", name, page);
    return 0;
}

static void latencies_fall_into_cumulative_buckets(void **state)
{
    struct metrics *m = new_registry();
    struct metric *latency = metrics_latency(m, "tidings_x_seconds", "route=\"/\"", "X.");
    struct buf page;

    (void)state;
    metric_observe_us(latency, -1);
    metric_observe_us(latency, 50); /* a bucket holds its bound */
    metric_observe_us(latency, 51);
    metric_observe_us(latency, 999999);
    metric_observe_us(latency, 10000000);
    metric_observe_us(latency, 10000001);
    page = render(m);
    assert_true(value_of(page.data, "tidings_x_seconds_bucket{route=\"/\",le=\"5e-05\"}") == 2);
    assert_true(value_of(page.data, "tidings_x_seconds_bucket{route=\"/\",le=\"0.0001\"}") == 3);
    assert_true(value_of(page.data, "tidings_x_seconds_bucket{route=\"/\",le=\"0.5\"}") == 3);
    assert_true(value_of(page.data, "tidings_x_seconds_bucket{route=\"/\",le=\"1\"}") == 4);
    assert_true(value_of(page.data, "tidings_x_seconds_bucket{route=\"/\",le=\"10\"}") == 5);
    assert_true(value_of(page.data, "tidings_x_seconds_bucket{route=\"/\",le=\"+Inf\"}") == 6);
    assert_true(value_of(page.data, "tidings_x_seconds_count{route=\"/\"}") == 6);
    assert_non_null(strstr(page.data, "\ntidings_x_seconds_sum{route=\"/\"} 21.000101\n"));
    assert_non_null(strstr(page.data, "# TYPE tidings_x_seconds histogram\n"));
    buf_free(&page);
    metrics_free(m);
}

static void bounds_rise(void **state)
{
    struct metrics *m = new_registry();
    double last = 0;
    int bounds = 0;
    struct buf page;

    (void)state;
    (void)metrics_latency(m, "x", NULL, "X.");
    page = render(m);
    for (const char *at = strstr(page.data, "le=\""); at; at = strstr(at + 1, "le=\""), bounds++) {
        double bound = strtod(at + 4, NULL);
        assert_true(bound > last);
        last = bound;
    }
    assert_int_equal(bounds, 18);
    assert_true(isinf(last));
    buf_free(&page);
    metrics_free(m);
}

/* What is observed at a bound, in us, counts in the bucket that names the same time in seconds. */
static void check_bound(int64_t bound_us)
{
    struct metrics *m = new_registry();
    struct buf page;
    char name[60];

    metric_observe_us(metrics_latency(m, "x", NULL, "X."), bound_us);
    metric_observe_us(metrics_latency(m, "x", NULL, "X."), bound_us + 1);
    snprintf(name, sizeof name, "x_bucket{le=\"%g\"}", (double)bound_us / 1e6);
    page = render(m);
    assert_true(value_of(page.data, name) == 1);
    buf_free(&page);
    metrics_free(m);
}

static void every_bound_is_the_time_that_it_says(void **state)
{
    static const int64_t bounds_us[] = {50,     100,     250,     500,     1000,    2500,
                                        5000,   10000,   25000,   50000,   100000,  250000,
                                        500000, 1000000, 2500000, 5000000, 10000000};

    (void)state;
    for (size_t i = 0; i < sizeof bounds_us / sizeof bounds_us[0]; i++)
        check_bound(bounds_us[i]);
}

/* ---- the process ---- */

static void the_process_is_described(void **state)
{
    struct metrics *m = new_registry();
    double fds, now = (double)time(NULL);
    struct buf page;
    int descriptor;

    (void)state;
    metrics_process(m, "1.2.3");
    page = render(m);
    fds = value_of(page.data, "process_open_fds");
    assert_true(fds >= 3 && fds <= value_of(page.data, "process_max_fds"));
    assert_true(value_of(page.data, "process_cpu_seconds_total") > 0);
    assert_true(value_of(page.data, "process_resident_memory_bytes") > 100000);
    assert_true(value_of(page.data, "process_virtual_memory_bytes") >
                value_of(page.data, "process_resident_memory_bytes"));
    assert_true(value_of(page.data, "process_start_time_seconds") > now - 600 &&
                value_of(page.data, "process_start_time_seconds") < now + 2);
    assert_true(value_of(page.data, "tidings_build_info{version=\"1.2.3\"}") == 1);
    buf_free(&page);
    descriptor = dup(0);
    page = render(m);
    assert_true(value_of(page.data, "process_open_fds") == fds + 1);
    close(descriptor);
    buf_free(&page);
    metrics_free(m);
}

/* ---- short memory, many threads ---- */

static enum err register_and_render(struct buf *page)
{
    struct metrics *m;
    enum err e = metrics_new(&m);

    if (e)
        return e;
    metric_add(metrics_counter(m, "a_total", "x=\"1\"", "A."), 1);
    metric_set(metrics_gauge(m, "b", NULL, "B."), 1);
    metric_observe_us(metrics_latency(m, "c", NULL, "C."), 1);
    metrics_gauge_read(m, "d", NULL, "D.", answer, &(double){1});
    e = metrics_render(m, page);
    metrics_free(m);
    return e;
}

static void short_memory_is_told_by_render(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct buf page;
        buf_init(&page, 1 << 20);
        enum err e = register_and_render(&page);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        assert_int_equal(page.len == 0, failed);
        buf_free(&page);
    }
}

static void a_page_without_room_leaves_what_was_there(void **state)
{
    struct metrics *m = new_registry();
    struct buf page;

    (void)state;
    (void)metrics_counter(m, "a_total", NULL, "A.");
    buf_init(&page, 20);
    buf_add_text(&page, "before");
    assert_int_equal(metrics_render(m, &page), ERR_MEMORY);
    assert_string_equal(page.data, "before");
    buf_free(&page);
    metrics_free(m);
}

#define THREADS 4
#define PER_THREAD 20000
struct shared {
    struct metric *counter, *latency;
};

static void *count_many(void *ctx)
{
    struct shared *shared = ctx;

    for (int i = 0; i < PER_THREAD; i++) {
        metric_add(shared->counter, 1);
        metric_observe_us(shared->latency, i);
    }
    return NULL;
}

static void counting_by_many_threads_loses_nothing(void **state)
{
    struct metrics *m = new_registry();
    struct shared shared = {metrics_counter(m, "a_total", NULL, "A."),
                            metrics_latency(m, "b", NULL, "B.")};
    pthread_t threads[THREADS];
    struct buf page;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, &shared), 0);
    page = render(m); /* meanwhile */
    assert_true(value_of(page.data, "b_count") == value_of(page.data, "b_bucket{le=\"+Inf\"}"));
    buf_free(&page);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    page = render(m);
    assert_true(value_of(page.data, "a_total") == THREADS * PER_THREAD);
    assert_true(value_of(page.data, "b_count") == THREADS * PER_THREAD);
    assert_true(value_of(page.data, "b_bucket{le=\"0.01\"}") == THREADS * 10001);
    buf_free(&page);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges_are_rendered_together_by_name),
        cmocka_unit_test(an_empty_registry_is_an_empty_page),
        cmocka_unit_test(a_series_registered_again_is_the_same),
        cmocka_unit_test(values_can_be_asked_for),
        cmocka_unit_test(latencies_fall_into_cumulative_buckets),
        cmocka_unit_test(bounds_rise),
        cmocka_unit_test(every_bound_is_the_time_that_it_says),
        cmocka_unit_test(the_process_is_described),
        cmocka_unit_test(short_memory_is_told_by_render),
        cmocka_unit_test(a_page_without_room_leaves_what_was_there),
        cmocka_unit_test(counting_by_many_threads_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
