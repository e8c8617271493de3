/* Following a processor's messages without HTTP: places, and short memory.
 */
#include "http-gateway/follow.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/status_peer.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch_peer.h"

#include <stdio.h>
#include <string.h>

static struct gateway g;

static int start(void **state)
{
    assert_int_equal(metrics_new(&g.metrics), ERR_NONE);
    g.followers_max = 2;
    g.followers_refused = metrics_counter(g.metrics, "refused_total", NULL, "Refused");
    return status_peer_start(state);
}

static int stop(void **state)
{
    metrics_free(g.metrics);
    return status_peer_stop(state);
}

static void there_are_so_many_places(void **state)
{
    struct err_detail detail = {""};

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(follow_enter(&g, &detail), ERR_NONE);
        assert_int_equal(follow_enter(&g, &detail), ERR_NONE);
        assert_int_equal(follow_enter(&g, &detail), ERR_UNAVAILABLE);
        assert_string_equal(detail.text,
                            "2 requests wait for events already, which is as many as may");
        follow_leave(&g);
        follow_leave(&g);
    }
}

static enum err write_request(const void *ctx, struct buf *out)
{
    return event_changes_request_write(ctx, out);
}

/* The processor's messages until there is one, or the stream has ended. */
static enum follow_news first_news(struct follow *f, enum err *ret_end)
{
    enum follow_news news;

    do
        news = follow_next(f, 1000, ret_end, NULL);
    while (news == FOLLOW_NOTHING);
    return news;
}

static void short_memory_is_the_end(void **state)
{
    struct event_changes_request request = {.name = VIEW("order.>")};
    char target[64];

    (void)state;
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", gateway_peer_processor_port());
    assert_int_equal(rpc_channel_open(target, &g.processor, NULL), ERR_NONE);
    watch_peer_reset();
    watch_peer_say_changes(NULL, 0, 7);
    for (struct each_failure failure = each_failure_begin(); each_failure_next(&failure);) {
        struct follow f = {
            .g = &g, .method = EVENT_CHANGES_METHOD, .write = write_request, .ctx = &request};
        enum err end = ERR_NONE;
        enum follow_news news;
        bool failed;

        follow_begin(&f);
        news = first_news(&f, &end);
        failed = each_failure_end(&failure);
        assert_int_equal(news, failed ? FOLLOW_END : FOLLOW_MESSAGE);
        assert_int_equal(end, failed ? ERR_MEMORY : ERR_NONE);
        follow_end(&f);
    }
    rpc_channel_close(g.processor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_so_many_places),
        cmocka_unit_test(short_memory_is_the_end),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
