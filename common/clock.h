/* Time, injectable: production reads the system's clocks, tests and the simulation turn their own.
 * Thread-safe.
 */
#ifndef TIDINGS_CLOCK_H
#define TIDINGS_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct clock {
    /* milliseconds since 1970-01-01T00:00:00Z */
    int64_t (*wall_ms)(const struct clock *clock);
    /* milliseconds since some fixed moment, never back */
    int64_t (*monotonic_ms)(const struct clock *clock);
};

extern const struct clock clock_system;

static inline int64_t clock_wall_ms(const struct clock *c)
{
    return c->wall_ms(c);
}
static inline int64_t clock_monotonic_ms(const struct clock *c)
{
    return c->monotonic_ms(c);
}

/* A clock that stands still until told otherwise. `base` must be its first member. */
struct clock_manual {
    struct clock base;
    _Atomic int64_t now_ms; /* answers both questions */
};
void clock_manual_init(struct clock_manual *clock, int64_t now_ms);
void clock_manual_advance(struct clock_manual *clock, int64_t ms);

/* RFC 3339 in UTC with milliseconds: 2026-01-02T03:04:05.678Z. Moments outside the years 0001 to
 * 9999 become the nearest one inside. */
#define CLOCK_TEXT_SIZE 25
void clock_format(int64_t wall_ms, char text[CLOCK_TEXT_SIZE]);
/* Parses any RFC 3339 date-time (offsets, fractions cut to ms; a leap second counts as :59).
 * False if it isn't one, or not within the years 0001 to 9999 in UTC. */
_Bool clock_parse(const char *text, size_t len, int64_t *ret_wall_ms);

#endif
