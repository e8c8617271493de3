#include "common/proto_value.h"

/* The years 0001 to 9999. */
#define SECONDS_MIN (-62135596800)
#define SECONDS_MAX 253402300799

void proto_time_write(int64_t ms, Google__Protobuf__Timestamp *ret)
{
    google__protobuf__timestamp__init(ret);
    int64_t rest = ms % 1000;
    if (rest < 0)
        rest += 1000; /* nanos count forward, also before 1970 */
    ret->seconds = (ms - rest) / 1000;
    ret->nanos = (int32_t)rest * 1000000;
}

bool proto_time_read(const Google__Protobuf__Timestamp *time, int64_t *ret_ms)
{
    if (!time) {
        *ret_ms = 0;
        return true;
    }
    if (time->seconds < SECONDS_MIN || time->seconds > SECONDS_MAX || time->nanos < 0 ||
        time->nanos > 999999999)
        return false;
    *ret_ms = time->seconds * 1000 + time->nanos / 1000000;
    return true;
}

static void varint_take(struct view *rest, uint64_t *ret)
{
    size_t used = 0;
    *ret = 0;
    while (used < rest->len && used < 10) {
        unsigned char byte = (unsigned char)rest->data[used];
        *ret |= (uint64_t)(byte & 0x7f) << (7 * used);
        used++;
        if (byte < 0x80)
            break;
    }
    rest->data += used;
    rest->len -= used;
}

/* Takes the next field; *ret is what it holds, if it has a length.
 * Wire format: https://protobuf.dev/programming-guides/encoding/ */
static void field_take(struct view *rest, uint64_t *ret_field, struct view *ret)
{
    uint64_t tag, size = 0;
    varint_take(rest, &tag);
    switch (tag & 7) {
    case 0:
        varint_take(rest, &(uint64_t){0});
        break;
    case 1:
        size = 8;
        break;
    case 2:
        varint_take(rest, &size);
        break;
    default: /* 5: unpacking takes no others */
        size = 4;
    }
    if (size > rest->len)
        size = rest->len;
    *ret_field = tag >> 3;
    *ret = (struct view){rest->data, (tag & 7) == 2 ? size : 0};
    rest->data += size;
    rest->len -= size;
}

bool proto_text_has_nul(struct view message, uint32_t field)
{
    while (message.len > 0) {
        uint64_t found;
        struct view text;
        field_take(&message, &found, &text);
        if (found == field && text.len > 0 && memchr(text.data, '\0', text.len))
            return true;
    }
    return false;
}

size_t proto_count(struct view message, uint32_t field)
{
    size_t count = 0;
    while (message.len > 0) {
        uint64_t found;
        struct view value;
        field_take(&message, &found, &value);
        count += found == field;
    }
    return count;
}
