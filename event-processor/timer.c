#include "event-processor/timer.h"

#include "common/mem.h"
#include "event-processor/wait.h"

struct entry {
    struct timespec due;
    uint64_t number; /* of the wait: orders those that are due at the same time */
    timer_fn fn;
    void *ctx;
};

/* Invariant: entries is a binary heap, the first due at the top. */
struct timer {
    struct wait wait; /* guards all below; woken when the top changes or `stopping` is set */
    struct entry *entries;
    size_t count;
    size_t capacity;
    uint64_t added;
    bool stopping;
    bool joined;
    pthread_t thread;
};

static bool before(const struct entry *a, const struct entry *b)
{
    if (a->due.tv_sec != b->due.tv_sec)
        return a->due.tv_sec < b->due.tv_sec;
    if (a->due.tv_nsec != b->due.tv_nsec)
        return a->due.tv_nsec < b->due.tv_nsec;
    return a->number < b->number;
}

static void push(struct timer *timer, struct entry entry)
{
    size_t i = timer->count++;
    for (size_t parent; i > 0; i = parent) {
        parent = (i - 1) / 2;
        if (!before(&entry, &timer->entries[parent]))
            break;
        timer->entries[i] = timer->entries[parent];
    }
    timer->entries[i] = entry;
}

/* Makes place `i` hold `moved`, which is due no earlier than what was there. */
static void sink(struct timer *timer, size_t i, struct entry moved)
{
    struct entry *heap = timer->entries;
    for (size_t child; (child = 2 * i + 1) < timer->count; i = child) {
        if (child + 1 < timer->count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &moved))
            break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

static struct entry pop(struct timer *timer)
{
    struct entry top = timer->entries[0];
    timer->count--;
    sink(timer, 0, timer->entries[timer->count]);
    return top;
}

/* The last one takes its place, and may be due before those above it. */
static void take_out(struct timer *timer, size_t i)
{
    struct entry *heap = timer->entries;
    struct entry moved = heap[--timer->count];
    if (i == timer->count)
        return;
    for (; i > 0 && before(&moved, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    sink(timer, i, moved);
}

/* With the lock held: waits until the first entry is due. False: stopping. */
static bool wait_for_due(struct timer *timer)
{
    while (!timer->stopping) {
        if (timer->count == 0)
            wait_on(&timer->wait);
        else if (wait_left_ms(timer->entries[0].due) == 0)
            return true;
        else
            (void)wait_on_until(&timer->wait, timer->entries[0].due);
    }
    return false;
}

static void *run_timer(void *arg)
{
    struct timer *timer = arg;
    wait_lock(&timer->wait);
    while (wait_for_due(timer)) {
        struct entry entry = pop(timer);
        wait_unlock(&timer->wait);
        entry.fn(entry.ctx, true);
        wait_lock(&timer->wait);
    }
    wait_unlock(&timer->wait);
    return NULL;
}

enum err timer_start(size_t capacity, struct timer **ret)
{
    struct timer *timer = mem_zero(1, sizeof *timer);
    if (!timer)
        return ERR_MEMORY;
    timer->entries = mem_zero(capacity, sizeof *timer->entries);
    timer->capacity = capacity;
    if (!timer->entries || wait_init(&timer->wait)) {
        mem_free(timer->entries);
        mem_free(timer);
        return ERR_MEMORY;
    }
    if (pthread_create(&timer->thread, NULL, run_timer, timer) != 0) {
        timer->joined = true;
        timer_free(timer);
        return ERR_MEMORY;
    }
    *ret = timer;
    return ERR_NONE;
}

enum err timer_add(struct timer *timer, int64_t delay_ms, timer_fn fn, void *ctx)
{
    enum err e = ERR_NONE;
    struct timespec due = wait_until(delay_ms);
    wait_lock(&timer->wait);
    if (timer->stopping) {
        e = ERR_UNAVAILABLE;
    } else if (timer->count == timer->capacity) {
        e = ERR_BUSY;
    } else {
        push(timer, (struct entry){.due = due, .number = timer->added++, .fn = fn, .ctx = ctx});
        if (timer->entries[0].number == timer->added - 1)
            wait_wake_all(&timer->wait);
    }
    wait_unlock(&timer->wait);
    return e;
}

bool timer_cancel(struct timer *timer, const void *ctx)
{
    wait_lock(&timer->wait);
    size_t found = timer->count;
    for (size_t i = 0; i < timer->count; i++)
        if (timer->entries[i].ctx == ctx &&
            (found == timer->count || before(&timer->entries[i], &timer->entries[found])))
            found = i;
    bool cancelled = found < timer->count;
    if (cancelled)
        take_out(timer, found);
    wait_unlock(&timer->wait);
    return cancelled;
}

void timer_stop(struct timer *timer)
{
    wait_lock(&timer->wait);
    timer->stopping = true;
    wait_wake_all(&timer->wait);
    wait_unlock(&timer->wait);
    if (!timer->joined)
        pthread_join(timer->thread, NULL);
    timer->joined = true;
    wait_lock(&timer->wait);
    while (timer->count > 0) { /* nothing can be added; functions may try */
        struct entry entry = pop(timer);
        wait_unlock(&timer->wait);
        entry.fn(entry.ctx, false);
        wait_lock(&timer->wait);
    }
    wait_unlock(&timer->wait);
}

void timer_free(struct timer *timer)
{
    if (!timer)
        return;
    wait_destroy(&timer->wait);
    mem_free(timer->entries);
    mem_free(timer);
}
