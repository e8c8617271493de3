#include "tests/lib/watch_peer.h"

#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { FOLLOWERS_MAX = 16, SCRIPT_MAX = 512, MESSAGE_MAX = 1 << 20 };

struct follower {
    struct rpc_call *call; /* NULL: nobody */
    size_t next;           /* of the script */
    bool busy;             /* what was sent has not left yet */
    bool changes;          /* of all events */
};

/* The test's thread and gRPC's take turns. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct follower followers[FOLLOWERS_MAX];
static struct buf script[SCRIPT_MAX];
static size_t script_length;
static struct event_status busy_with; /* its position is 0: nothing */
static enum err end;
static const char *end_message;
static struct watch_question question;
static unsigned opened;

/* ---- with the lock ---- */

static struct follower *find(const struct rpc_call *call)
{
    for (size_t i = 0; i < FOLLOWERS_MAX; i++)
        if (followers[i].call == call)
            return &followers[i];
    return NULL;
}

static void say_next(const struct follower *f)
{
    struct event_changes message = {.changes = &busy_with, .count = 1};
    struct buf line;

    message.position = ++busy_with.position;
    busy_with.state.attempt = 1 + busy_with.position % 2;
    buf_init(&line, MESSAGE_MAX);
    assert_int_equal(f->changes ? event_changes_write(&message, &line)
                                : event_status_write(&busy_with, &line),
                     ERR_NONE);
    rpc_send(f->call, buf_view(&line));
    buf_free(&line);
}

static void go_on(struct follower *f)
{
    if (!f->call || f->busy)
        return;
    if (f->next < script_length) {
        f->busy = true;
        rpc_send(f->call, buf_view(&script[f->next++]));
    } else if (busy_with.position > 0) {
        f->busy = true;
        say_next(f);
    } else if (end) {
        rpc_fail(f->call, end, end_message);
        f->call = NULL;
    }
}

static void add(struct rpc_call *call, bool changes)
{
    struct follower *f = find(NULL);

    if (!f) {
        rpc_fail(call, ERR_INTERNAL, "too many for this test");
        return;
    }
    *f = (struct follower){.call = call, .changes = changes};
    opened++;
    go_on(f);
}

static struct buf *next_line(void)
{
    assert_in_range(script_length, 0, SCRIPT_MAX - 1);
    buf_free(&script[script_length]);
    buf_init(&script[script_length], MESSAGE_MAX);
    return &script[script_length];
}

static void say_to_all(void)
{
    script_length++;
    for (size_t i = 0; i < FOLLOWERS_MAX; i++)
        go_on(&followers[i]);
}

/* ---- the processor's side ---- */

static void copy(char *to, size_t size, struct view from)
{
    snprintf(to, size, "%.*s", (int)from.len, from.data ? from.data : "");
}

void watch_peer_on_event(struct rpc_call *call, struct view bytes, void *ctx)
{
    struct event_status_holder *holder = NULL;
    struct event_status_request request;

    (void)ctx;
    pthread_mutex_lock(&lock);
    if (event_watch_request_read(bytes, &holder, &request)) {
        rpc_fail(call, ERR_INTERNAL, "not a request");
    } else {
        question = (struct watch_question){.position = request.min_position};
        copy(question.id, sizeof question.id, request.event_id);
        copy(question.source, sizeof question.source, request.source);
        add(call, false);
    }
    pthread_mutex_unlock(&lock);
    event_status_holder_free(holder);
}

void watch_peer_on_changes(struct rpc_call *call, struct view bytes, void *ctx)
{
    struct event_status_holder *holder = NULL;
    struct event_changes_request request;

    (void)ctx;
    pthread_mutex_lock(&lock);
    if (event_changes_request_read(bytes, &holder, &request)) {
        rpc_fail(call, ERR_INTERNAL, "not a request");
    } else {
        question = (struct watch_question){.position = request.after_position,
                                           .has_after = request.has_after,
                                           .statuses = request.statuses};
        copy(question.name, sizeof question.name, request.name);
        add(call, true);
    }
    pthread_mutex_unlock(&lock);
    event_status_holder_free(holder);
}

void watch_peer_on_writable(struct rpc_call *call, void *ctx)
{
    struct follower *f;

    (void)ctx;
    pthread_mutex_lock(&lock);
    f = find(call);
    if (f) {
        f->busy = false;
        go_on(f);
    }
    pthread_mutex_unlock(&lock);
}

void watch_peer_on_closed(struct rpc_call *call, void *ctx)
{
    struct follower *f;

    (void)ctx;
    pthread_mutex_lock(&lock);
    f = find(call);
    if (f)
        f->call = NULL;
    pthread_mutex_unlock(&lock);
}

/* ---- the test's side ---- */

void watch_peer_reset(void)
{
    pthread_mutex_lock(&lock);
    script_length = 0;
    busy_with.position = 0;
    end = ERR_NONE;
    opened = 0;
    for (size_t i = 0; i < FOLLOWERS_MAX; i++)
        followers[i].next = 0;
    question = (struct watch_question){.position = 0};
    pthread_mutex_unlock(&lock);
}

void watch_peer_say(const struct event_status *status)
{
    pthread_mutex_lock(&lock);
    assert_int_equal(event_status_write(status, next_line()), ERR_NONE);
    say_to_all();
    pthread_mutex_unlock(&lock);
}

void watch_peer_say_changes(const struct event_status *changes, size_t count, uint64_t position)
{
    struct event_changes message = {.changes = changes, .count = count, .position = position};

    pthread_mutex_lock(&lock);
    assert_int_equal(event_changes_write(&message, next_line()), ERR_NONE);
    say_to_all();
    pthread_mutex_unlock(&lock);
}

void watch_peer_be_busy(const struct event_status *change)
{
    pthread_mutex_lock(&lock);
    busy_with = *change;
    for (size_t i = 0; i < FOLLOWERS_MAX; i++)
        go_on(&followers[i]);
    pthread_mutex_unlock(&lock);
}

void watch_peer_fail(enum err e, const char *message)
{
    pthread_mutex_lock(&lock);
    end = e;
    end_message = message;
    for (size_t i = 0; i < FOLLOWERS_MAX; i++)
        go_on(&followers[i]);
    pthread_mutex_unlock(&lock);
}

struct watch_question watch_peer_asked(void)
{
    struct watch_question q;

    pthread_mutex_lock(&lock);
    q = question;
    pthread_mutex_unlock(&lock);
    return q;
}

unsigned watch_peer_opened(void)
{
    unsigned count;

    pthread_mutex_lock(&lock);
    count = opened;
    pthread_mutex_unlock(&lock);
    return count;
}

unsigned watch_peer_open(void)
{
    unsigned count = 0;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < FOLLOWERS_MAX; i++)
        count += followers[i].call != NULL;
    pthread_mutex_unlock(&lock);
    return count;
}
