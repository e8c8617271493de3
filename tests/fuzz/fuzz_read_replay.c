/* The reader of requests for replays: what it takes is within its bounds, lies in what it may, and
 * can be sent. */
#include "common/attribute.h"
#include "common/config.h"
#include "common/json_scan.h"
#include "http-gateway/read_replay.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_texts(const struct replay_request *r)
{
    struct event_id id;

    if (r->event_id_count > REPLAY_IDS_MAX)
        abort();
    for (size_t i = 0; i < r->event_id_count; i++)
        if (attribute_check("id", r->event_ids[i], ATTRIBUTE_TEXT, EVENT_PRODUCER_ID_MAX, NULL))
            abort();
    if (r->source.len > EVENT_SOURCE_MAX || (r->name.len > 0 && !config_is_pattern(r->name)))
        abort();
    if (r->replay_id.len > 0 && !id_parse(r->replay_id, &id))
        abort();
}

/* A bound that was given must never become none: the members are counted in the body. */
static void check_filter(struct view body, const struct replay_request *r)
{
    struct json_text json = {0};
    size_t set = (r->event_id_count > 0) + (r->source.len > 0) + (r->statuses > 0) +
                 (r->name.len > 0) + (r->from_position > 0) + (r->to_position > 0) +
                 (r->accepted_since_ms != 0) + (r->accepted_until_ms != 0) + (r->rate > 0) +
                 (r->replay_id.len > 0);

    if (json_scan(body, &json, NULL) || json.kind != JSON_OBJECT)
        abort();
    if (json.count != set && json.count != set + 1) /* dry_run, which may be false */
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view body = {(const char *)data, size};
    struct replay_request request;
    struct read_replay *holder;
    struct err_detail detail = {""};
    struct buf bytes;
    enum err e;

    if (read_replay_new(&holder))
        abort();
    e = read_replay(holder, body, &request, &detail);
    if (e && (!detail.text[0] || (e != ERR_MALFORMED && e != ERR_INVALID)))
        abort();
    if (!e) {
        check_texts(&request);
        check_filter(body, &request);
        buf_init(&bytes, SIZE_MAX);
        if (replay_request_write(&request, &bytes))
            abort();
        buf_free(&bytes);
    }
    read_replay_free(holder);
    return 0;
}
