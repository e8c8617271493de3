#include "common/rpc_gather.h"

#include "common/mem.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 10000

/* A connection as core has it, and its peer. */
struct pair {
    int fd, peer;
};

static struct pair pair_open(void)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    rpc_gather_adopt(ends[0]);
    return (struct pair){ends[0], ends[1]};
}

static void pair_close(struct pair *p)
{
    close(p->fd);
    close(p->peer);
}

static ssize_t put_bytes(int fd, const void *bytes, size_t len)
{
    /* In two pieces, as core's messages come in several. */
    struct iovec pieces[2] = {{(void *)bytes, len / 2}, {(char *)bytes + len / 2, len - len / 2}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void put(int fd, const char *text)
{
    assert_int_equal(put_bytes(fd, text, strlen(text)), strlen(text));
}

static bool is_readable(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, wait_ms) == 1;
}

/* What the peer can read at once must be this. */
static void check_arrived(const struct pair *p, const char *expected)
{
    char text[256] = "";
    ssize_t len = recv(p->peer, text, sizeof text - 1, MSG_DONTWAIT);
    if (len < 0)
        len = 0;
    text[len] = '\0';
    assert_string_equal(text, expected);
}

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
    put(p.fd, "one");
    check_arrived(&p, "one");
    pair_close(&p);
}

static void in_a_turn_bytes_leave_at_its_end_in_order(void **state)
{
    struct pair p = pair_open(), q = pair_open();
    (void)state;
    rpc_gather_begin();
    put(p.fd, "one ");
    put(q.fd, "other");
    put(p.fd, "two ");
    put(p.fd, "three");
    check_arrived(&p, "");
    rpc_gather_end();
    check_arrived(&p, "one two three");
    check_arrived(&q, "other");
    put(p.fd, "four");
    check_arrived(&p, "four");
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
    put(p.fd, "one");
    check_arrived(&p, "one");
    rpc_gather_end();
    pair_close(&p);
    assert_int_equal(put_bytes(-1, "x", 1), -1);
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
    put(p.fd, "abc");
    assert_int_equal(put_bytes(p.fd, large, sizeof large), sizeof large);
    assert_int_equal(recv(p.peer, got, sizeof got, MSG_WAITALL), sizeof got);
    assert_memory_equal(got, "abcxxx", 6);
    rpc_gather_end();
    check_arrived(&p, "");
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
        assert_int_equal(put_bytes(p.fd, piece, sizeof piece), sizeof piece);
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
        put(pairs[i].fd, "one ");
    for (int i = 0; i < 200; i++)
        put(pairs[i].fd, "two");
    rpc_gather_end();
    for (int i = 0; i < 200; i++) {
        check_arrived(&pairs[i], "one two");
        pair_close(&pairs[i]);
    }
}

static void unusual_writes_are_not_gathered(void **state)
{
    struct pair p = pair_open();
    (void)state;
    rpc_gather_begin();
    put(p.fd, "one ");
    struct iovec piece = {(void *)"two", 3};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    assert_int_equal(sendmsg(p.fd, &message, MSG_NOSIGNAL | MSG_MORE), 3);
    check_arrived(&p, "one two");
    rpc_gather_end();
    pair_close(&p);
}

static void without_memory_bytes_leave_at_once(void **state)
{
    struct pair p = pair_open();
    (void)state;
    rpc_gather_begin();
    mem_fail_after(0);
    put(p.fd, "one");
    assert_true(mem_fail_after(-1) < 0); /* it did fail: no block was spare */
    check_arrived(&p, "one");
    rpc_gather_end();
    pair_close(&p);
}

/* ---- several threads ---- */

static void *put_two(void *fd)
{
    put(*(int *)fd, "two ");
    return NULL;
}

static void another_threads_write_comes_after_what_waits(void **state)
{
    struct pair p = pair_open();
    pthread_t thread;
    (void)state;
    rpc_gather_begin();
    put(p.fd, "one ");
    assert_int_equal(pthread_create(&thread, NULL, put_two, &p.fd), 0);
    pthread_join(thread, NULL);
    check_arrived(&p, "one two ");
    put(p.fd, "three");
    rpc_gather_end();
    check_arrived(&p, "three");
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
            poll(&writable, 1, WAIT_MS);
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

/* ---- full sockets ---- */

/* Gathers numbered blocks until the socket is full and sendmsg says so; returns how many bytes
 * were taken. */
static size_t fill(const struct pair *p)
{
    char block[1024];
    size_t taken = 0;
    for (unsigned i = 0; i < 100000; i++) {
        memset(block, (int)(i % 251), sizeof block);
        rpc_gather_begin();
        ssize_t sent = put_bytes(p->fd, block, sizeof block);
        rpc_gather_end();
        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            return taken;
        }
        assert_int_equal(sent, sizeof block);
        taken += sizeof block;
    }
    fail();
    return 0;
}

