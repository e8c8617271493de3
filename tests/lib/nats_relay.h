/* Stands between a bus and its nats-server, for tests: cuts connections, and keeps requests from
 * those who would answer them.
 */
#ifndef TESTS_NATS_RELAY_H
#define TESTS_NATS_RELAY_H

struct nats_relay;
struct nats_relay *nats_relay_open(int port); /* of the server */
void nats_relay_close(struct nats_relay *relay);
const char *nats_relay_url(const struct nats_relay *relay);
void nats_relay_cut(struct nats_relay *relay);        /* all connections of now */
int nats_relay_taken(const struct nats_relay *relay); /* how many connections there ever were */
/* From now on requests to subjects that begin so (it must begin with "$JS.API.") are answered by
 * nobody; NULL: all are again. */
void nats_relay_silence(struct nats_relay *relay, const char *subject);

#endif
