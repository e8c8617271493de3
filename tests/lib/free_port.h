/* A port for a server that keeps it while it is down: nobody else is given it, while a port that
 * the kernel chose may go to any client meanwhile.
 */
#ifndef TESTS_FREE_PORT_H
#define TESTS_FREE_PORT_H

#include <stdint.h>

uint16_t free_port(void); /* another one each time; fails the test where there is none */

#endif
