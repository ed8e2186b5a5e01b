/* Ceph with an S3 gateway (RGW) of a test's own: tests/services/ceph-rgw, in a directory of its own
 * and on free ports of loopback. What is stored there is in memory and outlives no test.
 *
 * Only the main thread (process.h). What fails where nothing should ends the test. */
#ifndef HOLDFAST_TESTS_RGW_SERVER_H
#define HOLDFAST_TESTS_RGW_SERVER_H

#include <stdbool.h>

#include "tests/lib/process.h"

#define RGW_SERVER_URL_BYTES 512u

struct rgw_server {
    char directory[256];
    unsigned port;
    char access_key[64];
    char secret_key[64];
    /* Private. */
    char ready[288];
    char killed[288];
    char log[288];
    struct process process;
};

/* What is missing to run one, in words; NULL: nothing. */
const char *rgw_server_missing(void);

/* Until it answers. */
void rgw_server_start(struct rgw_server *server);

/* This process and those that it starts from now on have this key, as AWS_... in the environment.
 */
void rgw_server_set_key(const char *access_key, const char *secret_key);

/* The URL of @place, BUCKET or BUCKET/PREFIX, with more settings, "" or "&NAME=VALUE...". */
void rgw_server_url(const struct rgw_server *server, const char *place, const char *settings,
                    char url[RGW_SERVER_URL_BYTES]);

/* With the key that is set. It is fine if it is there. */
void rgw_server_make_bucket(const struct rgw_server *server, const char *bucket, bool has_locks);

/* SIGKILL its gateway, until nobody listens there; and start it again, until it answers. What is
 * stored stays. */
void rgw_server_kill_gateway(struct rgw_server *server);
void rgw_server_start_gateway(struct rgw_server *server);

/* End all of it. What it wrote to its directory stays if the test did not pass. */
void rgw_server_stop(struct rgw_server *server, bool passed);

#endif
