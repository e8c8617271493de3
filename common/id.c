#include "common/id.h"

#include "common/log.h"
#include "common/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <uuid/uuid.h>

/* The namespace of id_of_position, 23e6c63b-793a-466c-835f-9c5fe4fcae40: a random UUID made for
 * it. Changing it changes the ids of all malformed messages, so it stays. */
static const uuid_t position_namespace = {0x23, 0xe6, 0xc6, 0x3b, 0x79, 0x3a, 0x46, 0x6c,
                                          0x83, 0x5f, 0x9c, 0x5f, 0xe4, 0xfc, 0xae, 0x40};

/* ID_PRODUCER_NAMESPACE, a random UUID made for it. Changing it makes two events of each that is
 * sent again, so it stays. */
static const uuid_t producer_namespace = {0x8c, 0x3d, 0x57, 0xa5, 0xfe, 0x0b, 0x4f, 0x44,
                                          0xb9, 0x34, 0x24, 0xbc, 0x65, 0xa6, 0xc9, 0x89};

#define STREAM_MAX 255
#define SOURCE_MAX 512
#define PRODUCER_ID_MAX 256

/* Up to 256 bytes come whole or not at all, and are interrupted by no signal (getrandom(2)). */
struct random_pool {
    uint8_t bytes[256];
    size_t left;
};

static void take_random(uint8_t *to, size_t count)
{
    static _Thread_local struct random_pool pool;

    if (pool.left < count) {
        while (getrandom(pool.bytes, sizeof pool.bytes, 0) != (ssize_t)sizeof pool.bytes) {
            if (errno == EINTR) /* only before the kernel's pool is ready, early at boot */
                continue;
            /* ids that repeat would make two events one: promise 2 is worth more than this
             * process */
            log_error("no random numbers", LOG_TEXT("error", strerrordesc_np(errno)));
            abort();
        }
        pool.left = sizeof pool.bytes;
    }
    pool.left -= count;
    memcpy(to, pool.bytes + pool.left, count);
}

void id_make(const struct clock *clock, struct event_id *ret)
{
    uint64_t ms = (uint64_t)clock_wall_ms(clock);

    for (int i = 0; i < 6; i++)
        ret->bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    take_random(ret->bytes + 6, 10);
    ret->bytes[6] = (uint8_t)(0x70 | (ret->bytes[6] & 0x0f)); /* version 7 */
    ret->bytes[8] = (uint8_t)(0x80 | (ret->bytes[8] & 0x3f)); /* variant 10 */
}

/* Puts at most `max` bytes of the view there; returns how many. */
static size_t put(char *to, struct view from, size_t max)
{
    size_t len = from.len < max ? from.len : max;

    if (len > 0)
        memcpy(to, from.data, len);
    return len;
}

void id_of_position(struct view stream, uint64_t position, struct event_id *ret)
{
    char name[STREAM_MAX + sizeof ":18446744073709551615"];
    size_t len = put(name, stream, STREAM_MAX);

    len += (size_t)snprintf(name + len, sizeof name - len, ":%llu", (unsigned long long)position);
    uuid_generate_sha1(ret->bytes, position_namespace, name, len);
}

void id_of_producer(struct view source, struct view producer_id, struct event_id *ret)
{
    char name[SOURCE_MAX + 1 + PRODUCER_ID_MAX];
    size_t len = 0;

    if (id_parse(producer_id, ret))
        return;
    len = put(name, source, SOURCE_MAX);
    name[len++] = '\n';
    len += put(name + len, producer_id, PRODUCER_ID_MAX);
    uuid_generate_sha1(ret->bytes, producer_namespace, name, len);
}

/* Whether a hyphen stands before this byte. */
static bool hyphen_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

/* Parsing and formatting by hand: both run for each event, and libuuid's go through strtoul and
 * printf. */
bool id_parse(struct view text, struct event_id *ret)
{
    struct event_id id;
    const char *at = text.data;

    if (text.len != ID_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < sizeof id.bytes; i++) {
        if (hyphen_before(i) && *at++ != '-')
            return false;
        int high = text_hex_value(at[0]), low = text_hex_value(at[1]);
        if (high < 0 || low < 0)
            return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    if (id_is_zero(&id))
        return false;
    *ret = id;
    return true;
}

void id_format(const struct event_id *id, char text[ID_TEXT_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    char *to = text;

    for (size_t i = 0; i < sizeof id->bytes; i++) {
        if (hyphen_before(i))
            *to++ = '-';
        *to++ = hex[id->bytes[i] >> 4];
        *to++ = hex[id->bytes[i] & 15];
    }
    *to = '\0';
}

bool id_is_zero(const struct event_id *id)
{
    static const struct event_id zero;

    return id_equal(id, &zero);
}

static uint64_t big_endian(const uint8_t *bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* The finalizer of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
 * Generators, 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

uint64_t id_hash(const struct event_id *id)
{
    return mix(mix(big_endian(id->bytes) + 0x9e3779b97f4a7c15) ^ big_endian(id->bytes + 8));
}
