/* TCP ports on loopback that nobody else uses, chosen at run time. */
#ifndef HOLDFAST_TESTS_PORTS_H
#define HOLDFAST_TESTS_PORTS_H

/* A port that is free now, and that no other test program takes while this one lives. It lies below
 * those that the system gives to outgoing connections, so that it is still free when a daemon that
 * was killed binds it again. 0 if none was found. */
unsigned port_take(void);

#endif
