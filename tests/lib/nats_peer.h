/* Somebody else on the same NATS server, for tests: speaks the wire protocol itself, over a
 * socket of its own, so that it can do what no library would. See
 * https://docs.nats.io/reference/reference-protocols/nats-protocol.
 */
#ifndef TESTS_NATS_PEER_H
#define TESTS_NATS_PEER_H

#include <stdbool.h>
#include <stddef.h>

struct nats_peer;
struct nats_peer *nats_peer_open(int port);
void nats_peer_close(struct nats_peer *peer);
void nats_peer_subscribe(struct nats_peer *peer, const char *subject); /* done when it returns */
void nats_peer_publish(struct nats_peer *peer, const char *subject, const char *payload);
/* The same with a block of headers, "NATS/1.0 ..." to the empty line, just as it is. */
void nats_peer_publish_headers(struct nats_peer *peer, const char *subject, const char *headers,
                               const char *payload);
/* The next message's reply subject, and its payload (NULL: not wanted; cut to size). False: none
 * within the limit. */
bool nats_peer_next(struct nats_peer *peer, int limit_ms, char reply[128], char *payload,
                    size_t size);
/* Sends a request and returns the answer in `answer`. */
void nats_peer_ask(struct nats_peer *peer, const char *subject, const char *payload, char *answer,
                   size_t size);

#endif
