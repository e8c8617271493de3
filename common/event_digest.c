#include "common/event_digest.h"

#include <openssl/evp.h>
#include <stdatomic.h>

enum {
    KEPT = (EVENT_DIGEST_TEXT_SIZE - 1) / 2, /* bytes of the hash */
    LENGTH_SIZE = 4,
};

/* Fetched once, for as long as the process lives: with EVP_sha256() OpenSSL looks the algorithm up
 * in its providers at each use, which costs as much as hashing a small event. */
static const EVP_MD *sha256(void)
{
    static _Atomic(EVP_MD *) kept;
    EVP_MD *md = atomic_load(&kept), *first = NULL;

    if (md)
        return md;
    md = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (md && !atomic_compare_exchange_strong(&kept, &first, md)) {
        EVP_MD_free(md);
        md = first;
    }
    return md;
}

/* What goes into the hash. Short parts are gathered, because each call of OpenSSL's costs as much
 * as hashing them. */
struct input {
    EVP_MD_CTX *context;
    bool failed;
    size_t used;
    unsigned char gathered[512];
};

static void flush(struct input *in)
{
    if (in->used > 0 && !EVP_DigestUpdate(in->context, in->gathered, in->used))
        in->failed = true;
    in->used = 0;
}

static void add_bytes(struct input *in, const void *bytes, size_t len)
{
    if (len > sizeof in->gathered - in->used)
        flush(in);
    if (len > sizeof in->gathered) {
        in->failed |= !EVP_DigestUpdate(in->context, bytes, len);
    } else if (len > 0) {
        memcpy(in->gathered + in->used, bytes, len);
        in->used += len;
    }
}

static void add(struct input *in, struct view field)
{
    unsigned char length[LENGTH_SIZE];

    for (int i = 0; i < LENGTH_SIZE; i++)
        length[i] = (unsigned char)(field.len >> 8 * (LENGTH_SIZE - 1 - i));
    add_bytes(in, length, sizeof length);
    add_bytes(in, field.data, field.len);
}

static bool hash(EVP_MD_CTX *context, const struct event *event, unsigned char *ret)
{
    const EVP_MD *md = sha256();
    struct input in;

    in.context = context;
    in.failed = false;
    in.used = 0;
    if (!md || !EVP_DigestInit_ex2(context, md, NULL))
        return false;
    add(&in, event->name);
    add(&in, event->source);
    add(&in, event->key);
    add(&in, event->content_type);
    add(&in, event->subject);
    add(&in, event->dataschema);
    add(&in, event->payload);
    for (size_t i = 0; i < event->extension_count; i++) {
        add(&in, event->extensions[i].name);
        add(&in, event->extensions[i].value);
    }
    flush(&in);
    return !in.failed && EVP_DigestFinal_ex(context, ret, NULL);
}

enum err event_digest(const struct event *event, char text[EVENT_DIGEST_TEXT_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context && hash(context, event, bytes);

    EVP_MD_CTX_free(context);
    if (!done)
        return ERR_MEMORY;
    for (size_t i = 0; i < KEPT; i++) {
        text[2 * i] = hex[bytes[i] >> 4];
        text[2 * i + 1] = hex[bytes[i] & 15];
    }
    text[EVENT_DIGEST_TEXT_SIZE - 1] = '\0';
    return ERR_NONE;
}

enum err event_digest_of_record(const struct bus_record *record, const char *ns,
                                char text[EVENT_DIGEST_TEXT_SIZE])
{
    struct event_text values;
    struct event_more more;
    struct event event;
    enum err e = event_of_record(record, ns, &values, &event, NULL);

    if (e)
        return e;
    if (event.digest.len == 0) {
        (void)event_read_more(record, &more, &event);
        return event_digest(&event, text);
    }
    memcpy(text, event.digest.data, event.digest.len);
    text[event.digest.len] = '\0';
    return ERR_NONE;
}
