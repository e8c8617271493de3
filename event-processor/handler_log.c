/* The handler `log`: writes the event to the log. The default, so that a new user sees something
 * happen. */
#include "event-processor/handler.h"

#include "common/log.h"
#include "common/mem.h"

enum { PAYLOAD_SHOWN = 256 };

static enum err open_log(const struct config_handler *config, const struct handler_tools *tools,
                         struct handler **ret)
{
    (void)config;
    (void)tools;
    struct handler *handler = mem_zero(1, sizeof *handler);
    if (!handler)
        return ERR_MEMORY;
    handler->kind = &handler_log;
    *ret = handler;
    return ERR_NONE;
}

/* The payload's beginning, cut between two characters. */
static struct view shown(struct view payload)
{
    if (payload.len <= PAYLOAD_SHOWN)
        return payload;
    size_t len = PAYLOAD_SHOWN;
    while (len > PAYLOAD_SHOWN - 4 && ((unsigned char)payload.data[len] & 0xc0) == 0x80)
        len--;
    return (struct view){payload.data, len};
}

static void start_log(struct handler *handler, struct run *run)
{
    (void)handler;
    if (log_enabled(LOG_INFO)) {
        char id[ID_TEXT_SIZE];
        id_format(&run->event.id, id);
        log_info("event", LOG_TEXT("event_id", id), LOG_VIEW("name", run->event.name),
                 LOG_U64("position", run->position), LOG_U64("size", run->event.payload.len),
                 LOG_VIEW("payload", shown(run->event.payload)));
    }
    run_done(run, RUN_PROCESSED);
}

static void close_log(struct handler *handler)
{
    mem_free(handler);
}

const struct handler_kind handler_log = {
    .name = "log",
    .open = open_log,
    .start = start_log,
    .close = close_log,
};
