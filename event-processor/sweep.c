#include "common/mem.h"
#include "event-processor/sweep_parts.h"

enum {
    AT_LEAST_MS = 10 * 1000, /* between two walks */
    AT_MOST_MS = 3600 * 1000,
    MARGIN_MS = 1000, /* the table knows whole seconds */
};

/* An attempt may take as long as its timeout, its failure is tried again after a backoff at most or
 * waits for its letter, and if its processor vanishes the bus delivers it again after ack_wait. */
static int64_t unchanged_ms(const struct sweep_options *use)
{
    int64_t most = 0;
    for (size_t i = 0; i < handlers_count(use->handlers); i++) {
        const struct retry_policy *policy = handlers_at(use->handlers, i)->retry;
        int64_t after_ms =
            policy->backoff_max_ms > LETTERS_HOLD_MS ? policy->backoff_max_ms : LETTERS_HOLD_MS;
        int64_t ms = after_ms + policy->timeout_ms;
        most = ms > most ? ms : most;
    }
    return most + use->ack_wait_ms + MARGIN_MS;
}

static void fill_in(struct sweep_options *use)
{
    if (use->unchanged_ms == 0)
        use->unchanged_ms = unchanged_ms(use);
    if (use->every_ms != 0)
        return;
    use->every_ms = use->unchanged_ms;
    if (use->every_ms < AT_LEAST_MS)
        use->every_ms = AT_LEAST_MS;
    if (use->every_ms > AT_MOST_MS)
        use->every_ms = AT_MOST_MS;
}

static void *run_sweep(void *arg)
{
    struct sweep *sweep = arg;
    while (!wait_flag_is_set(&sweep->stop)) {
        int64_t items_ms = sweep_items_step(sweep);
        int64_t expired_ms = sweep_expired_step(sweep);
        int64_t pause_ms = items_ms < expired_ms ? items_ms : expired_ms;
        if (pause_ms > 0)
            wait_flag_pause(&sweep->stop, pause_ms < SWEEP_POLL_MS ? pause_ms : SWEEP_POLL_MS);
    }
    return NULL;
}

enum err sweep_start(const struct sweep_options *options, struct sweep **ret)
{
    struct sweep *sweep = mem_zero(1, sizeof *sweep);
    if (!sweep)
        return ERR_MEMORY;
    if (wait_init(&sweep->wait)) {
        mem_free(sweep);
        return ERR_MEMORY;
    }
    if (wait_flag_init(&sweep->stop)) {
        wait_destroy(&sweep->wait);
        mem_free(sweep);
        return ERR_MEMORY;
    }
    sweep->use = *options;
    fill_in(&sweep->use);
    sweep_expired_open(sweep);
    enum err e = sweep_items_open(sweep);
    if (!e) {
        sweep->started = pthread_create(&sweep->thread, NULL, run_sweep, sweep) == 0;
        e = sweep->started ? ERR_NONE : ERR_MEMORY;
    }
    if (e)
        sweep_free(sweep);
    else
        *ret = sweep;
    return e;
}

void sweep_stop(struct sweep *sweep)
{
    wait_flag_set(&sweep->stop);
}

void sweep_free(struct sweep *sweep)
{
    if (!sweep)
        return;
    if (sweep->started)
        pthread_join(sweep->thread, NULL);
    wait_lock(&sweep->wait);
    while (sweep->publishing > 0)
        wait_on(&sweep->wait);
    wait_unlock(&sweep->wait);
    sweep_items_close(sweep);
    wait_flag_destroy(&sweep->stop);
    wait_destroy(&sweep->wait);
    mem_free(sweep);
}
