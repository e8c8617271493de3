/* The reader of plain JSON events: what it takes must be sound, and cJSON must take it too.
 */
#include "common/event_json.h"

#include <cjson/cJSON.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* cJSON before 1.7.19 reads a number through a buffer of 64 bytes, and refuses a longer one. */
static bool has_long_number(struct view text)
{
    size_t run = 0;

    for (size_t i = 0; i < text.len; i++) {
        bool number = text.data[i] && strchr("0123456789+-.eE", text.data[i]);

        run = number ? run + 1 : 0;
        if (run > 60)
            return true;
    }
    return false;
}

static bool lies_in(struct view part, struct view whole)
{
    return part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static void check(struct view body, const struct event *event, const struct event_json *holder)
{
    struct json_text json = {0};
    struct view text = buf_view(&holder->text);
    cJSON *tree = cJSON_ParseWithLengthOpts(body.data, body.len, NULL, 0);

    if (!tree && !has_long_number(body))
        __builtin_trap();
    cJSON_Delete(tree);
    if (event_name_check(event->name, NULL))
        __builtin_trap();
    if (!lies_in(event->name, body) && !lies_in(event->name, text))
        __builtin_trap();
    if (event->producer_id.len > EVENT_PRODUCER_ID_MAX || event->source.len > EVENT_SOURCE_MAX ||
        !view_is_utf8(event->producer_id) || !view_is_utf8(event->source))
        __builtin_trap();
    if (event->key.len > EVENT_KEY_MAX || !view_is_utf8(event->key))
        __builtin_trap();
    if (!lies_in(event->payload, body) || (event->payload.len > 0) != (event->content_type.len > 0))
        __builtin_trap();
    if (event->payload.len > 0 && json_scan(event->payload, &json, NULL))
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view body = {(const char *)data, size};
    struct event_json holder;
    struct event event = {0};
    struct err_detail detail = {""};
    enum err e;

    event_json_init(&holder);
    e = event_json_read(&holder, body, &event, &detail);
    if (e && (!detail.text[0] || (e != ERR_MALFORMED && e != ERR_INVALID)))
        __builtin_trap();
    if (!e)
        check(body, &event, &holder);
    event_json_free(&holder);
    return 0;
}
