/* A timer: calls functions when they are due, on one thread of its own.
 *
 * Thread-safe.
 */
#ifndef TIDINGS_TIMER_H
#define TIDINGS_TIMER_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct timer;

/* Called once for each wait, on the timer's thread, or with due = false on the one that stops the
 * timer. It must not block; it may call timer_add. */
typedef void (*timer_fn)(void *ctx, bool due);

/* capacity: waits at one time. */
must_check enum err timer_start(size_t capacity, struct timer **ret);
/* Due after delay_ms, in the order of their times; those of the same time in the order they were
 * added. ERR_BUSY: at capacity. ERR_UNAVAILABLE: stopped. */
must_check enum err timer_add(struct timer *timer, int64_t delay_ms, timer_fn fn, void *ctx);
/* Ends the wait of this ctx (the first due, if there are several). True: its function won't be
 * called. False: there is none, its function is being called or has been. Takes longer the more
 * waits there are. */
bool timer_cancel(struct timer *timer, const void *ctx);
/* Ends all waits with due = false and the thread. Later waits are refused. Not from a timer_fn. */
void timer_stop(struct timer *timer);
void timer_free(struct timer *timer); /* stopped before */

#endif
