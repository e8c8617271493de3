#include "common/rpc_gather.h"

#include "common/mem.h"
#include "tests/lib/pair.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
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

/* ---- turns ---- */

static void outside_of_a_turn_bytes_leave_at_once(void **state)
{
    struct pair p = pair_open();
    (void)state;
    pair_put(p.fd, "one");
    pair_check(&p, "one");
    pair_close(&p);
}

static void in_a_turn_bytes_leave_at_its_end_in_order(void **state)
{
    struct pair p = pair_open(), q = pair_open();
    (void)state;
    rpc_gather_begin();
    pair_put(p.fd, "one ");
    pair_put(q.fd, "other");
    pair_put(p.fd, "two ");
    pair_put(p.fd, "three");
    pair_check(&p, "");
    rpc_gather_end();
    pair_check(&p, "one two three");
    pair_check(&q, "other");
    pair_put(p.fd, "four");
    pair_check(&p, "four");
    pair_close(&p);
    pair_close(&q);
}

static void an_unknown_descriptor_is_written_to_at_once(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct pair p = {ends[0], ends[1]};
    rpc_gather_begin();
    pair_put(p.fd, "one");
    pair_check(&p, "one");
    rpc_gather_end();
    pair_close(&p);
    assert_int_equal(pair_put_bytes(-1, "x", 1), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(close(-1), -1);
    assert_int_equal(errno, EBADF);
}

static void a_large_write_follows_what_waits(void **state)
{
    static char large[100000], got[100003];
    struct pair p = pair_open();
    (void)state;
    memset(large, 'x', sizeof large);
    rpc_gather_begin();
    pair_put(p.fd, "abc");
    assert_int_equal(pair_put_bytes(p.fd, large, sizeof large), sizeof large);
    assert_int_equal(recv(p.peer, got, sizeof got, MSG_WAITALL), sizeof got);
    assert_memory_equal(got, "abcxxx", 6);
    rpc_gather_end();
    pair_check(&p, "");
    pair_close(&p);
}

static void many_small_writes_fill_more_than_a_block(void **state)
{
    static char piece[1000], got[100 * 1000];
    struct pair p = pair_open();
    (void)state;
    rpc_gather_begin();
    for (int i = 0; i < 100; i++) {
        memset(piece, i, sizeof piece);
        assert_int_equal(pair_put_bytes(p.fd, piece, sizeof piece), sizeof piece);
    }
    rpc_gather_end();
    assert_int_equal(recv(p.peer, got, sizeof got, MSG_WAITALL), sizeof got);
    for (int i = 0; i < 100; i++)
        assert_int_equal(got[i * 1000 + 999], i);
    pair_close(&p);
}

static void a_turn_with_very_many_connections_serves_all(void **state)
{
    static struct pair pairs[200];
    (void)state;
    for (int i = 0; i < 200; i++)
        pairs[i] = pair_open();
    rpc_gather_begin();
    for (int i = 0; i < 200; i++)
        pair_put(pairs[i].fd, "one ");
    for (int i = 0; i < 200; i++)
        pair_put(pairs[i].fd, "two");
    rpc_gather_end();
    for (int i = 0; i < 200; i++) {
        pair_check(&pairs[i], "one two");
        pair_close(&pairs[i]);
    }
}

static void unusual_writes_are_not_gathered(void **state)
{
    struct pair p = pair_open();
    (void)state;
    rpc_gather_begin();
    pair_put(p.fd, "one ");
    struct iovec piece = {(void *)"two", 3};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    assert_int_equal(sendmsg(p.fd, &message, MSG_NOSIGNAL | MSG_MORE), 3);
    pair_check(&p, "one two");
    rpc_gather_end();
    pair_close(&p);
}

static void without_memory_bytes_leave_at_once(void **state)
{
    struct pair p = pair_open();
    (void)state;
    rpc_gather_begin();
    mem_fail_after(0);
    pair_put(p.fd, "one");
    assert_true(mem_fail_after(-1) < 0); /* it did fail: no block was spare */
    pair_check(&p, "one");
    rpc_gather_end();
    pair_close(&p);
}

/* ---- several threads ---- */

static void *put_two(void *fd)
{
    pair_put(*(int *)fd, "two ");
    return NULL;
}

static void another_threads_write_comes_after_what_waits(void **state)
{
    struct pair p = pair_open();
    pthread_t thread;
    (void)state;
    rpc_gather_begin();
    pair_put(p.fd, "one ");
    assert_int_equal(pthread_create(&thread, NULL, put_two, &p.fd), 0);
    pthread_join(thread, NULL);
    pair_check(&p, "one two ");
    pair_put(p.fd, "three");
    rpc_gather_end();
    pair_check(&p, "three");
    pair_close(&p);
}

#define WRITERS 4
#define NUMBERS 50000

/* Writers take numbers under a lock, in turns or outside; the reader must see them in order, as
 * core's own lock on a connection orders its writes. */
struct race {
    struct pair pair;
    pthread_mutex_t lock;
    uint32_t next;
};

/* Writes one number, waiting as core does where the socket is full; false: all are written. */
static bool put_next(struct race *race)
{
    pthread_mutex_lock(&race->lock);
    uint32_t number = race->next;
    bool more = number < NUMBERS;
    size_t done = 0;
    while (more && done < sizeof number) {
        struct iovec piece = {(char *)&number + done, sizeof number - done};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
        struct pollfd writable = {.fd = race->pair.fd, .events = POLLOUT};
        ssize_t sent = sendmsg(race->pair.fd, &message, MSG_NOSIGNAL);
        if (sent > 0)
            done += (size_t)sent;
        else if (sent < 0 && errno == EAGAIN)
            poll(&writable, 1, PAIR_WAIT_MS);
        else
            abort();
    }
    if (more)
        race->next++;
    pthread_mutex_unlock(&race->lock);
    return more;
}

static void *write_numbers(void *arg)
{
    struct race *race = arg;
    bool more = true;
    for (unsigned turn = 0; more; turn++) {
        bool gathers = turn % 4 != 3;
        if (gathers)
            rpc_gather_begin();
        for (unsigned i = 0; more && i < turn % 60 + 1; i++)
            more = put_next(race);
        if (gathers)
            rpc_gather_end();
    }
    return NULL;
}

static void numbers_of_many_writers_stay_in_order(int pause_every)
{
    struct race race = {.pair = pair_open(), .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t writers[WRITERS];
    int small = 4096;
    setsockopt(race.pair.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_numbers, &race), 0);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        uint32_t number;
        if (pause_every && i % (uint32_t)pause_every == 0)
            sched_yield();
        assert_int_equal(recv(race.pair.peer, &number, sizeof number, MSG_WAITALL), sizeof number);
        assert_int_equal(number, i);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    pair_close(&race.pair);
}

static void writes_of_many_threads_stay_in_order(void **state)
{
    (void)state;
    numbers_of_many_writers_stay_in_order(0);
    numbers_of_many_writers_stay_in_order(3);
}

/* ---- ends ---- */

static void closing_and_shutting_down_write_what_waits(void **state)
{
    struct pair p = pair_open(), q = pair_open();
    (void)state;
    rpc_gather_begin();
    pair_put(p.fd, "last words");
    pair_put(q.fd, "the same");
    assert_int_equal(close(p.fd), 0);
    assert_int_equal(shutdown(q.fd, SHUT_RDWR), 0);
    pair_check(&p, "last words");
    pair_check(&q, "the same");
    rpc_gather_end();
    close(p.peer);
    pair_close(&q);
}

static void a_number_reused_within_a_turn_is_another_connection(void **state)
{
    struct pair p = pair_open();
    (void)state;
    rpc_gather_begin();
    pair_put(p.fd, "old");
    close(p.fd);
    struct pair q = pair_open();
    pair_put(q.fd, "new");
    rpc_gather_end();
    pair_check(&p, "old");
    pair_check(&q, "new");
    pair_close(&q);
    close(p.peer);
}

static void a_broken_connection_is_told_at_the_next_write(void **state)
{
    struct pair p = pair_open();
    (void)state;
    close(p.peer);
    rpc_gather_begin();
    pair_put(p.fd, "nobody reads this");
    rpc_gather_end();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pair_put_bytes(p.fd, "x", 1), -1);
        assert_int_equal(errno, EPIPE);
    }
    rpc_gather_begin();
    assert_int_equal(pair_put_bytes(p.fd, "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    rpc_gather_end();
    close(p.fd);
    struct pair q = pair_open();
    pair_put(q.fd, "the number is clean again");
    pair_check(&q, "the number is clean again");
    pair_close(&q);
}

static void open_connections_are_counted(void **state)
{
    (void)state;
    unsigned before = rpc_connection_count();
    struct pair p = pair_open(), q = pair_open();
    assert_int_equal(rpc_connection_count(), before + 2);
    pair_close(&p);
    pair_close(&q);
    assert_int_equal(rpc_connection_count(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_bytes_leave_at_once), /* first: before a block is spare */
        cmocka_unit_test(outside_of_a_turn_bytes_leave_at_once),
        cmocka_unit_test(in_a_turn_bytes_leave_at_its_end_in_order),
        cmocka_unit_test(an_unknown_descriptor_is_written_to_at_once),
        cmocka_unit_test(a_large_write_follows_what_waits),
        cmocka_unit_test(many_small_writes_fill_more_than_a_block),
        cmocka_unit_test(a_turn_with_very_many_connections_serves_all),
        cmocka_unit_test(unusual_writes_are_not_gathered),
        cmocka_unit_test(another_threads_write_comes_after_what_waits),
        cmocka_unit_test(writes_of_many_threads_stay_in_order),
        cmocka_unit_test(closing_and_shutting_down_write_what_waits),
        cmocka_unit_test(a_number_reused_within_a_turn_is_another_connection),
        cmocka_unit_test(a_broken_connection_is_told_at_the_next_write),
        cmocka_unit_test(open_connections_are_counted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