static void check_filled(const struct pair *p, size_t taken)
{
    for (size_t at = 0; at < taken; at += 1024) {
        char block[1024];
        assert_true(is_readable(p->peer, WAIT_MS)); /* also what only the flusher can send */
        assert_int_equal(recv(p->peer, block, sizeof block, MSG_WAITALL), sizeof block);
        assert_int_equal((unsigned char)block[0], at / 1024 % 251);
        assert_int_equal((unsigned char)block[1023], at / 1024 % 251);
    }
}

static void what_a_full_socket_did_not_take_follows_by_itself(void **state)
{
    struct pair p = pair_open();
    (void)state;
    for (int i = 0; i < 3; i++)
        check_filled(&p, fill(&p));
    check_arrived(&p, "");
    put(p.fd, "after");
    check_arrived(&p, "after");
    pair_close(&p);
}

static void a_full_socket_holds_back_no_other(void **state)
{
    struct pair p = pair_open(), q = pair_open();
    (void)state;
    size_t taken = fill(&p);
    rpc_gather_begin();
    put(q.fd, "other");
    rpc_gather_end();
    check_arrived(&q, "other");
    check_filled(&p, taken);
    pair_close(&p);
    pair_close(&q);
}

static void a_full_socket_may_be_closed(void **state)
{
    struct pair p = pair_open();
    (void)state;
    fill(&p);
    close(p.fd);
    struct pair q = pair_open(); /* most likely with the same number */
    put(q.fd, "fresh");
    check_arrived(&q, "fresh");
    pair_close(&q);
    close(p.peer);
}

static void stopping_ends_connections_that_are_full(void **state)
{
    struct pair p = pair_open();
    char byte[4096];
    (void)state;
    fill(&p);
    assert_true(rpc_gather_start()); /* counted: the fixture's own stop comes later */
    rpc_gather_stop();
    assert_int_equal(put_bytes(p.fd, "x", 1), -1);
    assert_int_equal(errno, EAGAIN);
    rpc_gather_stop();
    assert_int_equal(put_bytes(p.fd, "x", 1), -1);
    assert_int_equal(errno, EIO);
    while (recv(p.peer, byte, sizeof byte, 0) > 0) {
    } /* ends: the connection is shut down */
    assert_true(rpc_gather_start());
    pair_close(&p);
}

/* ---- ends ---- */

static void closing_and_shutting_down_write_what_waits(void **state)
{
    struct pair p = pair_open(), q = pair_open();
    (void)state;
    rpc_gather_begin();
    put(p.fd, "last words");
    put(q.fd, "the same");
    assert_int_equal(close(p.fd), 0);
    assert_int_equal(shutdown(q.fd, SHUT_RDWR), 0);
    check_arrived(&p, "last words");
    check_arrived(&q, "the same");
    rpc_gather_end();
    close(p.peer);
    pair_close(&q);
}

static void a_number_reused_within_a_turn_is_another_connection(void **state)
{
    struct pair p = pair_open();
    (void)state;
    rpc_gather_begin();
    put(p.fd, "old");
    close(p.fd);
    struct pair q = pair_open();
    put(q.fd, "new");
    rpc_gather_end();
    check_arrived(&p, "old");
    check_arrived(&q, "new");
    pair_close(&q);
    close(p.peer);
}

static void a_broken_connection_is_told_at_the_next_write(void **state)
{
    struct pair p = pair_open();
    (void)state;
    close(p.peer);
    rpc_gather_begin();
    put(p.fd, "nobody reads this");
    rpc_gather_end();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(put_bytes(p.fd, "x", 1), -1);
        assert_int_equal(errno, EPIPE);
    }
    rpc_gather_begin();
    assert_int_equal(put_bytes(p.fd, "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    rpc_gather_end();
    close(p.fd);
    struct pair q = pair_open();
    put(q.fd, "the number is clean again");
    check_arrived(&q, "the number is clean again");
    pair_close(&q);
}

static void open_connections_are_counted(void **state)
{
    (void)state;
    unsigned before = rpc_gather_open();
    struct pair p = pair_open(), q = pair_open();
    assert_int_equal(rpc_gather_open(), before + 2);
    pair_close(&p);
    pair_close(&q);
    assert_int_equal(rpc_gather_open(), before);
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
        cmocka_unit_test(what_a_full_socket_did_not_take_follows_by_itself),
        cmocka_unit_test(a_full_socket_holds_back_no_other),
        cmocka_unit_test(a_full_socket_may_be_closed),
        cmocka_unit_test(stopping_ends_connections_that_are_full),
        cmocka_unit_test(closing_and_shutting_down_write_what_waits),
        cmocka_unit_test(a_number_reused_within_a_turn_is_another_connection),
        cmocka_unit_test(a_broken_connection_is_told_at_the_next_write),
        cmocka_unit_test(open_connections_are_counted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
