/* Gathered writes where the socket does not take them at once, and frames of our own. */
#include "common/rpc_gather.h"

#include "tests/lib/pair.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int setup(void **state)
{
    (void)state;
    return rpc_gather_start() ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    rpc_gather_stop();
    return 0;
}

/* ---- full sockets ---- */

static void what_a_full_socket_did_not_take_follows_by_itself(void **state)
{
    struct pair p = pair_open();
    (void)state;
    for (int i = 0; i < 3; i++)
        pair_check_filled(&p, pair_fill(&p));
    pair_check(&p, "");
    pair_put(p.fd, "after");
    pair_check(&p, "after");
    pair_close(&p);
}

static void a_full_socket_holds_back_no_other(void **state)
{
    struct pair p = pair_open(), q = pair_open();
    (void)state;
    size_t taken = pair_fill(&p);
    rpc_gather_begin();
    pair_put(q.fd, "other");
    rpc_gather_end();
    pair_check(&q, "other");
    pair_check_filled(&p, taken);
    pair_close(&p);
    pair_close(&q);
}

static void a_full_socket_may_be_closed(void **state)
{
    struct pair p = pair_open();
    (void)state;
    pair_fill(&p);
    close(p.fd);
    struct pair q = pair_open(); /* most likely with the same number */
    pair_put(q.fd, "fresh");
    pair_check(&q, "fresh");
    pair_close(&q);
    close(p.peer);
}

static void stopping_ends_connections_that_are_full(void **state)
{
    struct pair p = pair_open();
    char byte[4096];
    (void)state;
    pair_fill(&p);
    assert_true(rpc_gather_start()); /* counted: the fixture's own stop comes later */
    rpc_gather_stop();
    assert_int_equal(pair_put_bytes(p.fd, "x", 1), -1);
    assert_int_equal(errno, EAGAIN);
    rpc_gather_stop();
    assert_int_equal(pair_put_bytes(p.fd, "x", 1), -1);
    assert_int_equal(errno, EIO);
    while (recv(p.peer, byte, sizeof byte, 0) > 0) {
    } /* ends: the connection is shut down */
    assert_true(rpc_gather_start());
    pair_close(&p);
}

/* ---- frames of our own ---- */

static const struct rpc_frame frame = {"<-- the frame -->"};

static void insert(const struct pair *p)
{
    struct rpc_connection *c = rpc_connection_find(p->fd);
    pthread_mutex_lock(&c->lock);
    rpc_gather_insert(c, p->fd, &frame, 0);
    pthread_mutex_unlock(&c->lock);
}

static void a_frame_follows_what_was_written(void **state)
{
    struct pair p = pair_open();
    (void)state;
    pair_put(p.fd, "one ");
    insert(&p);
    pair_check(&p, "one <-- the frame -->");
    pair_put(p.fd, "two");
    pair_check(&p, "two");
    pair_close(&p);
}

static void a_frame_is_never_the_first(void **state)
{
    struct pair p = pair_open();
    (void)state;
    insert(&p);
    pair_check(&p, "");
    pair_put(p.fd, "settings ");
    pair_check(&p, "settings <-- the frame -->");
    pair_close(&p);
}

static void a_frame_takes_its_place_among_gathered_writes(void **state)
{
    struct pair p = pair_open();
    (void)state;
    rpc_gather_begin();
    pair_put(p.fd, "one ");
    insert(&p);
    pair_put(p.fd, " two");
    rpc_gather_end();
    pair_check(&p, "one <-- the frame --> two");
    pair_close(&p);
}

/* Reads what is there, at most `size` bytes; returns the length. */
static size_t drain(const struct pair *p, char *to, size_t size)
{
    size_t len = 0;
    while (len < size && pair_readable(p->peer, 0))
        len += (size_t)recv(p->peer, to + len, size - len, MSG_DONTWAIT);
    return len;
}

static void a_frame_does_not_cut_a_write_in_two(void **state)
{
    static char large[4 << 20], got[5 << 20];
    struct pair p = pair_open();
    size_t sent = 0, len = 0;
    (void)state;
    memset(large, 'x', sizeof large);
    while (sent < sizeof large) { /* as core does: the rest when the socket is writable */
        ssize_t n = pair_put_bytes(p.fd, large + sent, sizeof large - sent);
        if (sent == 0)
            insert(&p); /* in the middle */
        if (n > 0)
            sent += (size_t)n;
        len += drain(&p, got + len, sizeof got - len);
    }
    len += drain(&p, got + len, sizeof got - len);
    assert_int_equal(len, sizeof large + sizeof frame);
    assert_int_equal(got[sizeof large - 1], 'x');
    assert_memory_equal(got + sizeof large, &frame, sizeof frame);
    pair_close(&p);
}

static void a_frame_waits_while_the_socket_is_full(void **state)
{
    struct pair p = pair_open();
    char got[sizeof frame];
    (void)state;
    size_t taken = pair_fill(&p);
    insert(&p);
    pair_check_filled(&p, taken);
    assert_true(pair_readable(p.peer, PAIR_WAIT_MS));
    assert_int_equal(recv(p.peer, got, sizeof got, MSG_WAITALL), sizeof got);
    assert_memory_equal(got, &frame, sizeof got);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_full_socket_did_not_take_follows_by_itself),
        cmocka_unit_test(a_full_socket_holds_back_no_other),
        cmocka_unit_test(a_full_socket_may_be_closed),
        cmocka_unit_test(stopping_ends_connections_that_are_full),
        cmocka_unit_test(a_frame_follows_what_was_written),
        cmocka_unit_test(a_frame_is_never_the_first),
        cmocka_unit_test(a_frame_takes_its_place_among_gathered_writes),
        cmocka_unit_test(a_frame_does_not_cut_a_write_in_two),
        cmocka_unit_test(a_frame_waits_while_the_socket_is_full),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
