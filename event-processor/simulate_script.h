/* What an event's payload asks of the handler `simulate`: `{"simulate":["fail","delay:1s","ok"]}`.
 *
 * The n-th entry says what the n-th attempt does, the last one what all further ones do:
 *     ok            it succeeds
 *     delay:250ms   it takes so long, then succeeds
 *     fail          it fails; fail:<reason> with a reason; fail:after=2s wants the next one then
 *     never         it fails, and so would all others; never:<reason> with a reason
 *     hang          it takes longer than any time limit
 *     crash         the process ends at once (only where the configuration says allow_crash)
 * What is none of these fails and never comes again. Pure. Thread-safe.
 */
#ifndef TIDINGS_SIMULATE_SCRIPT_H
#define TIDINGS_SIMULATE_SCRIPT_H

#include "common/buf.h"

enum simulate_kind {
    SIMULATE_CHANCE, /* the payload asks for nothing */
    SIMULATE_OK,
    SIMULATE_FAIL,
    SIMULATE_NEVER,
    SIMULATE_HANG,
    SIMULATE_CRASH,
};

struct simulate_step {
    enum simulate_kind kind;
    int64_t delay_ms; /* -1: as configured */
    int64_t after_ms; /* of SIMULATE_FAIL, until the next attempt; -1: by the backoff */
    char error[256];  /* of FAIL and NEVER */
};

/* Attempts count from 1. */
void simulate_script_step(struct view payload, uint32_t attempt, struct simulate_step *ret);

#endif
