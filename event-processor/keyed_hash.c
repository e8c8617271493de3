#include "event-processor/keyed_hash.h"

#include <string.h>
#include <sys/random.h>

void hash_key_make(struct hash_key *ret)
{
    /* So few bytes come whole; only early at boot can the call be interrupted (getrandom(2)). */
    while (getrandom(ret, sizeof *ret, 0) != (ssize_t)sizeof *ret)
        ;
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t keyed_hash(const struct hash_key *key, const void *bytes, size_t len)
{
    uint64_t v[4] = {key->word[0] ^ 0x736f6d6570736575u, key->word[1] ^ 0x646f72616e646f6du,
                     key->word[0] ^ 0x6c7967656e657261u, key->word[1] ^ 0x7465646279746573u};
    const char *next = bytes;
    size_t left = len;
    uint64_t word;
    for (; left >= sizeof word; left -= sizeof word, next += sizeof word) {
        memcpy(&word, next, sizeof word);
        absorb(v, word);
    }
    word = 0;
    if (left > 0)
        memcpy(&word, next, left);
    absorb(v, word | (uint64_t)len << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
