/* A keyed hash (SipHash-1-3, https://www.aumasson.jp/siphash/) for tables whose keys come from
 * outside: whoever chooses ids and names cannot aim at one slot. The key is random, so hashes
 * differ from process to process. Thread-safe.
 */
#ifndef TIDINGS_KEYED_HASH_H
#define TIDINGS_KEYED_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint64_t word[2];
};

void hash_key_make(struct hash_key *ret);
uint64_t keyed_hash(const struct hash_key *key, const void *bytes, size_t len);

#endif
