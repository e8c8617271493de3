/* A real nats-server with JetStream for a test: on a free port, with its data in a folder of its
 * own under /tmp. It ends with the test, also when that fails or crashes. What goes wrong here
 * fails the test.
 */
#ifndef TESTS_NATS_SERVER_H
#define TESTS_NATS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct nats_server {
    pid_t pid; /* 0: not running */
    int port;
    char folder[64];
    char url[64];
};

void nats_server_start(struct nats_server *server); /* returns when it takes connections */
void nats_server_end(struct nats_server *server);   /* and removes its data */

void nats_server_stop(struct nats_server *server);   /* in order: SIGTERM */
void nats_server_kill(struct nats_server *server);   /* kill -9 */
void nats_server_freeze(struct nats_server *server); /* SIGSTOP */
void nats_server_thaw(struct nats_server *server);
void nats_server_again(struct nats_server *server); /* same port, same data */
/* While it is down: keep its data as it is now, go back to what was kept, start from nothing. */
void nats_server_keep_data(struct nats_server *server);
void nats_server_restore_data(struct nats_server *server);
/* Goes back to what was kept of one stream's messages only; its consumers stay as they are. */
void nats_server_restore_messages(struct nats_server *server, const char *stream);
void nats_server_wipe_data(struct nats_server *server);

#endif
